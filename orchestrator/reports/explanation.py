"""What one run removed, when and why: its record told in lines and tables (PURE)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from apt_core.report import PARAMETERS, RunReport
from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.phases import phase_grid, stretch_grid
from orchestrator.reports.records import UnfinishedTrial
from orchestrator.reports.shapes import (
    KIND_NAMES,
    KINDS,
    cuts_of,
    rank_map,
    shape_history,
    short_names,
)
from orchestrator.reports.time_spent import run_time_grid
from orchestrator.reports.wording import digits_of, duration, metric_scale, metric_unit, percent
from orchestrator.traces import Record

Log = Sequence[tuple[int, Mapping[str, Any]]]
"""(step, values) of every logged step."""
NOT_RECORDED = "not recorded"
_NONE = Cell("-", None, is_missing=True)
_NO_TRACE = Record()


@dataclass(frozen=True)
class Explanation:
    """A run in words and tables."""

    title: str
    facts: tuple[str, ...]
    grids: tuple[Grid, ...]
    remarks: tuple[str, ...] = ()


def explain_report(run: RunReport, log: Log, trace: Record = _NO_TRACE) -> Explanation:
    """What a finished run did.

    Args:
        run: Its report.
        log: What it logged; empty where that is lost.
        trace: Where its time went; empty likewise.

    Returns:
        The explanation.
    """
    grids = [_event_grid(run), _layer_grid(run), _rank_grid(run), _border_grid(run)]
    grids += [stretch_grid(log), phase_grid(run), run_time_grid(trace)]
    return Explanation(
        title=f"{run.run_id}: {run.arm}, {run.ablation}, {run.model} on {run.dataset}, "
        f"seed {run.seed}",
        facts=(_result(run), _size(run)),
        grids=tuple(grid for grid in grids if grid.rows),
        remarks=(*_remarks(run), *(f"warning: {text}" for text in run.warnings)),
    )


def explain_unfinished(trial: UnfinishedTrial, log: Log, trace: Record = _NO_TRACE) -> Explanation:
    """What a run without a result has done so far.

    Args:
        trial: What is known of it.
        log: What it logged.
        trace: Where its time went so far.

    Returns:
        The explanation; what only a result tells is named as missing.
    """
    grids = [_logged_events(log), stretch_grid(log), run_time_grid(trace)]
    return Explanation(
        title=f"{trial.run_id}: {trial.state}",
        facts=(trial.reason,),
        grids=tuple(grid for grid in grids if grid.rows),
        remarks=("Layers, ranks and borders stand in result.json, which a run writes at its end.",),
    )


def _result(run: RunReport) -> str:
    value = metric_scale(run.metric_name) * run.metric
    chosen = run.metrics.get("chosen_step")
    which = f", weights of step {chosen:g}, the best on held-out rows" if chosen else ""
    return f"{metric_unit(run.metric_name)}: {value:.{digits_of(run.metric_name)}f}{which}"


def _size(run: RunReport) -> str:
    text = (
        f"sparsity {percent(run.sparsity)} (density {percent(run.density)}), target "
        f"{percent(run.target_sparsity)}"
    )
    if run.cost_unit == PARAMETERS:
        return text
    return f"{text} of {run.cost_unit}, of which {percent(run.cost_sparsity)} are gone"


def _remarks(run: RunReport) -> list[str]:
    cuts = cuts_of(run)
    if not cuts:
        return [f"Nothing was removed: {run.arm}, {run.ablation} leaves every block in place."]
    if not any(cut.get("border") for cut in cuts):
        return [
            f"Why these blocks: {NOT_RECORDED}. Runs of {run.arm} decide by other means than "
            "running salience, or this one is older than the record of it."
        ]
    return [
        "Why: all blocks that are left are ranked by density, salience over what a block costs; "
        "the least dense go until the rest fits the density of the event (floors and aligned "
        "widths may keep more). Indices count the blocks that were left before the cut."
    ]


def _event_grid(run: RunReport) -> Grid:
    headings = _headings(
        "step", "what happened", "sparsity", "heads", "neurons", "hidden size", "mean rank", "took"
    )
    rows = tuple(_event_row(surgery) for surgery in run.surgeries)
    return Grid(headings, rows, name="events", title="Surgeries")


def _headings(first: str, second: str, *others: str) -> tuple[Heading, ...]:
    """The first two are words, the others numbers."""
    words = (Heading(first, first, is_number=False), Heading(second, second, is_number=False))
    return (*words, *(Heading(name, name) for name in others))


def _event_row(surgery: Mapping[str, Any]) -> tuple[Cell, ...]:
    before = surgery.get("before", {})
    ranks = list(surgery.get("ranks", {}).values())
    return (
        Cell(f"{surgery['step']}"),
        Cell(", ".join(_happened(surgery)) or "nothing that is recorded"),
        Cell(percent(surgery["sparsity"])) if "sparsity" in surgery else _NONE,
        _change(_total(before, "heads"), _total(surgery, "heads")),
        _change(_total(before, "neurons"), _total(surgery, "neurons")),
        _change(before.get("hidden_size"), surgery.get("hidden_size")),
        Cell(f"{fmean(ranks):.1f}") if ranks else _NONE,
        Cell(duration(surgery["seconds"])) if "seconds" in surgery else _NONE,
    )


def _happened(surgery: Mapping[str, Any]) -> list[str]:
    happened = ["blocks removed"] if surgery.get("pruned") else []
    if surgery.get("grown"):
        happened.append(f"ranks of {surgery['grown']} adapters changed")
    if surgery.get("teacher_changed"):
        happened.append("teacher taken" if surgery.get("has_teacher") else "teacher dropped")
    return happened


def _total(shape: Mapping[str, Any], name: str) -> int | None:
    return sum(shape[name]) if name in shape else None


def _change(before: int | None, after: int | None) -> Cell:
    """From and to; the number alone where nothing changed or the start is unknown."""
    if after is None:
        return _NONE
    return Cell(str(after) if before in {None, after} else f"{before} -> {after}")


def _layer_grid(run: RunReport) -> Grid:
    """Every attention and feed-forward sub-block before and after, and its adapters' ranks."""
    history = shape_history(run)
    headings = _headings("sub-block", "kind", "before", "after", "left")
    if history is None:
        return Grid(headings, ())
    parts = (
        ("heads", history.attention_names, history.heads),
        ("neurons", history.ffn_names, history.neurons),
        ("hidden size", ("all layers",), (history.hidden_sizes,)),
    )
    rows = tuple(
        _layer_row(name, kind, counts)
        for kind, names, by_layer in parts
        for name, counts in zip(names, by_layer, strict=True)
    )
    since = "the start" if history.moments[0] == "start" else f"the cut at {history.moments[0]}"
    return Grid(headings, rows, name="layers", title=f"Structure since {since}")


def _layer_row(name: str, kind: str, counts: Sequence[int]) -> tuple[Cell, ...]:
    first, last = counts[0], counts[-1]
    left = percent(last / first) if first else "none before"
    return Cell(name), Cell(kind), Cell(str(first)), Cell(str(last)), Cell(left)


def _rank_grid(run: RunReport) -> Grid:
    """Every adapter's rank: at the first surgery, if that is recorded, and at the end."""
    ranks = rank_map(run)
    if ranks is None:
        return Grid((), ())
    layer = Heading("layer", "layer", is_number=False)
    rows = tuple(
        (Cell(name), *(_rank_cell(*pair) for pair in zip(first, last, strict=True)))
        for name, first, last in zip(ranks.layers, ranks.initial, ranks.ranks, strict=True)
    )
    headings = (layer, *(Heading(site, site) for site in ranks.sites))
    return Grid(headings, rows, name="ranks", title="Ranks of the adapters")


def _rank_cell(first: int | None, last: int | None) -> Cell:
    if last is None:
        return Cell("none" if first is None else f"{first} -> gone", None, is_missing=True)
    return Cell(str(last) if first in {None, last} else f"{first} -> {last}")


def _border_grid(run: RunReport) -> Grid:
    headings = _headings("step", "blocks", "kept", "least dense kept", "densest removed")
    rows = [
        _border_row(cut, kind)
        for cut in cuts_of(run)
        for kind in KINDS
        if kind in cut.get("border", {})
    ]
    return Grid(
        headings, tuple(rows), name="border", title="At the border of every cut: salience (density)"
    )


def _border_row(cut: Mapping[str, Any], kind: str) -> tuple[Cell, ...]:
    border = cut["border"][kind]
    groups = _group_names(cut)
    return (
        Cell(f"{cut['step']}"),
        Cell(KIND_NAMES[kind]),
        Cell(f"{border['num_kept']} of {border['num']}"),
        _blocks_cell(border["last_kept"], groups),
        _blocks_cell(border["first_cut"], groups),
    )


def _group_names(cut: Mapping[str, Any]) -> Mapping[str, str]:
    """Short names of the sub-blocks that the cut's record tells of."""
    parts = [part for kind in cut["border"].values() for part in _told(kind)]
    names = sorted({part["group"] for part in parts})
    paths = [name for name in names if "." in name]
    return {name: name for name in names} | dict(zip(paths, _layers_of(paths), strict=True))


def _layers_of(paths: Sequence[str]) -> Iterable[str]:
    """``layer 3`` where one number says it, else what tells the paths apart."""
    for path in paths:
        numbers = [word for word in path.split(".") if word.isdigit()]
        stack = path.split(".")[0] if path.startswith(("encoder.", "decoder.")) else ""
        layer = f"layer {numbers[0]}" if numbers else short_names([path])[0]
        yield f"{stack} {layer}".strip()


def _told(kind: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*kind["last_kept"], *kind["first_cut"]]


def _blocks_cell(blocks: Sequence[Mapping[str, Any]], groups: Mapping[str, str]) -> Cell:
    """The block next to the border: where it is, its salience, its density."""
    if not blocks:
        return Cell("none", None, is_missing=True)
    block = blocks[0]
    where = groups[block["group"]]
    place = f"{block['index']}" if where == "hidden" else f"{where} no. {block['index']}"
    return Cell(f"{place}: {block['salience']:.3g} ({block['density']:.3g})")


def _logged_events(log: Log) -> Grid:
    headings = _headings("step", "what is left", "sparsity", "hidden size", "mean rank", "took")
    rows = tuple(_logged_row(step, values) for step, values in log if "surgery/seconds" in values)
    return Grid(headings, rows, name="events", title="Surgeries so far")


def _logged_row(step: int, values: Mapping[str, Any]) -> tuple[Cell, ...]:
    def number(name: str, decimals: int = 0) -> Cell:
        return Cell(f"{values[name]:.{decimals}f}") if name in values else _NONE

    heads, neurons = (number(f"model/{name}").text for name in ("num_heads", "num_neurons"))
    sparsity = values.get("model/sparsity")
    return (
        Cell(str(step)),
        Cell(f"{heads} heads, {neurons} neurons"),
        _NONE if sparsity is None else Cell(percent(sparsity)),
        number("model/hidden_size"),
        number("model/rank_mean", 1),
        Cell(duration(values["surgery/seconds"])),
    )
