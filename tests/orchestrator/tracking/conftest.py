"""A sink in memory that de-duplicates as MLflow does, and a trial's folder to fill."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from apt_core.files import write_json
from apt_core.report import Efficiency, RunReport, StepMetrics
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.sink import DeliveryError, TrialInfo

Point = tuple[str, int, int, float]


@dataclass
class MemoryRun:
    trial: TrialInfo
    state: str = "RUNNING"
    points: list[Point] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)


@dataclass
class MemorySink:
    """Set `problem` to make every call fail; `calls` counts the deliveries that were tried."""

    store: str = "memory"
    runs: dict[str, MemoryRun] = field(default_factory=dict)
    problem: DeliveryError | None = None
    calls: int = 0
    fail_after: int | None = None

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _called(self) -> None:
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise DeliveryError("gone away")
        if self.problem is not None:
            raise self.problem

    def start_trial(self, trial: TrialInfo, *, replace: bool = False) -> str:
        self._called()
        found = [name for name, run in self.runs.items() if run.trial.run_id == trial.run_id]
        if replace:
            for name in found:
                del self.runs[name]
            found = []
        name = found[0] if found else f"run-{self.calls}"
        self.runs.setdefault(name, MemoryRun(trial)).state = "RUNNING"
        return name

    def log(self, run: str, metrics: Sequence[StepMetrics]) -> None:
        self._called()
        points = self.runs[run].points
        for step in metrics:
            for key, value in step.values.items():
                point = (key, step.time_ms, step.step, value)
                if point not in points:
                    points.append(point)

    def log_artifact(self, run: str, path: Path, folder: str = "") -> None:
        self._called()
        self.runs[run].artifacts[f"{folder}/{path.name}".lstrip("/")] = path.read_bytes()

    def finish_trial(self, run: str, state: str, *, time_ms: int, reason: str = "") -> None:
        self._called()
        self.runs[run].state = state

    def only(self) -> MemoryRun:
        assert len(self.runs) == 1
        return next(iter(self.runs.values()))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMlflowServer]:
    """One for all tests that leave it alive, each in an experiment of its own."""
    with LocalMlflowServer(tmp_path_factory.mktemp("results")) as server:
        yield server


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def sweep(tmp_path: Path) -> TrialInfo:
    (tmp_path / "sweep").mkdir()
    return TrialInfo("5weep", "a sweep", tmp_path / "sweep", artifacts=("report.md",))


@pytest.fixture
def trial(sweep: TrialInfo) -> TrialInfo:
    directory = sweep.directory / "trials" / "c0ffee"
    directory.mkdir(parents=True)
    return TrialInfo(
        "c0ffee",
        "apt 0.6",
        directory,
        keys={"arm": "apt", "ablation": "w/o_Ds", "sparsity": "0.6"},
        params={"training.seed": "1"},
        parent=sweep,
    )


@pytest.fixture
def step_metrics() -> Callable[[int], StepMetrics]:
    def make(step: int, time_ms: int = 0, values: Mapping[str, float] | None = None) -> StepMetrics:
        return StepMetrics(
            step, time_ms or 1_700_000_000_000 + step, values or {"train/loss": 1.0 / (1 + step)}
        )

    return make


@pytest.fixture
def write_result() -> Callable[[TrialInfo], None]:
    def write(trial: TrialInfo) -> None:
        report = RunReport(
            run_id=trial.run_id,
            name=trial.name,
            arm="apt",
            ablation="full",
            model="toy",
            dataset="toy",
            seed=1,
            target_sparsity=0.6,
            sparsity=0.59,
            metric_name="accuracy",
            metric=0.91,
            metrics={"accuracy": 0.91},
            total_steps=100,
            train_time_s=12.0,
            eval_time_s=1.0,
            efficiency=Efficiency(40, 60, 5, 1000, 0.5),
        )
        write_json(trial.directory / "result.json", report.to_json())

    return write
