"""The smallest uniform shape, by hand."""

import pytest

from apt_core.errors import UnsupportedModelError
from apt_core.models.structure import Structure, SubBlock
from apt_core.models.uniform_shape import (
    UniformShape,
    free_width_shape,
    head_slots,
    largest,
    tied_width_shape,
)


def structure(units: list[int], neurons: list[int], hidden: int, group: int = 1) -> Structure:
    attention = [
        SubBlock(f"a{i}", "attention", n, 4, 16, 0, 1, 0, group) for i, n in enumerate(units)
    ]
    ffn = [SubBlock(f"f{i}", "ffn", n, 1, 2, 0, 1) for i, n in enumerate(neurons)]
    return Structure(hidden, (*attention, *ffn))


def test_the_largest_layer_counts_and_nothing_is_empty() -> None:
    assert largest(structure([0, 3, 2], [5, 0, 9], 16)) == (3, 9)
    assert largest(structure([0, 0], [0, 0], 16)) == (1, 1)


def test_a_free_width_takes_the_hidden_size_as_it_is_or_a_multiple_of_the_heads() -> None:
    pruned = structure([1, 2], [5, 3], 11, group=2)
    plain = free_width_shape(pruned, head_dim=4, num_units=None, divisible=False)
    assert plain == UniformShape(num_units=2, num_neurons=5, hidden_size=11, head_dim=4)
    # 2 groups of 2 heads: 11 becomes the next multiple of 4.
    padded = free_width_shape(pruned, head_dim=4, num_units=None, divisible=True)
    assert padded.hidden_size == 12
    assert free_width_shape(pruned, head_dim=4, num_units=3, divisible=True).hidden_size == 12


def test_a_tied_width_is_divided_among_the_fewest_heads_that_are_wide_enough() -> None:
    # 12 = 3 * 4 has room for 3 heads of 4; 15 = 3 * 5 too, with a channel of zeros each.
    assert tied_width_shape(structure([3, 1], [5], 12), head_dim=4, family="bert").head_dim == 4
    assert tied_width_shape(structure([3, 1], [5], 15), head_dim=4, family="bert") == UniformShape(
        3, 5, 15, 5
    )
    # 16 cannot be divided by 3: 4 heads.
    assert tied_width_shape(structure([3, 1], [5], 16), head_dim=4, family="bert").num_units == 4


@pytest.mark.parametrize(("units", "hidden"), [(3, 11), (4, 15), (2, 13)])
def test_a_hidden_size_without_room_for_the_heads_is_refused(units: int, hidden: int) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"{hidden} now.*{units} heads of 4"):
        tied_width_shape(structure([units], [5], hidden), head_dim=4, family="bert")


def test_heads_with_equal_columns_share_a_place_across_layers_but_not_inside_one() -> None:
    a, b, c = b"a", b"b", b"c"
    places, numbers = head_slots([[b, c], [a, b], [c, c]])
    assert places == [b, c, a, c]
    assert numbers == [[0, 1], [2, 0], [1, 3]]
    assert head_slots([]) == ([], [])
