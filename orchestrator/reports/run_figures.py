"""Figures of single runs: what was removed when, the adapters' ranks, salience at the border."""

from dataclasses import dataclass
from typing import Any

from apt_core.report import SALIENCE_QUANTILES, RunReport
from orchestrator.reports.panels import Boxes, Content, Heat
from orchestrator.reports.shapes import KIND_NAMES, KINDS, cuts_of, rank_map, shape_history


@dataclass(frozen=True)
class RunFigure:
    """One figure of one run."""

    name: str
    title: str
    caption: str
    contents: tuple[Content, ...]
    num_columns: int


def figures_of_run(run: RunReport) -> list[RunFigure]:
    """All figures that a run's record has data for.

    Args:
        run: A finished run.

    Returns:
        Structure, ranks, salience; without what is not recorded.
    """
    figures = [_structure_figure(run), _rank_figure(run), _salience_figure(run)]
    return [figure for figure in figures if figure is not None]


def _structure_figure(run: RunReport) -> RunFigure | None:
    history = shape_history(run)
    if history is None:
        return None
    moments, hidden = history.moments, (history.hidden_sizes,)
    contents = (
        _left("heads", history.attention_names, history.heads, moments),
        _left("neurons", history.ffn_names, history.neurons, moments),
        _left("hidden size", ("all",), hidden, moments),
    )
    start = "" if moments[0] == "start" else " The shape before the first cut is not recorded."
    caption = f"Numbers: what is left after each cut; colour: as a share of the start.{start}"
    return RunFigure("structure", "What was removed, and when", caption, contents, 3)


def _left(
    what: str, names: tuple[str, ...], counts: tuple[tuple[int, ...], ...], moments: tuple[str, ...]
) -> Heat:
    values = tuple(tuple(n / row[0] if row[0] else None for n in row) for row in counts)
    return Heat(
        title=what,
        x_label="step",
        y_label="layer",
        columns=moments,
        rows=names,
        values=values,
        texts=tuple(tuple(map(str, row)) for row in counts),
        unit="left (share)",
        maximum=1.0,
    )


def _rank_figure(run: RunReport) -> RunFigure | None:
    found = rank_map(run)
    if found is None:
        return None
    ranks = found.ranks
    heat = Heat(
        title="",
        x_label="adapted projection",
        y_label="layer",
        columns=found.sites,
        rows=found.layers,
        values=ranks,
        texts=tuple(tuple("" if r is None else str(r) for r in row) for row in ranks),
        unit="rank",
        maximum=max((r for row in ranks for r in row if r is not None), default=1),
    )
    caption = "At the end of the run. White: no adapter, or it left with its sub-block."
    return RunFigure("ranks", "Rank of every adapter", caption, (heat,), 1)


def _salience_figure(run: RunReport) -> RunFigure | None:
    cuts = [cut for cut in cuts_of(run) if cut.get("border")]
    boxes = [_boxes_of(kind, cuts) for kind in KINDS]
    contents = tuple(box for box in boxes if not box.is_empty)
    if not contents:
        return None
    low, high = (f"{100 * SALIENCE_QUANTILES[i]:g}" for i in (1, 5))
    caption = (
        f"Salience per parameter (or what the target counts) of all blocks just before each cut: "
        f"median, middle half, {low} to {high}%. Diamonds: the most salient block that was cut."
    )
    return RunFigure("salience", "Salience at each cut", caption, contents, len(contents))


def _boxes_of(kind: str, cuts: list[Any]) -> Boxes:
    parts = [(cut["step"], cut["border"][kind]) for cut in cuts if kind in cut["border"]]
    return Boxes(
        title=KIND_NAMES[kind],
        x_label="step",
        y_label="salience density",
        names=tuple(str(step) for step, _ in parts),
        quantiles=tuple(tuple(part["quantiles"]) for _, part in parts),
        borders=tuple(
            part["first_cut"][0]["density"] if part["first_cut"] else None for _, part in parts
        ),
    )
