"""When the one cut happens, and that nothing happens at other steps."""

from dataclasses import replace

from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.decision import Decision
from apt_core.trainer.one_shot_controller import OneShotController
from apt_core.trainer.state import TrainerState
from tests.apt_core.trainer.test_calibration import one_shot


def _scene(step: int):
    made, modules, structure, _ = one_shot("roberta", density=0.5)
    state = TrainerState(20, structure, structure, step=step)
    return OneShotController(made, 10), modules, state


def test_it_decides_at_its_step_only() -> None:
    for step in (0, 9, 10, 11, 20):
        controller, _, state = _scene(step)
        decision = controller.decide(state, lambda: None)
        assert decision.one_shot == (step == 10)
        assert decision.changes_shape == (step == 10)
        assert not controller.needs_salience(step)
        assert not controller.needs_held_out(state)


def test_it_cuts_what_the_calibration_says() -> None:
    controller, modules, state = _scene(10)
    surgery = controller.apply(Decision(one_shot=True), modules, state)
    density = surgery.structure_after.num_params() / state.structure.num_params()
    assert 0.4 < density <= 0.5
    assert isinstance(modules, TrainedModules)


def test_without_a_decision_nothing_changes() -> None:
    controller, modules, state = _scene(9)
    surgery = controller.apply(Decision(), modules, state)
    assert surgery.structure_after == replace(state.structure)
    assert surgery.kept is None
