"""Which rows are trained on, and in which order: pure functions of seeds and numbers."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

SUBSET_SEED = 0
"""`train_rows` and `holdout_rows` pick the same rows whatever the run's seed."""
CALIBRATION_SEED = "calibration 0"


def draw_holdout(num_rows: int, count: int) -> list[int]:
    """Rows that are never trained on, in rising order: the same for all runs."""
    return sorted(random.Random(f"holdout {SUBSET_SEED}").sample(range(num_rows), count))


def draw_subset(rows: Sequence[int], wanted: int | None) -> list[int]:
    """At most so many of the rows, in their order: the same for all runs."""
    if wanted is None or wanted >= len(rows):
        return list(rows)
    places = random.Random(SUBSET_SEED).sample(range(len(rows)), wanted)
    return [rows[place] for place in sorted(places)]


def epoch_batches(
    items: Iterable[int],
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    bucket_batches: int,
    length_of: Callable[[int], Any],
) -> list[list[int]]:
    """The batches of one pass over the items.

    Items are shuffled, those beyond the last whole batch are left out, each run of `bucket_batches`
    batches is sorted by length and cut into batches, and all batches are shuffled.

    Args:
        items: What is trained on.
        seed: Seed of the run.
        epoch: Number of the pass.
        batch_size: Items per batch.
        bucket_batches: Batches whose items are sorted together; 1: no sorting.
        length_of: Sort key of an item.

    Returns:
        Whole batches.
    """
    rng = random.Random(f"{seed} {epoch}")
    order = list(items)
    rng.shuffle(order)
    num_batches = len(order) // batch_size
    order = order[: num_batches * batch_size]
    if bucket_batches > 1:
        bucket = bucket_batches * batch_size
        pieces = (order[at : at + bucket] for at in range(0, len(order), bucket))
        order = [item for piece in pieces for item in sorted(piece, key=length_of)]
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    if bucket_batches > 1:
        rng.shuffle(batches)
    return batches


def calibration_items(items: Iterable[int]) -> list[int]:
    """The items in an order that no run's seed changes."""
    order = list(items)
    random.Random(CALIBRATION_SEED).shuffle(order)
    return order
