from contextlib import ExitStack
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from jobs.tracked import TrackingStart, flat_params, sweep_info, tracking, trial_info
from tests.jobs.test_planning import plan_of


def test_every_grid_key_of_a_trial_is_a_key_and_its_command_a_tag(project: Path) -> None:
    plan = plan_of(project)
    parent = sweep_info(plan)
    info = trial_info(plan.trials[3], parent)
    assert info.keys["arm"] == "apt"
    assert info.keys["sparsity"] == "0.6"
    assert info.tags["command"] == plan.specs[3].command
    assert info.params["training.batch_size"] == "8"
    for path in ("pruning.target_sparsity", "training.seed"):  # sparsity and seed are keys
        assert path not in info.params
    assert info.parent is parent
    assert parent.directory == plan.sweep_dir


def test_catalogues_and_cluster_settings_are_no_parameters() -> None:
    config = {"model": {"architectures": {"a": "b"}, "dropout": None}, "tracking": {"uri": "x"}}
    assert flat_params(config) == {"model.dropout": "None"}


def test_tracking_that_is_off_tracks_nothing(project: Path) -> None:
    with tracking(plan_of(project)) as start:
        assert start is None


def test_mlflow_is_imported_before_a_second_thread_could(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr("jobs.tracked.import_client", lambda: events.append("imported"))
    monkeypatch.setattr(TrackingStart, "start", lambda self: events.append("thread"))
    monkeypatch.setattr(TrackingStart, "join", lambda self: None)
    plan = plan_of(project)
    tracked = plan.config.tracking.model_copy(update={"enabled": True})
    config = plan.config.model_copy(update={"tracking": tracked})
    with tracking(type(plan)(config, plan.trials, plan.settings)):
        assert events == ["imported", "thread"]


def test_tracking_that_cannot_start_raises_in_the_drivers_thread(project: Path) -> None:
    plan = plan_of(project)
    broken = plan.config.tracking.model_copy(update={"uri": "http://127.0.0.1:9"})
    config = plan.config.model_copy(update={"tracking": broken})
    with ExitStack() as stack:
        start = TrackingStart(type(plan)(config, plan.trials, plan.settings), stack)
        start.start()
        start.join(30)
        with pytest.raises(TrackingError, match=r"tracking\.uri"):
            start.check()
