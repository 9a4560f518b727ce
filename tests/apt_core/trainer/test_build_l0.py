"""Settings reach the parts of the arms with gates; other arms get none of them."""

import pytest
import torch

from apt_core.baselines.gate_controller import GateController, GateTimes
from apt_core.baselines.gate_distiller import GateDistiller
from apt_core.baselines.l0_gates import initial_log_alpha
from apt_core.config.plan import plan_training
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer import build_l0
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer.calibration import Calibration
from tests.tiny_run import DISTILL_STOP, EVENTS, tiny_experiment

ARMS = ("prune_distill", "lora_prune_distill")

CALIBRATION = Calibration(list, torch.device("cpu"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("l0")


class Built:
    """All parts of the method for one configuration."""

    def __init__(self, root, *overrides):
        self.config = tiny_experiment(root, *overrides)
        self.plan = plan_training(self.config, 96)
        self.loaded = parts.load_task_model(self.config)
        self.structure = parts.adapt(self.config, self.loaded)
        common = (self.config, self.plan, self.loaded)
        self.distiller = method.build_distiller(*common, self.structure)
        self.loss = method.build_loss(*common, self.distiller)
        self.controller = method.build_controller(
            *common, self.structure, self.distiller, calibration=CALIBRATION
        )
        self.salience = method.build_salience(self.config, self.loaded, self.structure)


@pytest.mark.parametrize("arm", ARMS)
def test_the_parts_get_their_settings(root, arm):
    settings = ["pruning.target_sparsity=0.3", "pruning.warmup=5", "pruning.gate_drop_rate=0.2"]
    built = Built(root, f"arm={arm}", *settings, "training.seed=9", "pruning.min_heads=1")
    loss, controller, original = built.loss, built.controller, built.loaded.structure
    assert isinstance(loss, GateDistiller)
    assert isinstance(controller, GateController)
    assert loss.inner is built.distiller is controller.distiller
    assert (loss.start, loss.warmup, loss.target, loss.seed) == (6, 5, 0.3, 9)
    assert loss.num_params == original.num_params()
    assert controller.times == GateTimes(6, EVENTS[-1], DISTILL_STOP)
    assert controller.density == pytest.approx(0.7)
    assert controller.budget == pytest.approx(0.7 * original.num_params())
    assert (controller.floors.min_heads, controller.floors.min_hidden) == (1, 4)
    start = controller.make_gates(built.structure).log_alpha
    assert torch.equal(start, torch.full_like(start, initial_log_alpha(0.2)))
    assert built.salience is None


def test_other_arms_have_no_gates(root):
    built = Built(root)
    assert built.loss is built.distiller
    assert not isinstance(built.controller, GateController)
    assert build_l0.gate_rates(built.config, built.plan) == {}


def test_one_shot_pruning_before_training_is_not_for_gates(root):
    settings = ["pruning.pre_tuning_sparsity=0.2"]
    for arm, expected in (("apt", True), ("prune_distill", False)):
        built = Built(root, f"arm={arm}", *settings)
        made = method.build_one_shot(built.config, built.loaded, built.structure, CALIBRATION)
        assert (made is not None) == expected


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        (["pruning.gate_learning_rate=0.3"], 0.3),
        ([], 20 / 18),  # 18 steps from start to stop are few: the gates have to hurry
        (["training.max_steps=9000", "pruning.stop=8000", "distillation.stop=8000"], 0.01),
    ],
)
def test_gates_learn_at_a_rate_of_their_own(root, overrides, rate):
    built = Built(root, "arm=prune_distill", *overrides)
    rates = build_l0.gate_rates(built.config, built.plan)
    modules = TrainedModules(built.loaded.model)
    modules.gates = built.controller.make_gates(built.structure)
    make_engine = parts.engine_factory(built.config, built.loaded, torch.device("cpu"), rates)
    engine = make_engine(modules, None)
    gates = {id(parameter) for parameter in modules.gates.parameters()}
    for group in engine._optimizer.param_groups:
        factors = {id(parameter) in gates for parameter in group["params"]}
        assert len(factors) == 1
        expected = rate / 0.003 if factors == {True} else 1.0
        assert group["rate_multiplier"] == pytest.approx(expected)
        assert factors == {False} or group["weight_decay"] == 0


@pytest.mark.parametrize("arm", ARMS)
def test_a_checkpoint_with_a_teacher_and_an_uncut_student_has_gates(root, arm):
    built = Built(root, f"arm={arm}")
    reshape = method.reshaper(built.config, built.loaded, built.structure, built.distiller)
    modules = TrainedModules(built.loaded.model)
    reshape(modules, built.structure, None)
    assert modules.gates is None
    reshape(modules, built.structure, built.structure)
    assert modules.gates is not None


@pytest.mark.parametrize("has_teacher", [True, False])
def test_behind_the_cut_there_are_none(root, has_teacher):
    built = Built(root, "arm=prune_distill")
    reshape = method.reshaper(built.config, built.loaded, built.structure, built.distiller)
    modules = TrainedModules(built.loaded.model)
    units = {s.name: s.num_units - 1 for s in built.structure.sub_blocks}
    smaller = built.structure.with_units(units, 12)
    reshape(modules, smaller, built.structure if has_teacher else None)
    assert modules.gates is None
    assert (modules.teacher is not None) == has_teacher
    assert next(modules.student.parameters()).shape[1] == 12
