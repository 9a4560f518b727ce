"""Tune asks here for the next trial: it gets one when there is room for all of its workers."""

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from orchestrator.execution.placement import Node, next_to_start
from orchestrator.execution.trial import WorkerGroup


class Admission(Searcher):
    """Hands out the cells of a sweep, each once, in their order as far as there is room.

    Tune's own limit is a number of trials; trials of one sweep may need different things.

    Args:
        cells: What the Tune function gets, per trial.
        nodes: Tells the nodes of the cluster, which may come and go. Tune pickles its searchers,
            and so this too.
        cap: Trials at a time at most; None: as many as fit.
    """

    def __init__(
        self,
        cells: Sequence[dict[str, Any]],
        nodes: Callable[[], Sequence[Node]],
        *,
        cap: int | None = None,
    ) -> None:
        super().__init__()
        self._waiting = list(cells)
        self._running: dict[str, WorkerGroup] = {}
        self._nodes = nodes
        self._cap = cap

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's configuration.

        Args:
            trial_id: Tune's name for the trial that it would like to start.

        Returns:
            ``{"cell": ...}``; None: not now; `Searcher.FINISHED`: never again.
        """
        if not self._waiting:
            return str(Searcher.FINISHED)
        groups = [_workers(cell) for cell in self._waiting]
        running = list(self._running.values())
        index = next_to_start(self._nodes(), running, groups, self._cap)
        if index is None:
            return None
        self._running[trial_id] = groups[index]
        return {"cell": self._waiting.pop(index)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended, or is not tried again: its room is free."""
        self._running.pop(trial_id, None)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: what is left is found in the trials' folders, and Tune is never restored."""


def _workers(cell: dict[str, Any]) -> WorkerGroup:
    return WorkerGroup(**cell["payload"]["workers"])
