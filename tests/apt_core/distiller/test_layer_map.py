"""Which layers are drawn, which may imitate them, and which one does."""

import random
from collections import Counter

import pytest

from apt_core.distiller.layer_map import candidate_layers, closest_layer, sample_teacher_layers

GOLDEN_DRAWS = [(1, 5, 8, 10), (1, 4, 7, 10), (2, 5, 6, 10)]
ALIVE = [True, False, False, True, False]


def test_one_layer_is_drawn_from_each_third_of_twelve() -> None:
    for step in range(200):
        layers = sample_teacher_layers(12, 4, seed=1, step=step)
        assert [layer // 3 for layer in layers] == [0, 1, 2, 3]


def test_every_layer_of_a_group_is_drawn_about_equally_often() -> None:
    draws = Counter(sample_teacher_layers(12, 4, seed=1, step=step)[2] for step in range(3000))
    # 1000 each; the standard deviation is 26.
    assert set(draws) == {6, 7, 8}
    assert all(900 < count < 1100 for count in draws.values())


@pytest.mark.parametrize(
    ("num_layers", "groups"),
    [(6, [{0}, {1, 2}, {3}, {4, 5}]), (13, [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11, 12}])],
)
def test_layers_that_do_not_divide_evenly_make_groups_that_differ_by_one(
    num_layers: int, groups: list[set[int]]
) -> None:
    drawn = [sample_teacher_layers(num_layers, 4, seed=1, step=step) for step in range(200)]
    assert [set(layers) for layers in zip(*drawn, strict=True)] == groups


def test_with_too_few_layers_every_layer_is_taken() -> None:
    assert sample_teacher_layers(3, 4, seed=1, step=5) == (0, 1, 2)
    assert sample_teacher_layers(4, 4, seed=1, step=5) == (0, 1, 2, 3)
    assert sample_teacher_layers(0, 4, seed=1, step=5) == ()


def test_the_draw_depends_on_seed_and_step_alone() -> None:
    random.seed(1)
    first = [sample_teacher_layers(24, 4, seed=7, step=step) for step in range(50)]
    random.seed(2)
    assert [sample_teacher_layers(24, 4, seed=7, step=step) for step in range(50)] == first
    assert [sample_teacher_layers(24, 4, seed=8, step=step) for step in range(50)] != first
    assert len(set(first)) > 25


def test_the_draw_is_the_same_in_every_version_of_this_project() -> None:
    assert [sample_teacher_layers(12, 4, seed=1, step=step) for step in range(3)] == GOLDEN_DRAWS


def test_an_alive_layer_imitates_itself() -> None:
    assert candidate_layers("closest_alive", 3, ALIVE) == (3,)


def test_a_dead_layer_is_imitated_by_its_nearest_alive_neighbours() -> None:
    assert candidate_layers("closest_alive", 1, ALIVE) == (0, 3)
    assert candidate_layers("closest_alive", 2, ALIVE) == (0, 3)
    assert candidate_layers("closest_alive", 2, [True, True, False, False, True, True]) == (1, 4)


def test_at_the_ends_there_is_one_neighbour() -> None:
    assert candidate_layers("closest_alive", 4, ALIVE) == (3,)
    assert candidate_layers("closest_alive", 0, [False, True, True]) == (1,)


def test_min_mse_compares_every_alive_layer() -> None:
    assert candidate_layers("min_mse", 3, ALIVE) == (0, 3)


def test_without_alive_layers_nobody_imitates() -> None:
    assert candidate_layers("closest_alive", 0, [False, False]) == ()
    assert candidate_layers("min_mse", 0, [False, False]) == ()


def test_the_lowest_loss_wins() -> None:
    assert closest_layer({0: 0.5, 3: 0.25, 4: 1.0}) == 3


def test_ties_go_to_the_lower_layer_in_any_order() -> None:
    assert closest_layer({3: 0.5, 0: 0.5}) == 0
    assert closest_layer({0: 0.5, 3: 0.5}) == 0


def test_a_loss_that_is_not_a_number_never_wins_against_one_that_is() -> None:
    nan = float("nan")
    assert closest_layer({0: nan, 3: 7.0}) == 3
    assert closest_layer({3: 7.0, 0: nan, 4: float("inf")}) == 3


def test_no_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="no candidate layer"):
        closest_layer({})
