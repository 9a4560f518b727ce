"""Every rule between fields, broken once and kept once."""

from typing import Any

import pytest

from apt_core.config import load_config
from apt_core.errors import ConfigError

BROKEN: list[tuple[list[str], str]] = [
    (
        ["arm=lora", "ablation=w/o_Ap"],
        r"ablation: only arm apt can be ablated.*lora.*set arm to apt",
    ),
    (
        ["arm=ft", "ablation=w/o_layer_loss", "distillation.refresh_teacher=true"],
        r"ablation: only arm apt can be ablated",
    ),
    (
        ["ablation=w/o_layer_loss", "distillation.prediction_weight=0"],
        r"distillation\.prediction_weight: .*nothing to distil",
    ),
    (
        ["ablation=ft_teacher", "pruning.pre_tuning_sparsity=0.3"],
        r"pre_tuning_sparsity: excludes ablation ft_teacher.*\(got 0\.3\); set it to 0",
    ),
    (["mode=official"], r'tuning\.importance: is "signed" in mode official.*or set mode to paper'),
    (
        ["orchestration.grid=[{arm: ft}, {arm: lora, search: {training.learning_rate: [1, 2]}}]"],
        r"grid\[0\]\.search: has 1 tries, and another block has 2",
    ),
    (
        ["orchestration.grid=[{search: {training.learning_rate: [1, 2]}}]"],
        r"training\.choose_best: is off, and a search needs a score on held-out rows",
    ),
    (["model.model_type=robrta"], r'model\.model_type: .*got "robrta".*did you mean roberta\?'),
    (["data.dataset=sst"], r"data\.dataset: .*did you mean sst2\?"),
    (
        ["orchestration.grid=[{model: tyo}]"],
        r"orchestration\.grid\[0\]\.model: .*did you mean toy\?",
    ),
    (["orchestration.grid=[{dataset: rta}]"], r"grid\[0\]\.dataset: .*did you mean rte\?"),
    (["hardware.num_workers=3"], r"training\.batch_size: .*3 workers \(got 32\); .*multiple of"),
    (
        ["training.micro_batch_size=5", "hardware.num_workers=2"],
        r"training\.batch_size: .*2 workers x micro_batch_size 5 .*multiple of 10",
    ),
    (["training.num_epochs=null"], r"training\.num_epochs: .*set one of them"),
    (
        ["hardware.gpus_per_worker=1.5"],
        r"hardware\.gpus_per_worker: is above 1 and no whole number \(got 1\.5\); set it to",
    ),
    (
        ["hardware.precision=fp16"],
        r"fp16 needs a GPU .*; set hardware\.precision to bf16 or fp32, "
        r"or hardware\.gpus_per_worker above 0",
    ),
    (
        ["hardware.precision=fp16", "hardware.gpus_per_worker=1", "hardware.zero_stage=0"],
        r"hardware\.zero_stage: fp16 needs ZeRO .*1 or higher",
    ),
    (
        ["pruning.update_frequency=100", "pruning.num_events=3"],
        r"pruning\.update_frequency: excludes pruning\.num_events, which is 3",
    ),
    (
        ["distillation.distill_loss_weight_end=0.2", "distillation.distill_loss_weight_start=0.3"],
        r"distill_loss_weight_start: is above distill_loss_weight_end, which is 0\.2",
    ),
    (
        ["distillation.prediction_weight=0", "distillation.layer_weight=0"],
        r"prediction_weight: .*nothing to distil",
    ),
    (
        ["arm=prune_distill", "pruning.target_sparsity=0"],
        r"pruning\.target_sparsity: .*prune_distill nothing to close.*set it above 0",
    ),
    (
        ["arm=prune_distill", "pruning.constraint=macs"],
        r"pruning\.constraint: is macs, .*can only count parameters.*set it to params",
    ),
    (
        ["training.choose_best=true"],
        r"training\.choose_best: .*none are held out \(got true\); set data\.holdout_rows",
    ),
    (
        ["distillation.refresh_teacher=true"],
        r"distillation\.refresh_teacher: .*none are held out .*set data\.holdout_rows",
    ),
    (
        [
            "training.choose_best=true",
            "data.holdout_rows=9",
            "data.datasets.sst2.eval_split=holdout",
        ],
        r"choose by the rows on which dataset sst2 is reported .*data\.datasets\.sst2\.eval_split",
    ),
    (["tuning.max_rank=4"], r"tuning\.max_rank: is below training\.initial_rank, which is 8"),
]


@pytest.mark.parametrize(("overrides", "message"), BROKEN, ids=lambda v: str(v)[:40])
def test_a_broken_rule_is_told_with_its_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=overrides)


@pytest.mark.parametrize(
    "address",
    ["http://me:s3cret@host:5000", "https://s3cret@host", "postgresql+x://me:s3cret@db/y"],
)
def test_a_password_in_the_tracking_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri: .*MLFLOW_TRACKING_PASSWORD") as caught:
        load_config(overrides=[f"tracking.uri={address}"])
    assert "s3cret" not in str(caught.value)
    load_config(overrides=["tracking.uri=http://host:5000/a@b"])


KEPT: list[tuple[str, Any]] = [
    ("arm=lora", None),
    ("hardware.num_workers=4", "training.micro_batch_size=4"),
    ("hardware.precision=fp16", "hardware.gpus_per_worker=0.5"),
    ("hardware.gpus_per_worker=2", None),
    ("hardware.zero_stage=0", "hardware.precision=bf16"),
    ("training.num_epochs=null", "training.max_steps=10"),
    ("pruning.update_frequency=100", None),
    ("training.choose_best=true", "data.holdout_rows=9"),
    ("training.choose_best=true", "data.dataset=alpaca"),
    ("distillation.refresh_teacher=true", "ablation=w/o_Ds"),
    ("distillation.refresh_teacher=true", "data.holdout_rows=9"),
    ("tuning.max_rank=8", "orchestration.grid=[{model: [toy, bert], dataset: rte, seed: 3}]"),
]


@pytest.mark.parametrize(("first", "second"), KEPT)
def test_a_kept_rule_says_nothing(first: str, second: str | None) -> None:
    load_config(overrides=[o for o in (first, second) if o is not None])


def test_all_broken_rules_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(overrides=["arm=ft", "ablation=w/o_Ds", "data.dataset=x", "tuning.max_rank=1"])
    assert len(str(error.value).splitlines()) == 3
