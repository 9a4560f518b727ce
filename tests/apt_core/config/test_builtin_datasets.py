"""The built-in datasets: valid entries, each with a metric of its task."""

import pytest

from apt_core.config.builtin_datasets import BUILTIN_DATASETS
from apt_core.config.dataset import DatasetSpec
from apt_core.config.task_kinds import METRICS_OF_KIND


@pytest.mark.parametrize("name", BUILTIN_DATASETS)
def test_every_entry_is_valid_and_its_metric_is_one_of_its_task(name: str) -> None:
    spec = DatasetSpec.model_validate(BUILTIN_DATASETS[name])
    assert spec.metric in (None, *METRICS_OF_KIND[spec.task])


def test_glue_has_its_eight_tasks_with_their_metrics() -> None:
    glue = {k: v for k, v in BUILTIN_DATASETS.items() if v["path"] == "nyu-mll/glue"}
    assert {name: entry["subset"] for name, entry in glue.items()} == {name: name for name in glue}
    metrics = {name: entry["metric"] for name, entry in glue.items()}
    others = {"cola": "matthews", "stsb": "pearson_spearman"}
    accurate = dict.fromkeys(["sst2", "mnli", "qnli", "qqp", "mrpc", "rte"], "accuracy")
    assert metrics == {**accurate, **others}


def test_every_kind_of_task_has_a_dataset() -> None:
    kinds = {entry.get("task", "classification") for entry in BUILTIN_DATASETS.values()}
    assert kinds == set(METRICS_OF_KIND)


def test_squad_comes_in_both_versions() -> None:
    assert BUILTIN_DATASETS["squad"]["path"] == "rajpurkar/squad"
    assert BUILTIN_DATASETS["squad_v2"]["path"] == "rajpurkar/squad_v2"
