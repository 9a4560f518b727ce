"""The tuning policy on the shapes of roberta-base: exact parameters, budgets and ranks."""

import random

import pytest

from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.tuner.policy import AdaptiveTuner, adapter_widths, num_adapter_params
from tests.reference.base_models import base_model

INITIAL, FINAL = 663_552, 2_654_208
ADAPTED = frozenset({"q_proj", "v_proj", "intermediate_dense"})
LAYER = "roberta.encoder.layer.0"


@pytest.fixture(scope="module")
def shapes() -> tuple[Structure, ModelMap]:
    loaded = base_model("roberta")
    ranks = dict.fromkeys(loaded.model_map.sites(ADAPTED), 8)
    return loaded.structure.with_ranks(ranks), loaded.model_map


def tuner_of(model_map: ModelMap, **changes) -> AdaptiveTuner:
    settings = {
        "initial_params": INITIAL,
        "num_events": 10,
        "max_tuning_params_ratio": 4.0,
        "max_rank": 64,
        "strategy": "top_half",
        "growth": "fill",
        **changes,
    }
    return AdaptiveTuner(model_map, **settings)


def test_roberta_base_at_rank_eight_has_the_papers_number_of_parameters(shapes) -> None:
    structure, model_map = shapes
    widths = adapter_widths(structure, model_map)
    assert len(widths) == 36
    assert widths[f"{LAYER}.attention.self.query"] == 768 + 768
    assert widths[f"{LAYER}.attention.self.value"] == 768 + 768
    assert widths[f"{LAYER}.intermediate.dense"] == 768 + 3072
    assert num_adapter_params(structure, model_map) == INITIAL


def test_widths_follow_the_pruned_shape(shapes) -> None:
    structure, model_map = shapes
    names = [s.name for s in structure.sub_blocks[:2]]
    pruned = structure.with_units({names[0]: 5, names[1]: 100}, 500)
    widths = adapter_widths(pruned, model_map)
    assert widths[f"{LAYER}.attention.self.value"] == 500 + 5 * 64
    assert widths[f"{LAYER}.intermediate.dense"] == 500 + 100
    assert widths["roberta.encoder.layer.1.intermediate.dense"] == 500 + 3072


def test_one_event_can_spend_the_whole_budget_to_the_last_parameter(shapes) -> None:
    structure, model_map = shapes
    # All 12 up projections and 6 others: 442,368 parameters grow by 5.5 to rank 44.
    first = [s for s in structure.ranks if s.endswith("intermediate.dense")]
    first += [s for s in structure.ranks if s.endswith("query")][:6]
    importance = {site: float(site in first) for site in structure.ranks}
    plan = tuner_of(model_map, num_events=1).plan(1, structure, importance)
    assert plan.budget == FINAL
    assert {plan.ranks[site] for site in first} == {44}
    assert {rank for site, rank in plan.ranks.items() if site not in first} == {8}
    assert num_adapter_params(structure.with_ranks(plan.ranks), model_map) == FINAL


@pytest.mark.parametrize("seed", range(3))
def test_ten_events_fill_the_budget_without_ever_passing_it(shapes, seed: int) -> None:
    structure, model_map = shapes
    tuner, numbers = tuner_of(model_map, max_rank=640), random.Random(seed)
    for event in range(1, 11):
        importance = {site: numbers.random() for site in structure.ranks}
        plan = tuner.plan(event, structure, importance)
        assert plan.budget == INITIAL + 3 * INITIAL * event // 10
        grown = [site for site, rank in plan.ranks.items() if rank > structure.ranks[site]]
        lost = sum(adapter_widths(structure, model_map)[site] for site in grown)
        assert len(grown) == 18
        assert set(grown) == set(sorted(importance, key=lambda s: -importance[s])[:18])
        structure = structure.with_ranks(plan.ranks)
        spent = num_adapter_params(structure, model_map)
        # Rounding down loses less than one rank of every adapter that grew.
        assert plan.budget - lost < spent <= plan.budget
    assert plan.budget == FINAL


def test_uniform_growth_quadruples_every_rank_exactly(shapes) -> None:
    structure, model_map = shapes
    tuner = tuner_of(model_map, strategy="uniform")
    plan = tuner.plan(10, structure, {})
    assert set(plan.ranks.values()) == {32}
    assert num_adapter_params(structure.with_ranks(plan.ranks), model_map) == FINAL


def test_the_papers_ratio_spends_about_half(shapes) -> None:
    structure, model_map = shapes
    importance = {site: 1.0 - i / 100 for i, site in enumerate(structure.ranks)}
    plan = tuner_of(model_map, num_events=1, growth="ratio").plan(1, structure, importance)
    assert sorted(plan.ranks.values()) == [8] * 18 + [32] * 18
    # The first half of the sites is the first 6 layers: half of the parameters times 4.
    spent = num_adapter_params(structure.with_ranks(plan.ranks), model_map)
    assert spent == INITIAL // 2 + 4 * INITIAL // 2


def test_ranks_stop_at_the_cap(shapes) -> None:
    structure, model_map = shapes
    importance = dict.fromkeys(structure.ranks, 1.0)
    plan = tuner_of(model_map, max_rank=12).plan(10, structure, importance)
    assert sorted(plan.ranks.values()) == [8] * 18 + [12] * 18


def test_adapters_without_a_measured_importance_come_last(shapes) -> None:
    structure, model_map = shapes
    known = list(structure.ranks)[-18:]
    plan = tuner_of(model_map).plan(1, structure, dict.fromkeys(known, 0.1))
    assert [site for site, rank in plan.ranks.items() if rank > 8] == known
