"""Volumes of the ZeRO paper, section 7."""

import pytest

from apt_core.capacity.memory import PLAIN, Division, Params
from apt_core.capacity.traffic import step_traffic

ALL = Params(frozen=0, trained=100)
ADAPTERS = Params(frozen=900, trained=100)


@pytest.mark.parametrize(("stage", "values"), [(PLAIN, 2), (0, 2), (1, 2), (2, 2), (3, 3)])
def test_stage_3_sends_half_as_much_again_where_everything_learns(stage: int, values: int) -> None:
    # (N - 1) / N = 3 / 4 of values x 100 parameters of 2 bytes
    assert step_traffic(ALL, 2, Division(stage, 4)) == values * 150


def test_with_adapters_stage_3_sends_the_frozen_weights_twice() -> None:
    assert step_traffic(ADAPTERS, 2, Division(2, 4)) == 300
    assert step_traffic(ADAPTERS, 2, Division(3, 4)) == 150 + 2 * 1500


def test_stage_2_reduces_after_every_micro_batch_and_stage_3_gathers_for_each() -> None:
    assert step_traffic(ADAPTERS, 2, Division(1, 4), 3) == 300
    assert step_traffic(ADAPTERS, 2, Division(2, 4), 3) == 4 * 150
    assert step_traffic(ADAPTERS, 2, Division(3, 4), 3) == 3 * (150 + 2 * 1500)


def test_one_worker_sends_nothing() -> None:
    assert step_traffic(ADAPTERS, 2, Division(3, 1)) == 0
