"""Sections `evaluation`, `hardware`, `orchestration`, `tracking`."""

from pathlib import Path

import pytest

from apt_core.config import GridBlock, MetricNames, OrchestrationConfig
from apt_core.config.task_kinds import METRICS_OF_KIND
from apt_core.errors import ConfigError


def test_a_single_value_of_a_grid_counts_as_a_list_of_one() -> None:
    block = GridBlock.model_validate(
        {"arm": "ft", "sparsity": 0.4, "seed": [1, 2], "set": {"a": 1}}
    )
    assert (block.arm, block.sparsity, block.seed) == (("ft",), (0.4,), (1, 2))
    assert block.model is None
    assert block.set == {"a": 1}


def test_the_results_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    assert OrchestrationConfig(results_dir="${PLACE}/runs").results_path == Path("/somewhere/runs")


@pytest.mark.parametrize("given", ["s3://bucket/runs", "${PLACE}/runs"])
def test_an_address_is_no_results_folder(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("PLACE", "gs://bucket")
    with pytest.raises(
        ConfigError, match=r"orchestration\.results_dir.*not a folder.*all nodes see"
    ):
        _ = OrchestrationConfig(results_dir=given).results_path


def test_every_kind_of_task_has_a_main_metric_of_its_own() -> None:
    names = MetricNames().model_dump()
    assert set(names) == set(METRICS_OF_KIND)
    assert all(name in METRICS_OF_KIND[kind] for kind, name in names.items())
