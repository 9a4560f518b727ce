"""Each part of the method is there exactly when its switch is on, with its own settings."""

from typing import Any

import pytest
import torch

from apt_core.config.plan import plan_training
from apt_core.distiller.late import LateDistiller
from apt_core.distiller.self_distiller import SelfDistiller, TaskDistiller
from apt_core.errors import ConfigError
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer.calibration import Calibration
from apt_core.trainer.controller import APTController, FixedController
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("method")


class Built:
    """All parts of the method for one configuration."""

    def __init__(self, root, *overrides):
        self.config = tiny_experiment(root, *overrides)
        self.plan = plan_training(self.config, 96)
        self.loaded = parts.load_task_model(self.config)
        self.structure = parts.adapt(self.config, self.loaded)
        common = (self.config, self.plan, self.loaded, self.structure)
        self.distiller = method.build_distiller(*common)
        self.salience = method.build_salience(self.config, self.loaded, self.structure)
        self.controller = method.build_controller(
            *common, self.distiller, calibration=Calibration(list, torch.device("cpu"))
        )


@pytest.mark.parametrize("arm", ["ft", "lora"])
def test_fixed_arms_measure_and_decide_nothing(root, arm):
    built = Built(root, f"arm={arm}")
    assert isinstance(built.distiller, TaskDistiller)
    assert isinstance(built.controller, FixedController)
    assert built.salience is None


@pytest.mark.parametrize("off", ["nothing", "w/o_Ap", "w/o_AT", "w/o_Ds"])
def test_an_ablation_takes_out_exactly_its_own_part(root, off):
    built = Built(root, *([] if off == "nothing" else [f"ablation={off}"]))
    assert isinstance(built.controller, APTController)
    parts_by_name = {
        "w/o_Ap": built.controller.pruner,
        "w/o_AT": built.controller.tuner,
        "w/o_Ds": built.controller.distiller,
    }
    assert {name for name, part in parts_by_name.items() if part is None} == {off} - {"nothing"}
    assert isinstance(built.distiller, SelfDistiller) == (off != "w/o_Ds")
    assert built.salience.settings.measure_blocks == (off != "w/o_Ap")
    assert built.salience.settings.measure_adapters == (off != "w/o_AT")
    assert built.controller.teacher_step == TEACHER_STEP
    assert built.controller.distill_stop == (0 if off == "w/o_Ds" else DISTILL_STOP)


def test_settings_reach_the_parts_that_they_are_for(root):
    built = Built(
        root,
        "distillation.layer_weight=0.3",
        "distillation.num_teacher_layers=2",
        "training.momentum_salience=0.5",
        "training.scaling_factor=3",
        "tuning.max_rank=5",
        "tuning.max_tuning_params_ratio=2",
        "pruning.min_heads=1",
        "training.seed=9",
    )
    settings = built.distiller.settings
    assert (settings.layer_weight, settings.num_teacher_layers, settings.scaling) == (0.3, 2, 3.0)
    assert (settings.first_step, settings.last_step, settings.seed) == (6, EVENTS[-1], 9)
    assert built.salience.settings.momentum == 0.5
    controller = built.controller
    assert (controller.tuner.max_rank, controller.tuner.ratio) == (5, 2)
    assert (controller.tuner.num_events, controller.seed) == (3, 9)
    assert controller.pruner.floors.min_heads == 1
    assert controller.pruner.mask_step == 0.25
    assert controller.pruner.original.num_params() == built.loaded.structure.num_params()


@pytest.mark.parametrize(("given", "weight"), [("null", 0.0), ("true", 0.4), ("false", 0.0)])
def test_the_outlier_term_follows_the_family_unless_configured(root, given, weight):
    built = Built(root, f"pruning.use_kurtosis={given}", "pruning.kurtosis_weight=0.4")
    assert not built.loaded.model_map.spec.uses_kurtosis
    assert built.salience.settings.kurtosis_weight == weight


@pytest.mark.parametrize("rank_cap", [None, 12])
def test_without_a_cap_ranks_may_reach_eight_times_the_first(root, rank_cap):
    built = Built(root, *([] if rank_cap is None else [f"tuning.max_rank={rank_cap}"]))
    assert built.controller.tuner.max_rank == (rank_cap or 8 * 2)


def test_fresh_modules_take_the_saved_shapes_of_student_and_teacher(root):
    built = Built(root)
    modules: Any = TrainedModules(built.loaded.model)
    reshape = method.reshaper(built.config, built.loaded, built.structure, built.distiller)
    units = {s.name: s.num_units // 2 for s in built.structure.sub_blocks}
    smaller = built.structure.with_units(units, 12).with_ranks(
        {site: rank + 1 for site, rank in built.structure.ranks.items()}
    )
    reshape(modules, smaller, built.structure)
    ids = torch.randint(5, 15, (2, 6))
    student = modules.student(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    teacher = modules.teacher(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    assert (student.shape[-1], teacher.shape[-1]) == (12, 16)
    assert modules.projection(student).shape == teacher.shape
    site = next(iter(smaller.ranks))
    assert modules.student.get_submodule(site).rank == 3
    assert modules.teacher.get_submodule(site).rank == 2


def test_without_a_saved_teacher_there_is_none(root):
    built = Built(root)
    modules = TrainedModules(built.loaded.model)
    reshape = method.reshaper(built.config, built.loaded, built.structure, built.distiller)
    reshape(modules, built.structure, None)
    assert modules.teacher is None
    assert modules.projection is None


def test_full_tuning_has_no_shapes_to_restore(root):
    built = Built(root, "arm=ft")
    modules = TrainedModules(built.loaded.model)
    before = {name: id(p) for name, p in modules.named_parameters()}
    method.reshaper(built.config, built.loaded, built.structure, built.distiller)(
        modules, built.structure, None
    )
    assert {name: id(p) for name, p in modules.named_parameters()} == before


@pytest.mark.parametrize(("number", "window_opens"), [(1, 7), (2, 13), (3, 19)])
def test_a_later_event_moves_the_teacher_and_when_it_is_heard(root, number, window_opens):
    built = Built(root, f"distillation.start_event={number}")
    assert isinstance(built.distiller, LateDistiller)
    assert built.distiller.first_heard == EVENTS[number - 1]
    assert built.controller.teacher_step == window_opens
    assert built.distiller.settings.first_step == 6  # mu does not wait


def test_a_later_event_than_there_are_is_refused(root):
    with pytest.raises(ConfigError, match=r"distillation.start_event: there are only 3 events"):
        Built(root, "distillation.start_event=4")


@pytest.mark.parametrize(
    ("ablation", "setting", "full"),
    [
        ("w/o_kurtosis", lambda b: b.salience.settings.kurtosis_weight, 1.0),
        ("w/o_layer_loss", lambda b: b.distiller.settings.layer_weight, 0.9),
        ("w/o_salience", lambda b: b.controller.tuner.strategy, "top_half"),
    ],
)
def test_a_smaller_ablation_reaches_its_setting(root, ablation, setting, full):
    on = "pruning.use_kurtosis=true"
    assert setting(Built(root, on)) == full
    ablated = setting(Built(root, on, f"ablation={ablation}"))
    assert ablated == ("uniform" if full == "top_half" else 0.0)


def test_the_distribution_of_new_rows_reaches_the_controller(root):
    assert Built(root).controller.init_distribution == "gaussian"
    uniform = Built(root, "tuning.init_distribution=uniform").controller
    assert uniform.init_distribution == "uniform"
