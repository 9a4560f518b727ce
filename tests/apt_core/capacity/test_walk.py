"""The fullest moment, by hand."""

from apt_core.capacity.kept import Load
from apt_core.capacity.walk import Moment, checkpointed, fullest_moment

LOADS = (Load(10, 5, 1), Load(20, 7, 2))


def test_it_is_where_the_last_part_starts_its_backward() -> None:
    assert fullest_moment(LOADS) == Moment(kept=30, working=7, gradients=2)
    assert fullest_moment(LOADS).total == 39


def test_it_moves_to_the_front_where_gradients_outweigh_activations() -> None:
    # Before part 1: its own 10, working 5, gradients 100 of part 2 and its own 50.
    assert fullest_moment((Load(10, 5, 50), Load(20, 7, 100))) == Moment(10, 5, 150)


def test_the_loss_and_the_update_are_moments_too() -> None:
    assert fullest_moment(LOADS, forward=50) == Moment(30, 50, 0)
    assert fullest_moment(LOADS, update=90) == Moment(0, 90, 3)


def test_gradients_of_earlier_micro_batches_are_there_all_the_time() -> None:
    assert fullest_moment(LOADS, accumulated=3) == Moment(30, 7, 3 + 2)
    assert fullest_moment(LOADS, accumulated=3, update=90) == Moment(0, 90, 3)


def test_a_checkpointed_layer_keeps_its_input_and_runs_again() -> None:
    layer = checkpointed(LOADS, 4)
    assert layer.kept == 4
    # All that the layer would have kept at its fullest moment is there again.
    assert fullest_moment([layer]).total == 4 + fullest_moment(LOADS).total
