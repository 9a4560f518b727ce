"""The defaults of DeepSpeed that would surprise are set."""

from typing import Any

import pytest

from apt_core.trainer.deepspeed_config import MAX_BUCKET, deepspeed_config, worthwhile_stage
from apt_core.trainer.engine import Precision


def config(zero_stage: int = 2, precision: Precision = "fp32", num_trainable: int = 7) -> Any:
    return deepspeed_config(
        zero_stage=zero_stage,
        precision=precision,
        accumulation_steps=3,
        max_grad_norm=0.7,
        num_trainable=num_trainable,
        persistence_threshold=11,
    )


@pytest.mark.parametrize(
    ("stage", "precision"), [(0, "bf16"), (1, "fp32"), (2, "fp16"), (3, "fp32")]
)
def test_clipping_is_always_given(stage: int, precision: Precision) -> None:
    assert config(stage, precision)["gradient_clipping"] == 0.7


def test_stage_0_in_fp32_leaves_clipping_to_the_engine() -> None:
    assert config(0, "fp32")["gradient_clipping"] == 0.0


def test_buffers_are_even_no_larger_than_the_model_and_bounded() -> None:
    assert config(num_trainable=7)["zero_optimization"]["reduce_bucket_size"] == 8
    huge = config(num_trainable=10 * MAX_BUCKET)["zero_optimization"]["reduce_bucket_size"]
    assert huge == MAX_BUCKET


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_one_precision_is_enabled_at_most(precision: Precision) -> None:
    found = config(precision=precision)
    assert found["bf16"]["enabled"] is (precision == "bf16")
    assert found["fp16"]["enabled"] is (precision == "fp16")
    assert found["fp16"]["loss_scale"] == 0  # dynamic


@pytest.mark.parametrize(
    ("configured", "num_workers", "stage"),
    [(0, 1, 0), (1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 1, 3)],
)
def test_a_single_worker_does_not_reduce_gradients_at_every_micro_batch(
    configured: int, num_workers: int, stage: int
) -> None:
    assert worthwhile_stage(configured, num_workers) == stage
