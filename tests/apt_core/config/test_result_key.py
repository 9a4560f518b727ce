"""What changes a run's identity and what does not."""

import json
from typing import Any

import pytest

from apt_core.config import load_config


def key(*overrides: str) -> dict[str, Any]:
    return load_config(overrides=overrides).result_key()


SAME: dict[str, list[tuple[str, ...]]] = {
    "names, places and measuring do not count": [
        (),
        ("name=other",),
        ("orchestration.max_failures=3",),
        ("orchestration.grid=[{seed: [1, 2]}]",),
        ("tracking.enabled=false",),
        ("data.cache_dir=/tmp/x",),
        ("evaluation.latency_repeats=1",),
        ("evaluation.measure_efficiency=false",),
        ("hardware.num_threads=1",),
        ("hardware.cpus_per_worker=2",),
        ("hardware.gpus_per_worker=1",),
        ("hardware.memory_per_worker_gib=8",),
        ("training.log_every=1", "training.save_every=50%", "training.keep_checkpoints=1"),
        ("model.architectures.other=/x", "data.datasets.rte.path=/y"),
    ],
    "two spellings of a value are one": [
        (),
        ("pruning.num_events=10",),
        ("tuning.max_rank=64",),
        ("training.micro_batch_size=32",),
        ("training.head_learning_rate=2e-4",),
        ("pruning.start=200",),
        ("data.datasets.sst2.metric=accuracy",),
        ("model.adapter.mha_components=[v_proj, q_proj]",),
        ("data.datasets.sst2.label_column=label",),
        ("data.datasets.sst2.label_words=[negative, positive]",),
        ("data.datasets.sst2.prompt='sst2 sentence: {sentence}'",),
        ("data.doc_stride=7",),
        ("model.architectures.alias=FacebookAI/roberta-base", "model.model_type=alias"),
    ],
    "half precision is padded to multiples of 8": [
        ("hardware.precision=bf16",),
        ("hardware.precision=bf16", "data.pad_to_multiple_of=8"),
    ],
    "fp32 is padded as little as can be": [
        ("hardware.precision=fp32",),
        ("hardware.precision=fp32", "data.pad_to_multiple_of=1"),
    ],
    "max_steps wins over epochs": [
        ("training.max_steps=9",),
        ("training.max_steps=9", "training.num_epochs=3"),
    ],
    "full fine-tuning knows no adapters, pruning, growth or distillation": [
        ("arm=ft",),
        ("arm=ft", "pruning.target_sparsity=0.3", "tuning.growth=ratio"),
        ("arm=ft", "distillation.temperature=2", "training.initial_rank=4"),
        ("arm=ft", "training.scaling_factor=1", "training.momentum_salience=0.5"),
        ("arm=ft", "training.optimizer_on_surgery=reset", "model.adapter.apply_to_ffn=false"),
    ],
    "lora knows no pruning and no feed-forward adapters": [
        ("arm=lora",),
        ("arm=lora", "pruning.target_sparsity=0.3", "model.adapter.apply_to_ffn=false"),
        ("arm=lora", "tuning.max_rank=16", "distillation.stop=10%"),
    ],
    "mask tuning knows no salience, no windows, no schedule and no hidden dimensions": [
        ("arm=lora_prune",),
        ("arm=lora_prune", "training.momentum_salience=0.5", "pruning.use_kurtosis=true"),
        ("arm=lora_prune", "pruning.window=9", "pruning.num_events=3", "pruning.start=5"),
        ("arm=lora_prune", "pruning.min_hidden=4", "pruning.pre_tuning_sparsity=0.3"),
        ("arm=lora_prune", "tuning.max_rank=16", "distillation.stop=10%"),
        ("arm=lora_prune", "model.adapter.apply_to_ffn=false"),
    ],
    "other arms rescale nothing": [
        (),
        ("pruning.rescale=true",),
    ],
    "without pruning the target does not count": [
        ("ablation=w/o_Ap",),
        ("ablation=w/o_Ap", "pruning.target_sparsity=0.3", "pruning.warmup=100"),
    ],
    "without growth the tuner does not count": [
        ("ablation=w/o_AT",),
        ("ablation=w/o_AT", "tuning.growth=ratio"),
    ],
    "without distillation its settings do not count": [
        ("ablation=w/o_Ds",),
        ("ablation=w/o_Ds", "distillation.temperature=3"),
        ("ablation=w/o_Ds", "distillation.refresh_teacher=true"),
    ],
    "gates know no events, windows, salience or new teachers": [
        ("arm=prune_distill",),
        ("arm=prune_distill", "pruning.num_events=3", "pruning.window=9", "pruning.mask_step=0.5"),
        ("arm=prune_distill", "pruning.use_kurtosis=true", "training.momentum_salience=0.5"),
        ("arm=prune_distill", "pruning.pre_tuning_sparsity=0.2", "pruning.calibration_batches=3"),
        ("arm=prune_distill", "distillation.refresh_teacher=true", "training.initial_rank=4"),
    ],
    "without gates their settings do not count": [
        (),
        ("pruning.gate_learning_rate=0.5", "pruning.gate_drop_rate=0.3"),
    ],
    "who cuts before training knows no events, no salience and no places of adapters": [
        ("arm=llm_pruner",),
        ("arm=llm_pruner", "pruning.start=7", "pruning.stop=50%", "pruning.num_events=3"),
        ("arm=llm_pruner", "pruning.use_kurtosis=true", "pruning.pre_tuning_sparsity=0.2"),
        ("arm=llm_pruner", "model.adapter.apply_to_ffn=false", "pruning.min_hidden=99"),
        ("arm=llm_pruner", "training.momentum_salience=0.5"),
        ("arm=llm_pruner", "training.optimizer_on_surgery=reset"),
    ],
    "protected layers are for llm_pruner alone": [
        (),
        ("pruning.protect_first_layers=1", "pruning.protect_last_layers=1"),
    ],
    "a constraint on parameters has no length and no batch": [
        (),
        ("pruning.constraint=params", "pruning.constraint_length=9"),
        ("pruning.latency_batch_size=1",),
    ],
    "macs are counted for one row, by default of the longest": [
        ("pruning.constraint=macs",),
        ("pruning.constraint=macs", "pruning.constraint_length=128"),
        ("pruning.constraint=macs", "pruning.latency_batch_size=1"),
    ],
    "an arm that does not prune has no constraint": [
        ("arm=lora",),
        ("arm=lora", "pruning.constraint=macs"),
    ],
    "plain torch ignores the zero stage": [
        ("hardware.engine=torch",),
        ("hardware.engine=torch", "hardware.zero_stage=0"),
    ],
    "an idle kurtosis weight does not count": [
        ("pruning.use_kurtosis=false",),
        ("pruning.use_kurtosis=false", "pruning.kurtosis_weight=2"),
    ],
}


@pytest.mark.parametrize("reason", SAME)
def test_equal_runs_have_equal_keys(reason: str) -> None:
    spellings = {json.dumps(key(*overrides), sort_keys=True) for overrides in SAME[reason]}
    assert len(spellings) == 1


DIFFERENT = [
    "arm=ft",
    "arm=lora",
    "arm=llm_pruner",
    "pruning.constraint=macs",
    "arm=lora_prune",
    "ablation=w/o_Ap",
    "model.model_type=bert",
    "model.dropout=0.0",
    "model.adapter.apply_to_ffn=false",
    "data.dataset=rte",
    "data.max_length=64",
    "data.train_rows=100",
    "data.eval_rows=100",
    "data.max_target_length=64",
    "data.holdout_rows=100",
    "data.bucket_batches=1",
    "data.pad_to_multiple_of=16",
    "data.datasets.sst2.label_words=[bad, good]",
    "data.datasets.sst2.prompt='{sentence} it was'",
    "data.datasets.sst2.more_eval_splits=[test]",
    "training.seed=2",
    "training.batch_size=16",
    "training.micro_batch_size=8",
    "training.eval_every=10%",
    "training.initial_rank=4",
    "training.max_steps=10",
    "training.optimizer_on_surgery=reset",
    "pruning.target_sparsity=0.4",
    "pruning.num_events=5",
    "pruning.min_hidden=16",
    "tuning.growth=ratio",
    "distillation.temperature=2",
    "hardware.precision=bf16",
    "hardware.engine=torch",
    "hardware.zero_stage=1",
    "hardware.num_workers=2",
]


def test_whatever_changes_the_result_changes_the_key() -> None:
    keys = {json.dumps(key(override), sort_keys=True) for override in ["name=same", *DIFFERENT]}
    assert len(keys) == len(DIFFERENT) + 1


MASK_TUNING = [
    "pruning.target_sparsity=0.4",
    "pruning.stop=9",
    "pruning.min_heads=1",
    "pruning.min_neurons=1",
    "pruning.round_to=8",
    "pruning.calibration_batches=64",
    "pruning.calibration_batch_size=32",
    "pruning.rescale=false",
    "training.initial_rank=4",
    "training.optimizer_on_surgery=reset",
]


def test_whatever_changes_a_cut_by_mask_tuning_changes_the_key() -> None:
    keys = {
        json.dumps(key("arm=lora_prune", o), sort_keys=True) for o in ["name=same", *MASK_TUNING]
    }
    assert len(keys) == len(MASK_TUNING) + 1


@pytest.mark.parametrize("field", ["training.choose_best", "distillation.refresh_teacher"])
def test_choosing_on_held_out_rows_counts_where_it_is_on(field: str) -> None:
    held_out = "data.holdout_rows=100"
    assert key(held_out) == key(held_out, f"{field}=false") != key(held_out, f"{field}=true")
    assert field.rpartition(".")[2] not in json.dumps(key(held_out))


GATES = "arm=lora_prune_distill"


@pytest.mark.parametrize(
    "field",
    ["gate_learning_rate", "gate_drop_rate", "target_sparsity", "min_heads", "warmup", "round_to"],
)
def test_what_gates_do_depend_on_counts(field: str) -> None:
    value = "0.3" if field in ("gate_learning_rate", "gate_drop_rate", "target_sparsity") else "2"
    assert key(GATES) != key(GATES, f"pruning.{field}={value}")
    assert key(GATES) != key("arm=prune_distill")


@pytest.mark.parametrize(
    ("basis", "override"),
    [
        ("arm=llm_pruner", "pruning.calibration_batches=3"),
        ("arm=llm_pruner", "pruning.protect_first_layers=3"),
        ("arm=llm_pruner", "pruning.protect_last_layers=0"),
        ("arm=llm_pruner", "pruning.target_sparsity=0.2"),
        ("arm=llm_pruner", "pruning.min_neurons=3"),
        ("arm=llm_pruner", "pruning.round_to=8"),
        ("arm=llm_pruner", "training.initial_rank=3"),
        ("arm=llm_pruner", "pruning.constraint=macs"),
        ("pruning.constraint=macs", "pruning.constraint=latency_ms"),
        ("pruning.constraint=macs", "pruning.constraint_length=7"),
        ("pruning.constraint=latency_ms", "pruning.constraint_length=7"),
        ("pruning.constraint=latency_ms", "pruning.latency_batch_size=7"),
    ],
)
def test_what_an_arm_or_a_constraint_uses_counts(basis: str, override: str) -> None:
    assert key(basis) != key(basis, override)


def test_without_pruning_the_schedule_of_growth_still_counts() -> None:
    assert key("ablation=w/o_Ap") != key("ablation=w/o_Ap", "pruning.num_events=3")


def test_only_the_chosen_paths_enter_with_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "/here")
    found = key("model.architectures.roberta=${HERE}/r", "data.datasets.sst2.path=${HERE}/d")
    assert found["model"]["path"] == "/here/r"
    assert found["data"]["spec"]["path"] == "/here/d"
    assert "architectures" not in found["model"]
    assert "datasets" not in found["data"]


def test_the_overlap_of_windows_counts_where_there_are_windows() -> None:
    assert key("data.dataset=squad") != key("data.dataset=squad", "data.doc_stride=7")


def test_a_holdout_that_is_taken_anyway_may_be_spelt_out() -> None:
    assert key("data.dataset=alpaca") == key("data.dataset=alpaca", "data.holdout_rows=1000")
