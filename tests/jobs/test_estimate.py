from pathlib import Path

import pytest

from apt_core.config import ExperimentConfig, load_config
from jobs.estimate import memory_gib, num_adapter_params, num_trainable_params
from orchestrator.model_files import ModelFacts

ROBERTA_BASE = ModelFacts(124_645_632, 768, 12, 12, 3072)


def config(*overrides: str) -> ExperimentConfig:
    return load_config([], overrides)


def test_adapters_of_roberta_base_have_the_papers_count() -> None:
    # per layer at rank 8: q 12,288 + v 12,288 + up 30,720 = 55,296; times 12
    assert num_adapter_params(config(), ROBERTA_BASE) == 663_552
    assert num_trainable_params(config(), ROBERTA_BASE) == 4 * 663_552
    assert num_trainable_params(config("ablation=w/o_AT"), ROBERTA_BASE) == 663_552


def test_lora_adapts_no_feed_forward_layer_and_ft_learns_everything() -> None:
    assert num_adapter_params(config("arm=lora"), ROBERTA_BASE) == 12 * 2 * 12_288
    assert num_adapter_params(config("arm=ft"), ROBERTA_BASE) == 0
    assert num_trainable_params(config("arm=ft"), ROBERTA_BASE) == ROBERTA_BASE.num_params


def test_llm_pruner_adapts_all_seven_projections() -> None:
    llama = ModelFacts(6_738_415_616, 4096, 32, 32, 11_008)
    # per layer at rank 8: 4 * 8 * 8,192 + 3 * 8 * 15,104 = 624,640; times 32
    assert num_adapter_params(config("arm=llm_pruner"), llama) == 19_988_480
    assert num_trainable_params(config("arm=llm_pruner"), llama) == 19_988_480


def test_memory_by_hand_for_full_fine_tuning() -> None:
    # batch 1, length 1: activations are nothing; weights 4 + gradient 4 + optimizer 12 bytes
    tiny_batch = config("arm=ft", "training.batch_size=1", "data.max_length=1")
    expected = 0.7 + 20 * 124_645_632 / 2**30
    assert memory_gib(tiny_batch, ROBERTA_BASE) == pytest.approx(expected, abs=0.01)


def test_memory_grows_with_batch_and_length() -> None:
    small = memory_gib(config("training.batch_size=8"), ROBERTA_BASE)
    assert memory_gib(config("training.batch_size=16"), ROBERTA_BASE) > small
    assert memory_gib(config("training.batch_size=8", "data.max_length=64"), ROBERTA_BASE) < small


def test_time_comes_from_a_finished_run_of_the_same_kind(project: Path) -> None:
    import json

    from jobs.estimate import estimate
    from tests.jobs.test_planning import plan_of
    from tests.orchestrator.execution.standin import make_report

    trial = plan_of(project).trials[0]
    assert estimate(trial).time_s is None
    # 6 steps in 1.0 + 0.5 s, so 100 steps take 25 s
    earlier = {**make_report("other").to_json(), "model": "mine", "dataset": "mine"}
    folder = trial.spec.run_dir.parent / "other"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(earlier))
    assert estimate(trial).time_s == pytest.approx(25.0)
    assert estimate(plan_of(project).trials[1]).time_s is None  # lora: another arm
