"""One-shot pruning before training: who is measured, what is decided, what is left alone."""

import pytest
import torch

from apt_core.models.calls import call_model
from apt_core.models.surgery_record import KeptBlocks
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.policy import AdaptivePruner
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.pruner.search import BlockSalience, Floors
from apt_core.salience.collector import CollectorSettings, SalienceCollector
from apt_core.trainer.calibration import Calibration, OneShotPruner
from tests.tiny import tiny_batch, tiny_model

CPU = torch.device("cpu")
FAMILIES = pytest.mark.parametrize("family", ["roberta", "t5-gated", "llama"])


def one_shot(family: str, *, density: float = 0.5, seeds=(1, 2, 3), dropout: float = 0.0):
    loaded, structure = tiny_model(family, dropout=dropout)
    batches = [tiny_batch(head_kind=loaded.model_map.head_kind, seed=seed) for seed in seeds]
    settings = CollectorSettings(kurtosis_weight=1.0, measure_adapters=False)
    collector = SalienceCollector(
        loaded.model, loaded.model_map, structure, prefix=STUDENT, settings=settings
    )
    pruner = AdaptivePruner(
        SparsityScheduler((), (), 0, 0, 0),
        loaded.structure,
        loaded.model_map,
        floors=Floors(min_hidden=4),
        mask_step=1.0,
    )
    made = OneShotPruner(
        pruner, collector, calibration=Calibration(lambda: iter(batches), CPU), density=density
    )
    return made, TrainedModules(loaded.model), structure, batches


def reader(modules):
    parameters = dict(modules.named_parameters())
    return lambda names: {name: parameters[name].detach() for name in names}


@FAMILIES
def test_the_plan_is_the_search_over_the_mean_salience_of_the_batches(family: str):
    made, modules, structure, batches = one_shot(family)
    modules.eval()
    singles = []
    for batch in batches:
        with made.collector.recording(batch):
            head = made.pruner.model_map.head_kind
            call_model(modules.student, head, batch).loss.backward()
        singles.append(made.collector.measure(reader(modules), 1.0).blocks)
    mean = BlockSalience(
        units={n: sum(s.units[n] for s in singles) / 3 for n in singles[0].units},
        hidden=sum(s.hidden for s in singles) / 3,
    )
    expected = made.pruner.plan_to(0.5, structure, mean)
    plan = made.plan(modules, structure)
    for name, kept in expected.kept.units.items():
        assert torch.equal(plan.kept.units[name], kept)
    assert torch.equal(plan.kept.hidden, expected.kept.hidden)


@FAMILIES
def test_measuring_changes_no_weight_and_leaves_no_gradient(family: str) -> None:
    made, modules, structure, _ = one_shot(family)
    before = {n: p.detach().clone() for n, p in modules.named_parameters()}
    modules.train()
    made.plan(modules, structure)
    assert modules.student.training
    for name, parameter in modules.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


@FAMILIES
def test_the_cut_model_has_the_density_that_was_asked_for(family: str) -> None:
    made, modules, structure, _ = one_shot(family, density=0.4)
    plan = made.plan(modules, structure)
    surgery = made.apply(plan, modules, structure)
    density = surgery.structure_after.num_params() / structure.num_params()
    assert 0.3 < density <= 0.4
    assert all(name.startswith(STUDENT) for name in surgery.edits)


def test_dropout_plays_no_part() -> None:
    plans: list[KeptBlocks] = []
    for _ in range(2):
        made, modules, structure, _ = one_shot("roberta", dropout=0.5)
        torch.manual_seed(len(plans))
        plans.append(made.plan(modules, structure).kept)
    assert torch.equal(plans[0].hidden, plans[1].hidden)
