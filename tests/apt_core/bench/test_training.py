"""Steps are timed in turns, ratios are those of medians, and bounds those of what is computed."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apt_core.bench.device_rates import DeviceWork
from apt_core.bench.flops import Rates, Rows, step_flops
from apt_core.bench.phases import CONTROL, PHASES, RETRAINING, TAUGHT, TUNING
from apt_core.bench.training import (
    CUT,
    DROP,
    SNAPSHOT,
    rig_network,
    step_bound,
    surgery_costs,
    time_steps,
)
from tests.tiny_bench import tiny_builder

ROWS = Rows(4, 9)
RATES = Rates(flops_per_s=1e9, bytes_per_s=1e12)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def builder(root):
    return tiny_builder(root)


def test_ratios_are_quotients_of_medians_and_everybody_has_a_turn(builder) -> None:
    rigs = {phase: builder.rig(phase) for phase in (CONTROL, TUNING, RETRAINING)}
    before = [rig.trainer.state.step for rig in rigs.values()]
    made: list[int] = []
    # Warm-up, then three rounds of three steps, a product of 8 operations and a copy of 50 bytes.
    seconds = iter([99.0] * 5 + [2, 3, 1, 4, 5] + [4, 6, 2, 4, 5] + [8, 5, 3, 4, 5])

    def timer(call: Callable[[], object]) -> float:
        call()
        made.append(sum(rig.trainer.state.step for rig in rigs.values()))
        return float(next(seconds))

    work = DeviceWork([(1, 2, 2)], torch.float32, torch.device("cpu"), copied_bytes=50)
    results, rates = time_steps(
        rigs, work, rows=ROWS, density=0.4, warmup=1, repeats=3, timer=timer
    )
    assert rates == Rates(2.0, 20.0)
    assert [result.phase for result in results] == list(rigs)
    assert [result.timed.seconds.median for result in results] == [4.0, 5.0, 2.0]
    assert [result.ratio.value for result in results] == [1.0, 1.25, 0.5]
    assert [result.ratio_of_fastest for result in results] == [1.0, 1.5, 0.5]
    assert [result.ratio.aim for result in results] == [None, 1.08, 0.50]
    assert [result.ratio.is_missed for result in results] == [False, True, False]
    assert [rig.trainer.state.step for rig in rigs.values()] == [step + 4 for step in before]
    assert made == [sum(before) + i for r in range(4) for i in (3 * r + n for n in (1, 2, 3, 3, 3))]
    for result in results:
        assert result.timed.fraction == result.timed.bound.seconds / result.timed.seconds.median
    assert [result.density for result in results] == [rig.density for rig in rigs.values()]


def test_a_bound_counts_what_the_step_computes(root) -> None:
    # All attention projections have adapters, see `test_flops`; eager, for the counter's sake.
    builder = tiny_builder(root, "model.adapter.mha_components=[q_proj,k_proj,v_proj,o_proj]")
    builder.loaded.config._attn_implementation = "eager"
    rigs = {phase: builder.rig(phase) for phase in (TUNING, RETRAINING)}
    for rig in rigs.values():
        rig.student.config._attn_implementation = "eager"
        bound = step_bound(rig, ROWS, RATES)
        with FlopCounterMode(display=False) as counter:
            rig.step()
        assert bound.flops == counter.get_total_flops()
        assert bound.seconds == max(bound.flops / 1e9, bound.num_bytes / 1e12)


def test_a_teacher_is_in_the_bound(builder) -> None:
    taught, alone = builder.rig(TAUGHT), builder.rig(TUNING)
    extra = step_bound(taught, ROWS, RATES).flops - step_bound(alone, ROWS, RATES).flops
    # 4 layers of the teacher are all there are; the branch of the projection has rank 8.
    forward = rig_network(alone, ROWS)
    projection = 2 * 4 * 9 * 4 * 3 * 8 * 32
    backward_too = step_flops(forward, ROWS)
    assert projection < extra < projection + backward_too
    assert step_bound(taught, ROWS, RATES).num_bytes > step_bound(alone, ROWS, RATES).num_bytes


def test_full_tuning_has_two_gradients_per_matrix(root) -> None:
    rig = tiny_builder(root, "arm=ft").rig(TUNING)
    assert rig_network(rig, ROWS).all_learn


def test_every_change_of_shape_is_told_by_its_kind(builder) -> None:
    rigs = [builder.rig(phase) for phase in PHASES]
    found = {cost.what: cost for cost in surgery_costs(rigs)}
    # The teacher comes in three phases, two of them are cut, and one has lost its teacher.
    assert {what: cost.count for what, cost in found.items()} == {SNAPSHOT: 3, CUT: 2, DROP: 1}
    assert all(cost.seconds.fastest > 0 for cost in found.values())
    assert surgery_costs(rigs[:2]) == ()
