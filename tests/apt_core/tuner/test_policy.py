"""The tuning policy on the shapes of roberta-base: exact parameters, budgets and ranks."""

import random

import pytest

from apt_core.models.structure import Structure
from apt_core.tuner.policy import AdaptiveTuner
from tests.reference.base_models import base_model

INITIAL, FINAL = 663_552, 2_654_208
ADAPTED = frozenset({"q_proj", "v_proj", "intermediate_dense"})
LAYER = "roberta.encoder.layer.0"


@pytest.fixture(scope="module")
def structure() -> Structure:
    loaded = base_model("roberta")
    ranks = dict.fromkeys(loaded.model_map.sites(ADAPTED), 8)
    return loaded.structure.with_ranks(ranks)


def tuner_of(**changes) -> AdaptiveTuner:
    settings = {
        "initial_params": INITIAL,
        "num_events": 10,
        "max_tuning_params_ratio": 4.0,
        "max_rank": 64,
        "strategy": "top_half",
        "growth": "fill",
        **changes,
    }
    return AdaptiveTuner(**settings)


def test_roberta_base_at_rank_eight_has_the_papers_number_of_parameters(structure) -> None:
    widths = structure.site_widths()
    assert len(widths) == 36
    assert widths[f"{LAYER}.attention.self.query"] == 768 + 768
    assert widths[f"{LAYER}.attention.self.value"] == 768 + 768
    assert widths[f"{LAYER}.intermediate.dense"] == 768 + 3072
    assert structure.num_adapter_params() == INITIAL


def test_widths_follow_the_pruned_shape(structure) -> None:
    names = [s.name for s in structure.sub_blocks[:2]]
    pruned = structure.with_units({names[0]: 5, names[1]: 100}, 500)
    widths = pruned.site_widths()
    assert widths[f"{LAYER}.attention.self.value"] == 500 + 5 * 64
    assert widths[f"{LAYER}.intermediate.dense"] == 500 + 100
    assert widths["roberta.encoder.layer.1.intermediate.dense"] == 500 + 3072


def test_one_event_can_spend_the_whole_budget_to_the_last_parameter(structure) -> None:
    # All 12 up projections and 6 others: 442,368 parameters grow by 5.5 to rank 44.
    first = [s for s in structure.ranks if s.endswith("intermediate.dense")]
    first += [s for s in structure.ranks if s.endswith("query")][:6]
    importance = {site: float(site in first) for site in structure.ranks}
    plan = tuner_of(num_events=1).plan(1, structure, importance)
    assert plan.budget == FINAL
    assert {plan.ranks[site] for site in first} == {44}
    assert {rank for site, rank in plan.ranks.items() if site not in first} == {8}
    assert structure.with_ranks(plan.ranks).num_adapter_params() == FINAL


@pytest.mark.parametrize("seed", range(3))
def test_ten_events_fill_the_budget_without_ever_passing_it(structure, seed: int) -> None:
    tuner, numbers = tuner_of(max_rank=640), random.Random(seed)
    for event in range(1, 11):
        importance = {site: numbers.random() for site in structure.ranks}
        plan = tuner.plan(event, structure, importance)
        assert plan.budget == INITIAL + 3 * INITIAL * event // 10
        grown = [site for site, rank in plan.ranks.items() if rank > structure.ranks[site]]
        lost = sum(structure.site_widths()[site] for site in grown)
        assert len(grown) == 18
        assert set(grown) == set(sorted(importance, key=lambda s: -importance[s])[:18])
        structure = structure.with_ranks(plan.ranks)
        spent = structure.num_adapter_params()
        # Rounding down loses less than one rank of every adapter that grew.
        assert plan.budget - lost < spent <= plan.budget
    assert plan.budget == FINAL


def test_uniform_growth_quadruples_every_rank_exactly(structure) -> None:
    tuner = tuner_of(strategy="uniform")
    plan = tuner.plan(10, structure, {})
    assert set(plan.ranks.values()) == {32}
    assert structure.with_ranks(plan.ranks).num_adapter_params() == FINAL


def test_the_papers_ratio_spends_about_half(structure) -> None:
    importance = {site: 1.0 - i / 100 for i, site in enumerate(structure.ranks)}
    plan = tuner_of(num_events=1, growth="ratio").plan(1, structure, importance)
    assert sorted(plan.ranks.values()) == [8] * 18 + [32] * 18
    # The first half of the sites is the first 6 layers: half of the parameters times 4.
    spent = structure.with_ranks(plan.ranks).num_adapter_params()
    assert spent == INITIAL // 2 + 4 * INITIAL // 2


def test_ranks_stop_at_the_cap(structure) -> None:
    importance = dict.fromkeys(structure.ranks, 1.0)
    plan = tuner_of(max_rank=12).plan(10, structure, importance)
    assert sorted(plan.ranks.values()) == [8] * 18 + [12] * 18


def test_adapters_without_a_measured_importance_come_last(structure) -> None:
    known = list(structure.ranks)[-18:]
    plan = tuner_of().plan(1, structure, dict.fromkeys(known, 0.1))
    assert [site for site, rank in plan.ranks.items() if rank > 8] == known
