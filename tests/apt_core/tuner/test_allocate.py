"""Rank allocation by hand, against exact fractions, and its promises."""

from random import Random
from typing import Literal

import pytest

from apt_core.tuner.allocate import allocate_ranks
from tests.reference.ranks import grown_ranks

Strategy = Literal["top_half", "uniform"]
Growth = Literal["fill", "ratio"]
METHODS: list[tuple[Strategy, Growth, str]] = [
    ("top_half", "fill", "fill"),
    ("top_half", "ratio", "ratio"),
    ("uniform", "fill", "uniform"),
]


def random_adapters(random: Random) -> tuple[dict[str, int], dict[str, float], dict[str, int]]:
    sites = [f"layer{index}" for index in range(random.randint(1, 9))]
    random.shuffle(sites)
    ranks = {site: random.choice([0, 1, 8, 8, 13, 64, 70]) for site in sites}
    importance = {site: float(random.choice([0, 1, 1, 5])) for site in sites}
    return ranks, importance, {site: random.randint(2, 4000) for site in sites}


def params(ranks: dict[str, int], widths: dict[str, int]) -> int:
    return sum(rank * widths[site] for site, rank in ranks.items())


def test_the_adapters_of_roberta_base_have_the_reference_counts() -> None:
    # Per layer: query and value 768 + 768, the up projection 768 + 3072.
    widths = {
        f"{layer}.{site}": w
        for layer in range(12)
        for site, w in (("q", 1536), ("v", 1536), ("up", 3840))
    }
    ranks = dict.fromkeys(widths, 8)
    assert params(ranks, widths) == 663_552
    grown = allocate_ranks(
        ranks, {}, widths, 4 * 663_552, strategy="uniform", growth="fill", max_rank=64
    )
    assert set(grown.values()) == {32}
    assert params(grown, widths) == 2_654_208


def test_fill_gives_the_whole_increase_to_the_more_important_half() -> None:
    ranks = {"a": 8, "b": 8, "c": 8, "d": 8}
    importance = {"a": 1.0, "b": 4.0, "c": 3.0, "d": 2.0}
    widths = {"a": 10, "b": 10, "c": 20, "d": 20}
    # P = 480, P_selected = 80 + 160 = 240, rate = 1 + (720 - 480) / 240 = 2.
    grown = allocate_ranks(
        ranks, importance, widths, 720, strategy="top_half", growth="fill", max_rank=64
    )
    assert grown == {"a": 8, "b": 16, "c": 16, "d": 8}
    assert params(grown, widths) == 720


def test_ratio_gives_the_more_important_half_only_the_global_ratio() -> None:
    ranks = {"a": 8, "b": 8, "c": 8, "d": 8}
    importance = {"a": 1.0, "b": 4.0, "c": 3.0, "d": 2.0}
    widths = {"a": 10, "b": 10, "c": 20, "d": 20}
    # Delta / P = 720 / 480 = 1.5
    grown = allocate_ranks(
        ranks, importance, widths, 720, strategy="top_half", growth="ratio", max_rank=64
    )
    assert grown == {"a": 8, "b": 12, "c": 12, "d": 8}


@pytest.mark.parametrize(("budget", "rank"), [(179, 8), (180, 9)])
def test_rank_8_moves_only_from_a_rate_of_an_eighth_on(budget: int, rank: int) -> None:
    # P = 160 in two adapters of 80: the selected one needs 1 + (budget - 160) / 80 >= 1.125: 170.
    # uniform needs budget / 160 >= 1.125: 180.
    ranks, widths = {"a": 8, "b": 8}, {"a": 10, "b": 10}
    grown = allocate_ranks(
        ranks, {}, widths, budget, strategy="uniform", growth="fill", max_rank=64
    )
    assert grown == {"a": rank, "b": rank}
    fill = allocate_ranks(
        ranks,
        {"a": 2.0, "b": 1.0},
        widths,
        budget - 10,
        strategy="top_half",
        growth="fill",
        max_rank=64,
    )
    assert fill == {"a": rank, "b": 8}


def test_a_rate_that_floats_would_round_down_is_exact() -> None:
    # r * (1 + 1 / r) is r + 1, but in floats it falls short for 47, 55, 58, ...
    assert [rank for rank in range(1, 60) if int(rank * (1 + 1 / rank)) != rank + 1] == [47, 55, 58]
    for rank in range(1, 400):
        grown = allocate_ranks(
            {"a": rank, "b": rank},
            {"a": 1.0, "b": 0.0},
            {"a": 7, "b": 7},
            7 * (2 * rank + 1),
            strategy="top_half",
            growth="fill",
            max_rank=1000,
        )
        assert grown == {"a": rank + 1, "b": rank}


def test_no_rank_passes_the_cap() -> None:
    grown = allocate_ranks(
        {"a": 40, "b": 8},
        {"a": 1.0, "b": 0.0},
        {"a": 1, "b": 1},
        10_000,
        strategy="top_half",
        growth="fill",
        max_rank=64,
    )
    assert grown == {"a": 64, "b": 8}


def test_uniform_growth_knows_no_cap() -> None:
    grown = allocate_ranks(
        {"a": 40, "b": 8}, {}, {"a": 1, "b": 1}, 480, strategy="uniform", growth="fill", max_rank=64
    )
    assert grown == {"a": 400, "b": 80}


def test_half_is_counted_over_all_adapters_but_taken_from_those_below_the_cap() -> None:
    ranks = {"a": 64, "b": 64, "c": 8, "d": 8, "e": 0}
    importance = {"a": 9.0, "b": 8.0, "c": 1.0, "d": 2.0, "e": 10.0}
    # N = 4 (the dead adapter is none), so 2 grow, and only c and d may.
    grown = allocate_ranks(
        ranks,
        importance,
        dict.fromkeys(ranks, 1),
        160,
        strategy="top_half",
        growth="fill",
        max_rank=64,
    )
    assert grown == {"a": 64, "b": 64, "c": 16, "d": 16, "e": 0}


def test_ties_go_to_the_alphabetically_first_site_in_any_order() -> None:
    for sites in (["b", "a", "c"], ["c", "b", "a"], ["a", "b", "c"]):
        grown = allocate_ranks(
            dict.fromkeys(sites, 8),
            dict.fromkeys(sites, 1.0),
            dict.fromkeys(sites, 1),
            32,
            strategy="top_half",
            growth="fill",
            max_rank=64,
        )
        assert list(grown) == sites
        assert grown == {"a": 16, "b": 8, "c": 8}


@pytest.mark.parametrize("strategy", ["top_half", "uniform"])
def test_nothing_shrinks_when_the_budget_is_already_exceeded(strategy: Strategy) -> None:
    ranks = {"a": 8, "b": 4}
    grown = allocate_ranks(
        ranks,
        {"a": 1.0, "b": 2.0},
        {"a": 5, "b": 5},
        30,
        strategy=strategy,
        growth="ratio",
        max_rank=64,
    )
    assert grown == ranks


@pytest.mark.parametrize("strategy", ["top_half", "uniform"])
def test_no_adapters_are_left_alone(strategy: Strategy) -> None:
    for ranks in ({}, {"a": 0, "b": 0}):
        assert (
            allocate_ranks(
                ranks, {}, {"a": 5, "b": 5}, 100, strategy=strategy, growth="fill", max_rank=64
            )
            == ranks
        )


def test_an_importance_that_is_not_finite_names_the_adapter() -> None:
    with pytest.raises(ValueError, match="importance of adapter a is nan"):
        allocate_ranks(
            {"a": 8, "b": 8},
            {"a": float("nan"), "b": 1.0},
            {"a": 1, "b": 1},
            100,
            strategy="top_half",
            growth="fill",
            max_rank=64,
        )


@pytest.mark.parametrize(("strategy", "growth", "method"), METHODS)
@pytest.mark.parametrize("seed", range(100))
def test_allocation_agrees_with_exact_fractions_and_keeps_its_promises(
    strategy: Strategy, growth: Growth, method: str, seed: int
) -> None:
    random = Random(seed)
    ranks, importance, widths = random_adapters(random)
    before = params(ranks, widths)
    budget = before + random.choice([0, 1, before // 9, before, 5 * before])

    grown = allocate_ranks(
        ranks, importance, widths, budget, strategy=strategy, growth=growth, max_rank=64
    )

    assert grown == grown_ranks(ranks, importance, widths, budget, method=method, max_rank=64)
    assert params(grown, widths) <= budget
    assert all(grown[site] >= rank for site, rank in ranks.items())
    if strategy == "top_half":
        assert all(rank <= max(64, ranks[site]) for site, rank in grown.items())
