"""A rig refuses to stand where it should not; what a benchmark never asks for says so."""

import pytest

from apt_core.bench.phases import DISTILLING, RETRAINING, TUNING
from apt_core.bench.rig import Rig, Unattended
from apt_core.errors import TrainingError
from tests.tiny_bench import tiny_builder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    return tiny_builder(tmp_path_factory.mktemp("rig"))


def rebuilt(rig: Rig, *, lead: int, density: float | None) -> Rig:
    return Rig(rig.trainer, lead=lead, density=density, model_map=rig.model_map)


def test_a_whole_model_is_not_taken_for_a_pruned_one(builder) -> None:
    rig = builder.rig(TUNING)
    with pytest.raises(TrainingError, match=r"density 1\.000 instead of 0\.400"):
        rebuilt(rig, lead=1, density=0.4)


def test_a_pruned_model_is_not_taken_for_a_whole_one(builder) -> None:
    rig = builder.rig(DISTILLING)
    with pytest.raises(TrainingError, match=r"instead of 1\.000"):
        rebuilt(rig, lead=0, density=None)


def test_a_step_is_a_step_of_the_loop(builder) -> None:
    rig = builder.rig(RETRAINING)
    before = rig.trainer.state.step
    rig.step()
    rig.step()
    assert rig.trainer.state.step == before + 2
    assert [entry["step"] for entry in rig.surgeries] == [1, 2, 3]


def test_a_released_rig_holds_a_plain_module(builder) -> None:
    rig = builder.rig(TUNING)
    rig.step()
    rig.release()
    assert all(p.grad is None for p in rig.student.parameters())


@pytest.mark.parametrize(
    "ask",
    [
        lambda nobody: nobody.begin(None),
        lambda nobody: nobody.evaluate(None, None),
        lambda nobody: nobody.held_out(None),
        lambda nobody: nobody.report(None),
        lambda nobody: nobody.restore_latest(None),
        lambda nobody: nobody.save(None),
        lambda nobody: nobody.settle(None),
        lambda nobody: nobody.wait(),
    ],
)
def test_nobody_evaluates_or_saves(ask) -> None:
    with pytest.raises(AssertionError, match="neither evaluates nor saves"):
        ask(Unattended())
