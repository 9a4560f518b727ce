import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from apt_core.config import ExperimentConfig, config_to_json
from apt_core.errors import (
    AptError,
    DataError,
    DeviceMemoryError,
    TrainingError,
    TrainingStoppedError,
)
from apt_core.files import write_json
from orchestrator.execution import worker
from orchestrator.execution.lock import only_training
from orchestrator.execution.status import (
    CONFIG_FILE,
    TrialState,
    read_status,
)
from orchestrator.execution.trial import TrialSpec
from orchestrator.execution.worker import (
    gauges_of,
    load_entry,
    log_format,
    run_payload,
    train_in_worker,
)
from orchestrator.telemetry import NO_TELEMETRY
from orchestrator.traces import read_trace
from tests.orchestrator.execution.standin import ENTRY, NUM_STEPS, starts
from tests.tiny_run import tiny_experiment

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    # DeepSpeed refuses an empty one, and these tests may be the first to import it.
    monkeypatch.setenv("DS_ACCELERATOR", os.environ.get("DS_ACCELERATOR", "cpu"))


def payload(run_dir: Path, name: str, launch_id: str = "001") -> dict[str, object]:
    config = config_to_json(ExperimentConfig(name=name))
    write_json(run_dir / CONFIG_FILE, config)
    return TrialSpec("a", "a", run_dir, NUM_STEPS, config, "", entry=ENTRY).payload(launch_id)


def test_a_training_leaves_finished_and_returns_its_report(tmp_path: Path) -> None:
    report = run_payload(payload(tmp_path, "good"), rank=0)
    assert report.run_id == "a"
    assert read_status(tmp_path).state is TrialState.FINISHED


def test_who_runs_a_trial_says_where_and_calls_nobody_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NO_TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    run_payload(payload(tmp_path, "good"), rank=0)
    assert read_status(tmp_path).node == platform.node()
    assert {name: os.environ[name] for name in NO_TELEMETRY} == NO_TELEMETRY


def test_wrong_input_is_recorded_and_not_tried_again_in_the_same_launch(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run_payload(payload(tmp_path, "wrong"), rank=0)
    assert run_payload(payload(tmp_path, "wrong"), rank=0) is None
    assert starts(tmp_path) == [0]
    assert read_status(tmp_path).reason == "column 'text' is missing"
    with pytest.raises(DataError):  # the user may have mended it: a new launch tries
        run_payload(payload(tmp_path, "wrong", "002"), rank=0)


def test_a_training_that_diverged_is_not_tried_again_in_the_same_launch(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        run_payload(payload(tmp_path, "diverging"), rank=0)
    assert run_payload(payload(tmp_path, "diverging"), rank=0) is None
    assert starts(tmp_path) == [0]
    assert read_status(tmp_path).state is TrialState.FAILED
    assert "lower training.learning_rate" in read_status(tmp_path).reason


def test_a_loss_that_is_no_number_fails_with_advice(tmp_path: Path) -> None:
    config = tiny_experiment(tmp_path, "arm=ft", "training.learning_rate=1e20")
    run_dir = tmp_path / "run"
    write_json(run_dir / CONFIG_FILE, config_to_json(config))
    spec = TrialSpec("a", "a", run_dir, 36, config_to_json(config), "")
    with pytest.raises(TrainingError):
        run_payload(spec.payload("001"), rank=0)
    status = read_status(run_dir)
    assert (status.state, status.rejected) == (TrialState.FAILED, True)
    assert "lower training.learning_rate" in status.reason


def test_a_full_gpu_is_told_with_what_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nand more")

    monkeypatch.setattr(worker, "load_entry", lambda entry: train)
    with pytest.raises(DeviceMemoryError, match=r"allocate 2 GiB\. .*micro_batch_size.*_stage"):
        run_payload(payload(tmp_path, "good"), rank=0)
    assert not read_status(tmp_path).rejected, "who shared the GPU may be gone"


def test_nobody_trains_a_trial_beside_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []

    def train(payload: object, run_dir: Path, **options: object) -> None:
        with pytest.raises(AptError, match="still trains it"), only_training(run_dir, timeout_s=0):
            pass
        taken.append(True)

    monkeypatch.setattr(worker, "_train", train)
    run_payload(payload(tmp_path, "good"), rank=0)
    assert taken == [True]


def test_a_stopped_training_is_killed_and_one_not_begun_stays_pending(tmp_path: Path) -> None:
    with pytest.raises(TrainingStoppedError, match="before it began"):
        run_payload(payload(tmp_path, "slow"), rank=0, should_stop=lambda: True)
    assert read_status(tmp_path).state is TrialState.PENDING
    asked = iter([False, False, True])
    with pytest.raises(TrainingStoppedError):
        run_payload(payload(tmp_path, "slow"), rank=0, should_stop=lambda: next(asked))
    status = read_status(tmp_path)
    assert (status.state, status.reason) == (TrialState.KILLED, "stopped at step 1")


def test_a_worker_that_was_stopped_is_no_failure_to_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "redirect_output", lambda log, line_format: None)
    stop_file = tmp_path / "stop"
    stop_file.touch()
    train_in_worker({**payload(tmp_path, "slow"), "stop_file": str(stop_file)})
    assert starts(tmp_path) == []


def test_the_default_entry_is_the_library_entry() -> None:
    assert load_entry("apt_core.report:RunReport").__name__ == "RunReport"


def test_output_of_c_libraries_and_tracebacks_land_in_the_worker_log(tmp_path: Path) -> None:
    code = (
        "import os, sys; from orchestrator.execution.worker import redirect_output;"
        f"from pathlib import Path; redirect_output(Path({str(tmp_path)!r}) / 'w.log', '');"
        "os.write(1, b'from C\\n'); print('from Python'); raise SystemExit('from exit')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.stdout == done.stderr == b""
    assert (tmp_path / "w.log").read_text() == "from C\nfrom Python\nfrom exit\n"


def test_every_logged_line_names_time_run_and_rank(tmp_path: Path) -> None:
    line_format = log_format("0123456789abcdef", 1)
    code = (
        "import logging; from orchestrator.execution.worker import redirect_output;"
        f"from pathlib import Path; redirect_output(Path({str(tmp_path)!r}) / 'w.log',"
        f"{line_format!r}); logging.getLogger('apt_core.trainer').info('resuming');"
        "logging.getLogger('apt_core').debug('not shown')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
    (line,) = (tmp_path / "w.log").read_text().splitlines()
    time, _, told = line.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert told == "INFO run=0123456789abcdef rank=1 apt_core.trainer: resuming"


def test_worker_0_alone_records_a_trace(tmp_path: Path) -> None:
    run_payload(payload(tmp_path, "good"), rank=1)
    assert not (tmp_path / "trace.json").exists()
    run_payload(payload(tmp_path, "good"), rank=0)
    assert [span.name for span in read_trace(tmp_path / "trace.json").spans] == [
        "worker",
        "imports",
    ]


def test_a_trial_whose_arm_cannot_be_read_is_trained_without_gauges(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = payload(tmp_path, "good")
    assert len(gauges_of(trial)) == 1
    (tmp_path / CONFIG_FILE).unlink()
    assert gauges_of(trial) == ()
    assert "no metrics for Prometheus" in caplog.text
