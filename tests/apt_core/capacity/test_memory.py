"""ZeRO's divisions by hand: 1000 frozen parameters, 100 that learn, 4 workers."""

import pytest

from apt_core.capacity.kept import Load
from apt_core.capacity.memory import (
    PLAIN,
    Division,
    Memory,
    Params,
    buffer_bytes,
    optimizer_bytes,
    update_bytes,
    whole_bytes,
    worker_memory,
)

PARAMS = Params(frozen=1000, trained=100)


def memory(stage: int, width: int = 2, num_workers: int = 4, params: Params = PARAMS) -> Memory:
    loads = [Load(5000, 0, width * params.trained)]
    return worker_memory(params, loads, width=width, division=Division(stage, num_workers))


@pytest.mark.parametrize(
    ("stage", "weights", "optimizer", "gradients"),
    # bf16: 2 bytes per weight and gradient, 12 of moments and master per trained parameter.
    [(0, 2200, 1200, 200), (1, 2200, 300, 200), (2, 2200, 300, 50), (3, 550, 300, 50)],
)
def test_each_stage_divides_one_thing_more(
    stage: int, weights: int, optimizer: int, gradients: int
) -> None:
    found = memory(stage)
    assert (found.weights, found.optimizer, found.gradients) == (weights, optimizer, gradients)
    assert found.activations == 5000


def test_of_full_fine_tuning_stage_3_leaves_a_workers_share_of_sixteen_bytes() -> None:
    # The paper's example: 2 + 2 + 12 bytes per parameter, all divided by N.
    params = Params(frozen=0, trained=1600)
    found = memory(3, params=params, num_workers=8)
    assert found.weights + found.gradients + found.optimizer == 1600 * 16 // 8


def test_masters_are_extra_in_half_precision_and_under_zero() -> None:
    assert optimizer_bytes(100, 4, Division(PLAIN)) == 800
    assert optimizer_bytes(100, 4, Division(0)) == 800
    assert optimizer_bytes(100, 4, Division(1)) == 1200
    assert optimizer_bytes(100, 2, Division(PLAIN)) == 1200


def test_a_teacher_is_divided_by_stage_3_only() -> None:
    params = Params(frozen=1000, trained=100, teacher=400)
    assert [memory(stage, params=params).teacher for stage in range(4)] == [800, 800, 800, 200]


def test_the_update_needs_gradients_in_fp32_unless_they_are() -> None:
    assert update_bytes(PARAMS, 4, Division(PLAIN)) == 0
    assert update_bytes(PARAMS, 2, Division(PLAIN)) == 400
    assert update_bytes(PARAMS, 2, Division(2, 4)) == 100


def test_kurtosis_needs_five_matrices_in_fp32_of_one_writer_on_every_worker() -> None:
    params = Params(frozen=1000, trained=100, writer=70)
    for width in (2, 4):
        assert update_bytes(params, width, Division(2, 4)) == 5 * 4 * 70
    # Under ZeRO 3 it is gathered first.
    assert update_bytes(params, 2, Division(3, 4)) == (5 * 4 + 2) * 70


def test_buffers_are_the_bucket_and_what_zero_3_gathers_from_others() -> None:
    assert buffer_bytes(PARAMS, 2, Division(PLAIN)) == 0
    assert buffer_bytes(PARAMS, 2, Division(PLAIN, 4)) == 200
    assert buffer_bytes(PARAMS, 2, Division(2, 4)) == 200
    assert buffer_bytes(PARAMS, 2, Division(3, 4)) == 200 + 2 * 1100 * 3 // 4
    huge = Params(frozen=70 * 10**9, trained=10**9)
    assert buffer_bytes(huge, 2, Division(3, 64)) == 2 * (50_000_000 + 10**9)


def test_the_total_is_the_sum_of_the_components() -> None:
    found = memory(2).to_json()
    assert found["total"] == sum(size for name, size in found.items() if name != "total")


def test_gradients_of_earlier_micro_batches_stay() -> None:
    loads = [Load(5000, 0, 0)]
    division = Division(1, 4)
    found = worker_memory(PARAMS, loads, width=2, division=division, accumulates=True)
    assert found.gradients == 200


def test_the_whole_model_is_on_every_worker_when_the_engine_is_built_or_a_shape_changes() -> None:
    assert whole_bytes(PARAMS, 2) == 4 * 1100
    # With a teacher of its own a change of shape is more: 2 x (1000 + 2000) + 4 x 100.
    assert whole_bytes(Params(frozen=1000, trained=100, teacher=2000), 2) == 6400
