"""The pruning policy on the shapes of roberta-base."""

import pytest
import torch

from apt_core.errors import BudgetError
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.pruner.border import describe_border
from apt_core.pruner.policy import AdaptivePruner
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.pruner.search import BlockSalience, Floors
from tests.reference.base_models import base_model

TARGET = 34_021_786
SCHEDULER = SparsityScheduler((10, 20), (0.7, 0.4), window=5, start=0, stop=20)


@pytest.fixture(scope="module")
def shapes() -> tuple[Structure, ModelMap]:
    loaded = base_model("roberta")
    sites = loaded.model_map.sites(frozenset({"q_proj", "v_proj", "intermediate_dense"}))
    return loaded.structure.with_ranks(dict.fromkeys(sites, 8)), loaded.model_map


def random_salience(structure: Structure, seed: int = 0) -> BlockSalience:
    """Log-normal values, each family in proportion to what its blocks cost."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, cost: int) -> torch.Tensor:
        return cost * torch.randn(count, generator=generator).exp()

    units = {s.name: draw(s.num_units, structure.unit_cost(s)) for s in structure.sub_blocks}
    return BlockSalience(units, draw(structure.hidden_size, structure.hidden_cost()))


def pruner_of(shapes, scheduler=SCHEDULER, **floors) -> AdaptivePruner:
    structure, model_map = shapes
    return AdaptivePruner(scheduler, structure, model_map, floors=Floors(**floors), mask_step=0.01)


def test_sixty_percent_of_roberta_base_fits_the_budget_and_fills_it(shapes) -> None:
    structure, _ = shapes
    plan = pruner_of(shapes).plan(20, structure, random_salience(structure))
    assert plan.target_density == 0.4
    # The last block that did not fit costs at most a head at full width.
    assert TARGET - 196_608 - 192 < plan.structure.num_params() <= TARGET
    assert plan.structure.sparsity_relative_to(structure) == pytest.approx(0.6, abs=0.003)


@pytest.mark.parametrize(
    ("step", "density"), [(1, 0.7), (10, 0.7), (11, 0.4), (20, 0.4), (99, 0.4)]
)
def test_the_density_is_that_of_the_next_event(shapes, step: int, density: float) -> None:
    structure, _ = shapes
    plan = pruner_of(shapes).plan(step, structure, random_salience(structure))
    assert plan.target_density == density
    assert plan.structure.num_params() <= density * structure.num_params()
    assert plan.structure.num_params() > (density - 0.003) * structure.num_params()


def test_later_plans_are_measured_against_the_original(shapes) -> None:
    structure, _ = shapes
    pruner = pruner_of(shapes)
    first = pruner.plan(10, structure, random_salience(structure)).structure
    second = pruner.plan(20, first, random_salience(first, seed=1)).structure
    assert TARGET - 196_800 < second.num_params() <= TARGET
    assert second.num_params() < first.num_params()
    assert second.hidden_size <= first.hidden_size


def test_the_structure_is_that_of_the_kept_blocks(shapes) -> None:
    structure, _ = shapes
    salience = random_salience(structure)
    dead = structure.sub_blocks[4]
    salience.units[dead.name].zero_()
    plan = pruner_of(shapes).plan(20, structure, salience)
    counts = {name: len(kept) for name, kept in plan.kept.units.items()}
    assert {s.name: s.num_units for s in plan.structure.sub_blocks} == counts
    assert plan.structure.hidden_size == len(plan.kept.hidden)
    assert counts[dead.name] == 0
    gone = structure.ranks.keys() - plan.structure.ranks.keys()
    assert {f"{dead.name}.self.query", f"{dead.name}.self.value"} <= gone
    assert all(counts[pruner_of(shapes).model_map.owner_of(site)] == 0 for site in gone)


def test_floors_hold_and_impossible_ones_are_an_error(shapes) -> None:
    structure, _ = shapes
    salience = random_salience(structure)
    for s in structure.of_kind("attention"):
        salience.units[s.name].zero_()
    plan = pruner_of(shapes, min_heads=2, min_hidden=640).plan(20, structure, salience)
    assert {s.num_units for s in plan.structure.of_kind("attention")} == {2}
    assert plan.structure.hidden_size >= 640
    assert plan.structure.num_params() <= TARGET
    with pytest.raises(BudgetError, match="34,021,786"):
        pruner_of(shapes, min_hidden=768, min_neurons=3072).plan(20, structure, salience)


def test_before_any_pruning_everything_stays(shapes) -> None:
    structure, _ = shapes
    scheduler = SparsityScheduler((), (), window=1, start=0, stop=1)
    plan = pruner_of(shapes, scheduler).plan(5, structure, random_salience(structure))
    assert plan.structure == structure


def test_an_explained_plan_is_the_same_plan_with_its_border(shapes) -> None:
    structure, _ = shapes
    salience, pruner = random_salience(structure), pruner_of(shapes)
    plan = pruner.plan(20, structure, salience)
    explained = pruner.explained(plan, structure, salience)
    assert explained.kept is plan.kept
    assert explained.structure is plan.structure
    assert explained.border == describe_border(structure, salience, plan.kept)
    assert not plan.border
