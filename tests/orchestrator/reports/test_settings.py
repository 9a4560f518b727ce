from apt_core.config.mode import OFFICIAL
from orchestrator.reports.settings import (
    common_settings,
    comparable_keys,
    differing_keys,
    flatten,
    mode_text,
    variant_keys,
)
from tests.orchestrator.reports.synthetic_sweep import Trial, make_config


def test_nested_configs_become_dotted_keys() -> None:
    flat = flatten({"a": {"b": {"c": 1}}, "d": [1, 2], "e": {}})
    assert flat == {"a.b.c": 1, "d": [1, 2], "e": {}}


def test_common_settings_leave_out_what_differs_and_unused_catalogue_entries() -> None:
    settings = [flatten(make_config(Trial(seed=seed))) for seed in (1, 2)]
    common = common_settings(settings)
    assert "training.seed" not in common
    assert common["training.betas"] == "[0.9, 0.999]"
    assert common["data.datasets.sst2.path"] == "glue/sst2"
    assert "data.datasets.rte.path" not in common
    assert "model.architectures.bert" not in common


def test_a_key_that_one_run_lacks_differs() -> None:
    assert differing_keys([{"a": 1, "b": 2}, {"a": 1}]) == ["b"]


def test_seed_and_folders_do_not_make_a_variant_but_a_learning_rate_does() -> None:
    first = flatten(make_config(Trial(seed=1), orchestration__results_dir="elsewhere"))
    second = flatten(make_config(Trial(seed=2), training__learning_rate=1e-3))
    assert variant_keys([first, second]) == ["training.learning_rate"]


def test_no_runs_have_no_settings() -> None:
    assert common_settings([]) == {}


def test_the_mode_is_told_with_what_a_paper_run_took_over() -> None:
    plain = {"mode": "paper", "tuning.importance": "paper", "tuning.growth": "fill"}
    assert mode_text([]) == "paper"
    assert mode_text([{}]) == "paper"  # written before there were modes
    assert mode_text([plain, plain]) == "paper"
    assert mode_text([{"mode": "official", **OFFICIAL}]) == "official"
    taken = {**plain, "tuning.importance": "signed", "training.train_head": False}
    told = "paper, with training.train_head=false, tuning.importance=signed"
    assert mode_text([taken]) == told
    assert mode_text([plain, taken, plain]) == f"paper | {told}"


def test_where_a_teacher_lies_is_no_variant() -> None:
    settings = [{"distillation.teacher_path": f"runs/{seed}/export"} for seed in (1, 2)]
    assert variant_keys(settings) == []


def test_what_compares_runs_leaves_out_names_places_and_catalogues() -> None:
    settings = [
        flatten(make_config(Trial(arm), orchestration__results_dir=arm, model__model_type=arm))
        | {"name": arm, "data.cache_dir": arm}
        for arm in ("ft", "lora")
    ]
    assert comparable_keys(settings) == ["arm", "model.model_type"]
