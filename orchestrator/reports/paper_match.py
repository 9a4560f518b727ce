"""Which rows of a sweep stand where in a table of the paper, and whether its number may too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose

from orchestrator.reports.grid import Cell
from orchestrator.reports.paper_cells import (
    NO_ARM,
    Sources,
    average_cell,
    cell_of,
    inference_batch,
)
from orchestrator.reports.published import PaperColumn, PaperRow, PaperTable, Published
from orchestrator.reports.row_marks import marks_of_number
from orchestrator.reports.rows import Row
from orchestrator.reports.tables import baseline_of

UNTRAINED = "not trained"
PAPER_DEVICE = "A100"
_INFERENCE = frozenset({"latency", "inference_memory"})
_MEASURED = _INFERENCE | {"time_to_target", "train_time_per_epoch", "train_memory"}
_TIME_NOTE = (
    "Time to 97% of FT's best metric at the target sparsity; evaluations and the training of an "
    "outside teacher count, as in the paper."
)
_MB_NOTE = "MB are 2^20 bytes."


@dataclass(frozen=True)
class Filler:
    """Fills one table of the paper for one model of the sweep."""

    table: PaperTable
    model: str
    """The sweep's name of it."""
    paper_model: str
    """The paper's; empty where only the layout is the paper's."""
    sources: Sources
    published: Published

    def is_in_sweep(self, row: PaperRow) -> bool:
        """Whether any trial of the sweep belongs into the row."""
        return any(self._candidates(row, c.dataset) for c in self.table.columns)

    def cell(self, row: PaperRow, column: PaperColumn) -> Cell:
        """Our number, the paper's beside it where the setting is the same, and footnotes."""
        if column.quantity == "average":
            cell, reason = self._average(row)
        else:
            cell, reason = self._single(row, column)
        printed = row.values.get(column.heading, "")
        notes = [*cell.notes, *_notes_of(column, self.table)]
        if printed and reason:
            notes.append(f"The paper's number is left out: {reason}.")
            printed = ""
        elif column.heading in row.notes:
            notes.append(row.notes[column.heading])
        return replace(cell, published=printed, notes=tuple(notes))

    def _single(self, row: PaperRow, column: PaperColumn) -> tuple[Cell, str]:
        """The cell, and why the paper's number may not stand beside it."""
        if row.arm is None:
            return Cell(NO_ARM, is_missing=True), ""
        if row.is_before and column.quantity != "metric":
            return Cell(UNTRAINED, is_missing=True), ""
        candidates = self._candidates(row, column.dataset)
        if len(candidates) > 1:
            text = f"{len(candidates)} variants: see the results"
            return Cell(text, is_missing=True, anchor=candidates[0].anchor), ""
        found = candidates[0] if candidates else None
        reference = self._reference(found, column.dataset)
        cell = cell_of(found, reference, column, self.sources, is_before=row.is_before)
        notes = _minds(found, column) if found and found.runs else []
        cell = replace(cell, notes=(*cell.notes, *notes))
        return cell, self._difference(row, column, found) if found else ""

    def _average(self, row: PaperRow) -> tuple[Cell, str]:
        columns = [column for column in self.table.columns if column.quantity == "metric"]
        if row.arm is None:
            return Cell(NO_ARM, is_missing=True), ""
        parts = []
        reasons = []
        for column in columns:
            candidates = self._candidates(row, column.dataset)
            if len(candidates) == 1 and candidates[0].runs:
                parts.append((candidates[0], column))
                reasons.append(self._difference(row, column, candidates[0]))
        cell = average_cell(parts, len(columns), is_before=row.is_before)
        notes = dict.fromkeys(note for own, column in parts for note in _minds(own, column))
        cell = replace(cell, notes=(*cell.notes, *notes))
        return cell, next(filter(None, reasons), "")

    def _candidates(self, row: PaperRow, dataset: str) -> list[Row]:
        """The sweep's rows for a row of the paper: of the first of its ablations that has any."""
        rows = [
            own
            for own in self.sources.rows(self.model, dataset)
            if own.key.arm == row.arm and isclose(own.key.target_sparsity, row.sparsity)
        ]
        for ablation in (*row.ablations, *row.near):
            fitting = [own for own in rows if own.key.ablation == ablation]
            if fitting:
                return [own for own in fitting if own.runs] or fitting[:1]
        return []

    def _reference(self, row: Row | None, dataset: str) -> Row | None:
        references: Sequence[Row] = [
            own
            for own in self.sources.rows(self.model, dataset)
            if own.key.arm == self.table.reference_arm and own.key.is_full and own.runs
        ]
        return None if row is None else baseline_of(row.key, references)

    def _difference(self, row: PaperRow, column: PaperColumn, found: Row) -> str:
        """What of the setting is not the paper's; empty when it is the same."""
        if found.key.ablation in row.near:
            return f"{found.key.ablation} is not the paper's ablation, see docs/config.md"
        for run in found.runs:
            settings = self.sources.settings.get(run.run_id)
            other = self.published.other_setting(settings, self.paper_model, column.dataset)
            if other:
                return other
        if column.quantity in _INFERENCE:
            size = inference_batch(found, self.table.batch_size)
            if size != self.table.batch_size:
                return f"inference is at batch {size} here, at {self.table.batch_size} there"
        devices = {str(run.environment.get("device", "unknown")) for run in found.runs}
        if column.quantity in _MEASURED and not all(PAPER_DEVICE in name for name in devices):
            return f"the machine is {' or '.join(sorted(devices))}, the paper's an {PAPER_DEVICE}"
        return ""


def _minds(row: Row, column: PaperColumn) -> list[str]:
    """What weakens this number of a row."""
    marks = marks_of_number(row, is_measured=column.quantity in _MEASURED)
    return [f"Mind: {mark}." for mark in marks]


def _notes_of(column: PaperColumn, table: PaperTable) -> list[str]:
    """What holds for all cells of a column."""
    notes = []
    if column.quantity == "time_to_target":
        notes.append(_TIME_NOTE)
    if "(MB)" in column.heading:
        notes.append(_MB_NOTE)
    if column.shown_as == "value":
        return notes
    base = table.reference_arm
    how = (
        f"Each run over the mean of {base}"
        if column.shown_as == "ratio"
        else f"The mean of {base} over each run"
    )
    return [*notes, f"{how}; the interval leaves out the noise of {base} itself."]
