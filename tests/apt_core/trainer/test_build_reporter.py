"""Which metric, which text, which benchmarks: from configuration to plain arguments."""

import pytest
import torch

from apt_core.config import load_config
from apt_core.errors import ConfigError
from apt_core.trainer import build_reporter as built
from tests.tiny_run import tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("reporter")


def config(*overrides: str):
    return load_config([], ["model.model_type=toy", *overrides])


def test_benchmarks_are_the_main_metric_and_tokens_are_scored_meanwhile() -> None:
    alpaca = config("data.dataset=alpaca")
    assert alpaca.metric_name == "lm_eval"
    assert built._metric_while_training(alpaca) == "token_accuracy"
    assert built._generation(alpaca, "token_accuracy") is None
    settings = built._lm_eval_settings(alpaca, "causal_lm")
    assert settings is not None
    assert settings.tasks == {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0}


def test_an_encoder_cannot_be_benchmarked() -> None:
    with pytest.raises(ConfigError, match="needs a model that writes text"):
        built._lm_eval_settings(config("data.dataset=alpaca"), "sequence_classification")


def test_other_tasks_run_no_benchmarks() -> None:
    assert built._lm_eval_settings(config("data.dataset=cnn_dm"), "seq2seq_lm") is None


def test_text_is_written_where_the_metric_needs_it() -> None:
    summary = config("data.dataset=cnn_dm", "evaluation.generation.num_beams=4")
    settings = built._generation(summary, summary.metric_name)
    assert settings is not None
    assert (settings.max_new_tokens, settings.num_beams) == (128, 4)
    shorter = config("data.dataset=cnn_dm", "evaluation.generation.max_new_tokens=9")
    wanted = built._generation(shorter, shorter.metric_name)
    assert wanted is not None
    assert wanted.max_new_tokens == 9
    always = config("data.dataset=alpaca", "evaluation.generation.always=true")
    assert built._generation(always, "token_accuracy") is not None


def test_an_arm_that_does_not_prune_aims_at_no_sparsity(root):
    assert built.run_facts(tiny_experiment(root), "id", "").target_sparsity == 0.5
    for override in ("arm=lora", "ablation=w/o_Ap"):
        assert built.run_facts(tiny_experiment(root, override), "id", "").target_sparsity == 0.0


def test_the_facts_describe_the_run_and_its_environment(root):
    overrides = ["hardware.engine=deepspeed", "hardware.zero_stage=1", "training.seed=7"]
    facts = built.run_facts(tiny_experiment(root, *overrides), "id", "command")
    assert (facts.run_id, facts.command, facts.seed) == ("id", "command", 7)
    assert (facts.model, facts.dataset, facts.arm) == ("tiny", "tiny", "apt")
    assert facts.environment["zero_stage"] == 1
    assert facts.environment["device"] == "cpu"
    assert facts.environment["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert built.run_facts(tiny_experiment(root), "", "").environment["zero_stage"] is None
