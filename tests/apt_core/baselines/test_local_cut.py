"""The same ratio everywhere: within the budget, full, and nothing protected is touched."""

import pytest

from apt_core.baselines.local_cut import cut_layers, local_counts
from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import PARAMS, MacCost
from apt_core.pruner.search import Floors


def decoder(layers: int = 8, *, heads: int = 4, neurons: int = 40, hidden: int = 16) -> Structure:
    """Groups of two query heads of 6 channels and a key/value head; gated neurons; RMS norms."""
    parts = []
    for layer in range(layers):
        parts.append(SubBlock(f"{layer}.a", "attention", heads, 12, 36, 0, 1, heads_per_unit=2))
        parts.append(SubBlock(f"{layer}.f", "ffn", neurons, 1, 3, 0, 1))
    return Structure(hidden, tuple(parts))


def names(layers: range) -> set[str]:
    return {f"{layer}.{part}" for layer in layers for part in "af"}


def left(structure: Structure, counts: dict[str, int]) -> Structure:
    return structure.with_units(counts, structure.hidden_size)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(32, range(4, 30)), (40, range(5, 37)), (16, range(2, 15)), (6, range(1, 6)), (4, range(1, 4)),
     (3, range(3)), (1, range(1))],
)  # fmt: skip
def test_the_protected_share_is_that_of_llm_pruner(layers: int, expected: range) -> None:
    assert cut_layers(layers, None, None) == expected


def test_protection_may_be_set_to_anything() -> None:
    assert cut_layers(32, 0, 0) == range(32)
    assert cut_layers(32, 3, None) == range(3, 30)
    assert len(cut_layers(4, 3, 2)) == 0


COSTS = [PARAMS, MacCost(20)]


@pytest.mark.parametrize("cost", COSTS, ids=["params", "macs"])
@pytest.mark.parametrize("heads", [1, 2, 3, 4, 8, 32])
@pytest.mark.parametrize("density", [0.3, 0.45, 0.5, 0.62, 0.75, 0.9, 0.99, 1.0])
def test_the_budget_is_filled_and_never_exceeded(cost, heads: int, density: float) -> None:
    structure = decoder(heads=heads, neurons=30 * heads)
    cut = names(range(1, 8))
    budget = density * cost.total(structure)
    if cost.total(left(structure, dict.fromkeys(cut, 1))) > budget:
        with pytest.raises(BudgetError):
            local_counts(structure, cut, budget, Floors(), cost=cost)
        return
    counts = local_counts(structure, cut, budget, Floors(), cost=cost)
    assert counts.keys() == cut
    assert all(1 <= counts[s.name] <= s.num_units for s in structure.sub_blocks if s.name in cut)
    after = left(structure, counts)
    assert cost.total(after) <= budget
    if after != structure:
        missing = budget - cost.total(after)
        neurons = [s for s in structure.of_kind("ffn") if s.name in cut]
        is_full = all(counts[s.name] == s.num_units for s in neurons)
        step = (structure.of_kind("attention") if is_full else neurons)[0]
        assert missing < cost.unit_cost(structure, step)
    assert (after == structure) == (density == 1.0)


@pytest.mark.parametrize("density", [0.4, 0.55, 0.7, 0.85])
def test_all_sub_blocks_keep_nearly_the_same_share(density: float) -> None:
    structure = decoder(heads=16, neurons=400)
    counts = local_counts(
        structure, names(range(8)), density * PARAMS.total(structure), Floors(), cost=PARAMS
    )
    heads = {counts[s.name] for s in structure.of_kind("attention")}
    neurons = [counts[s.name] for s in structure.of_kind("ffn")]
    assert len(heads) == 1
    assert max(neurons) - min(neurons) <= 1
    # Heads are rounded to the nearest of 16, and neurons make up for it.
    assert heads.pop() / 16 == pytest.approx(density, abs=1.5 / 32)
    assert neurons[0] / 400 == pytest.approx(density, abs=0.06)


def test_by_hand() -> None:
    # One layer, hidden size 16: a head 36 * 16 = 576, a neuron 48, norms 16 each. Of 4 * 576 +
    # 40 * 48 + 32 = 4256, at most 2128 stay: two heads leave 2128 - 1152 - 32 = 944, 19 neurons.
    structure = decoder(1)
    counts = local_counts(structure, names(range(1)), 2128, Floors(), cost=PARAMS)
    assert counts == {"0.a": 2, "0.f": 19}


def test_what_is_left_over_goes_neuron_by_neuron_in_model_order() -> None:
    structure = decoder(3)
    base = {"0.a": 2, "1.a": 2, "2.a": 2, "0.f": 19, "1.f": 19, "2.f": 19}
    for extra in range(3):
        budget = PARAMS.total(left(structure, base)) + extra * 48
        counts = local_counts(structure, names(range(3)), budget, Floors(), cost=PARAMS)
        assert counts == {**base, **{f"{i}.f": 20 for i in range(extra)}}


def test_floors_and_widths_hold() -> None:
    structure = decoder(2, neurons=43)
    floors = Floors(min_heads=3, min_neurons=9, round_to=4)
    counts = local_counts(
        structure, names(range(2)), 0.62 * PARAMS.total(structure), floors, cost=PARAMS
    )
    # Three query heads need two groups; widths of neurons are multiples of 4.
    assert all(counts[f"{i}.a"] >= 2 for i in range(2))
    assert all(counts[f"{i}.f"] % 4 == 0 and counts[f"{i}.f"] >= 12 for i in range(2))
    whole = local_counts(structure, names(range(2)), PARAMS.total(structure), floors, cost=PARAMS)
    assert whole == {"0.a": 4, "1.a": 4, "0.f": 43, "1.f": 43}


def test_a_target_that_protection_puts_out_of_reach_says_what_to_set() -> None:
    structure = decoder(4)
    with pytest.raises(BudgetError, match=r"lower pruning\.target_sparsity, or set pruning\.prot"):
        local_counts(structure, names(range(3, 4)), 0.5 * 17_024, Floors(), cost=PARAMS)
    with pytest.raises(BudgetError, match=r"need 17,024 parameters, but the budget is 8,512"):
        local_counts(structure, set(), 0.5 * 17_024, Floors(), cost=PARAMS)


def test_a_sub_block_that_is_gone_stays_gone() -> None:
    structure = decoder(2).with_units({"0.a": 0}, 16)
    counts = local_counts(
        structure, names(range(2)), 0.6 * PARAMS.total(structure), Floors(), cost=PARAMS
    )
    assert counts.keys() == {"0.f", "1.a", "1.f"}
