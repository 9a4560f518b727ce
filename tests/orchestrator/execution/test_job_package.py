from pathlib import Path

import pytest

from apt_core.config import ExperimentConfig, load_config
from orchestrator.execution.job_package import CONFIG_NAME, entrypoint, for_cluster, package


def config_with(*overrides: str) -> ExperimentConfig:
    return load_config([], ["model.model_type=toy", "data.dataset=toy_sentiment", *overrides])


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_the_resolved_configuration_is_sent() -> None:
    config = config_with("training.seed=7", "orchestration.grid=[{arm: [ft, apt]}]")
    with package(config, with_code=False) as folder:
        assert files_in(folder) == {CONFIG_NAME}
        assert load_config([folder / CONFIG_NAME]) == config
    assert not folder.exists()


def test_sources_are_sent_whole_when_asked_for_and_nothing_else() -> None:
    with package(config_with(), with_code=True) as folder:
        sent = files_in(folder)
    assert {"jobs/cli.py", "jobs/configs/demo.yaml", "apt_core/py.typed"} <= sent
    assert {path.split("/")[0] for path in sent} == {
        CONFIG_NAME,
        "apt_core",
        "jobs",
        "orchestrator",
    }
    assert not [path for path in sent if "__pycache__" in path]


def test_the_driver_takes_the_place_of_the_shell() -> None:
    # A shell in between would end at once when Ray stops the job.
    assert entrypoint(with_code=False).endswith(f"; exec aptune sweep --config {CONFIG_NAME}")
    assert entrypoint(with_code=True) == f"exec python -m jobs.cli sweep --config {CONFIG_NAME}"


def test_relative_places_become_absolute_if_they_are_here(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ready = for_cluster(
        config_with(
            "orchestration.results_dir=out/../runs",
            "orchestration.address=10.0.0.1:6379",
            "data.datasets.mine={path: data, text_columns: [a], labels: [x, y]}",
            "model.architectures.hub=some/model",
            "model.architectures.other=${APTUNE_NOWHERE}/model",
        ),
        tmp_path,
    )
    assert ready.orchestration.results_dir == str(tmp_path / "runs")
    assert ready.orchestration.address is None  # the cluster that the job is on
    assert ready.data.datasets["mine"].path == str(tmp_path / "data")
    assert ready.data.datasets["toy_sentiment"].path == "embedded:sentiment"
    assert ready.model.architectures["hub"] == "some/model"
    assert ready.model.architectures["other"] == "${APTUNE_NOWHERE}/model"
    assert for_cluster(ready, Path("/elsewhere")) == ready


@pytest.mark.parametrize("place", ["/mnt/runs", "~/runs", "${SHARED}/runs"])
def test_places_that_do_not_depend_on_the_folder_stay(place: str, tmp_path: Path) -> None:
    ready = for_cluster(config_with(f"orchestration.results_dir={place}"), tmp_path)
    assert ready.orchestration.results_dir == place
