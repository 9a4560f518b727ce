"""One run of Ray Tune over some trials, in a thread of its own."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apt_core.trace import span
from orchestrator.execution.placement import Node

STOP_TIMEOUT_S = 20.0
"""How long Tune may take to let go of its trials before Ray is shut down regardless."""


class TuneRun(threading.Thread):
    """`Tuner.fit` in a thread, so that the main thread keeps its signals and its table.

    Args:
        cells: What the Tune function gets, per trial.
        launch_dir: A fresh folder for Tune's files.
        nodes: Tells the nodes of the cluster.
        cap: Trials at a time at most; None: as many as fit.
        slots: How many of these trials fit side by side; for the record.
        max_failures: How often one trial may lose its driver or controller and be run again.
    """

    def __init__(
        self,
        cells: Sequence[dict[str, Any]],
        launch_dir: Path,
        *,
        nodes: Callable[[], Sequence[Node]],
        cap: int | None = None,
        slots: int = 1,
        max_failures: int = 0,
    ) -> None:
        super().__init__(name="tune-run", daemon=True)
        self.error: BaseException | None = None
        self._cells = cells
        self._launch_dir = launch_dir
        self._nodes = nodes
        self._cap = cap
        self._slots = slots
        self._max_failures = max_failures
        self._stop_file = launch_dir / "stop"

    def run(self) -> None:
        """Run all trials; an error of Tune itself is kept for the driver."""
        try:
            with span("trials", slots=self._slots):
                self._fit()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        """Make Tune stop its trials; Ray must not be shut down under a thread that talks to it."""
        self._stop_file.touch()
        self.join(STOP_TIMEOUT_S)

    def _fit(self) -> None:
        from ray import tune

        from orchestrator.execution.admission import Admission
        from orchestrator.execution.cluster import driver_resources
        from orchestrator.execution.orphans import FreeOrphans
        from orchestrator.execution.train_run import StopTune, TellLosses, run_trial

        # Its tracebacks of actors that died would land in the table; error.txt keeps them.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, driver_resources()),
            tune_config=tune.TuneConfig(
                search_alg=Admission(self._cells, self._nodes, cap=self._cap),
                num_samples=len(self._cells),
                reuse_actors=True,  # the next trial's driver is up at once
                trial_name_creator=_run_id,
                trial_dirname_creator=_run_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self._launch_dir),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=self._max_failures),
                callbacks=[StopTune(self._stop_file), TellLosses(), FreeOrphans()],
            ),
        )
        tuner.fit()


def _run_id(tune_trial: Any) -> str:
    """Ray's names derive from the run id."""
    return str(tune_trial.config["cell"]["payload"]["run_id"])
