"""Trials that are tries of one cell: the best stands for it, by the held-out rows (PURE)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from apt_core.report import RunReport
from orchestrator.reports.records import CellKey, Settings, UnfinishedTrial
from orchestrator.reports.stat import Stat

CellTrials = tuple[list[RunReport], list[UnfinishedTrial]]
"""The trials of a cell: finished, and others."""


@dataclass(frozen=True)
class Tries:
    """What a search has chosen for a cell."""

    chosen: tuple[tuple[str, str], ...] = ()
    """(dotted key, value)."""
    number: int = 1
    """How many were tried."""


def searched_paths(all_settings: Iterable[Settings]) -> frozenset[str]:
    """The dotted keys that any trial of the sweep is a try of.

    Args:
        all_settings: Flat settings, one mapping per run.

    Returns:
        The keys.
    """
    lists = (settings.get("orchestration.searched") or () for settings in all_settings)
    return frozenset(path for paths in lists for path in paths)


def fold_tries(
    cells: Mapping[CellKey, CellTrials], searched: frozenset[str]
) -> tuple[dict[CellKey, CellTrials], dict[CellKey, Tries]]:
    """Put the best try of every cell in the cell's place.

    The best one has the highest mean score on held-out rows; ties go to the first. The reported
    metric is not looked at.

    Args:
        cells: Cells that also differ in what is searched.
        searched: The keys of the search.

    Returns:
        The cells without those keys, and what was chosen for each that was tried more than once.
    """
    by_cell: dict[CellKey, list[CellKey]] = defaultdict(list)
    for key in cells:
        rest = tuple((name, value) for name, value in key.variant if name not in searched)
        by_cell[replace(key, variant=rest)].append(key)
    folded: dict[CellKey, CellTrials] = {}
    tries: dict[CellKey, Tries] = {}
    for cell, keys in by_cell.items():
        best = max(keys, key=lambda key: _held_out(cells[key]))
        folded[cell] = cells[best]
        if len(keys) > 1:
            chosen = tuple((name, str(v)) for name, v in best.variant if name in searched)
            # What other tries lack is told: the choice may change when they are done.
            others = [trial for key in keys if key != best for trial in cells[key][1]]
            folded[cell] = (cells[best][0], [*cells[best][1], *others])
            tries[cell] = Tries(chosen, len(keys))
    return folded, tries


def _held_out(trials: CellTrials) -> float:
    mean = Stat.of(run.held_out_metric for run in trials[0]).mean
    return float("-inf") if mean is None else mean
