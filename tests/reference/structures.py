"""Structures that several tests need: roberta-base, and random small ones."""

from random import Random
from typing import Literal

from apt_core.models.structure import Structure, SubBlock


def roberta_base() -> Structure:
    """12 layers of 12 heads of 64 channels and 3072 neurons, hidden size 768, biases and norms."""
    sub_blocks = []
    for layer in range(12):
        name = f"roberta.encoder.layer.{layer}"
        # Outside the units: the output projection's bias, the norm's weight and bias.
        sub_blocks.append(SubBlock(f"{name}.attention", "attention", 12, 64, 4 * 64, 3 * 64, 3))
        sub_blocks.append(SubBlock(f"{name}.ffn", "ffn", 3072, 1, 2, 1, 3))
    return Structure(768, tuple(sub_blocks))


def random_structure(random: Random) -> Structure:
    """Up to 4 sub-blocks in any order: with and without biases and norms, gated, dead ones."""
    sub_blocks = tuple(_random_sub_block(random, index) for index in range(random.randint(0, 4)))
    return Structure(random.randint(1, 12), sub_blocks)


def _random_sub_block(random: Random, index: int) -> SubBlock:
    kind: Literal["attention", "ffn"] = random.choice(["attention", "ffn"])
    num_units = random.choice([0, 1, 2, 5, 9])
    per_dim_if_alive = random.choice([0, 1, 3])
    if kind == "ffn":
        per_unit_per_dim = random.choice([2, 3])
        return SubBlock(
            f"ffn{index}",
            kind,
            num_units,
            1,
            per_unit_per_dim,
            random.randint(0, 2),
            per_dim_if_alive,
        )
    head_dim = random.choice([1, 2, 4])
    per_unit = random.choice([0, 3 * head_dim])
    return SubBlock(
        f"attention{index}", kind, num_units, head_dim, 4 * head_dim, per_unit, per_dim_if_alive
    )
