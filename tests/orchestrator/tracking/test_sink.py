"""What all sinks share: the error that tells temporary from permanent, and what a trial uploads."""

import inspect
from pathlib import Path

import pytest

from apt_core.errors import AptError
from apt_core.trainer.build import run_training
from orchestrator.execution.status import CONFIG_FILE
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.sink import TRIAL_ARTIFACTS, DeliveryError, MetricSink, TrialInfo
from tests.tiny_run import tiny_experiment

METHODS = [name for name, _ in inspect.getmembers(MetricSink, inspect.isfunction) if name[0] != "_"]


def test_a_delivery_error_is_temporary_unless_said_otherwise() -> None:
    assert not DeliveryError("away").is_permanent
    assert DeliveryError("refused", is_permanent=True).is_permanent
    assert str(DeliveryError("away")) == "away"
    assert isinstance(DeliveryError("away"), AptError)


@pytest.mark.parametrize("method", METHODS)
def test_the_real_sink_has_every_method_of_the_protocol(method: str) -> None:
    def parameters(owner: type) -> list[tuple[str, object, object]]:
        signature = inspect.signature(getattr(owner, method))
        return [(p.name, p.kind, p.default) for p in signature.parameters.values()]

    assert parameters(MlflowSink) == parameters(MetricSink)


def test_the_protocol_is_not_empty() -> None:
    assert {"open", "start_trial", "log", "log_artifact", "finish_trial", "close"} == set(METHODS)


def test_the_artifacts_of_a_trial_are_files_that_a_training_writes(tmp_path: Path) -> None:
    config = tiny_experiment(tmp_path, "arm=lora", "training.max_steps=2")
    run_training(config, run_dir=tmp_path / "run", run_id="c0ffee")
    written_by_the_training = set(TRIAL_ARTIFACTS) - {CONFIG_FILE}
    assert len(written_by_the_training) == 3
    for name in written_by_the_training:
        assert (tmp_path / "run" / name).is_file(), name
    assert TrialInfo("c0ffee", "a trial", tmp_path).artifacts == TRIAL_ARTIFACTS
