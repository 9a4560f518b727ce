"""Which teacher layers are imitated, and by which student layers: phi of paper section 4.4."""

import math
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal


def sample_teacher_layers(
    num_layers: int, num_sampled: int, seed: int, step: int
) -> tuple[int, ...]:
    """Draw one step's teacher layers, one from each of `num_sampled` groups [paper section 4.4].

    Group g holds layers ``floor(g L / n) ... floor((g + 1) L / n) - 1``: they are consecutive and
    their sizes differ by at most one. Deviation from the paper: `num_layers` need not be a
    multiple of `num_sampled`.

    Args:
        num_layers: Layers of the teacher, L.
        num_sampled: Layers to draw, n; with fewer layers than that, every layer is taken.
        seed: The run's seed.
        step: The optimizer step. Same seed and step: same layers, on every worker and after every
            restart.

    Returns:
        Layer indices, ascending.
    """
    if num_layers <= num_sampled:
        return tuple(range(num_layers))
    generator = random.Random(f"teacher layers, seed {seed}, step {step}")
    edges = [group * num_layers // num_sampled for group in range(num_sampled + 1)]
    return tuple(generator.randrange(low, high) for low, high in pairwise(edges))


def candidate_layers(
    mapping: Literal["closest_alive", "min_mse"], teacher_layer: int, alive: Sequence[bool]
) -> tuple[int, ...]:
    """The student layers that may imitate a teacher layer [paper section 4.4].

    `closest_layer` chooses among them by their loss.

    Args:
        mapping: ``closest_alive``: the layer with the teacher's index if it is alive, else the
            nearest alive layer below and the nearest above. ``min_mse``: every alive layer.
        teacher_layer: Index i of the teacher layer.
        alive: For each student layer, whether it still has heads and neurons.

    Returns:
        Layer indices, ascending; empty when no layer is alive.
    """
    alive_layers = [layer for layer, is_alive in enumerate(alive) if is_alive]
    if mapping == "min_mse":
        return tuple(alive_layers)
    if teacher_layer in alive_layers:
        return (teacher_layer,)
    below = [layer for layer in alive_layers if layer < teacher_layer]
    above = [layer for layer in alive_layers if layer > teacher_layer]
    return (*below[-1:], *above[:1])


def closest_layer(losses: Mapping[int, float]) -> int:
    """phi(i): the candidate with the lowest loss; ties go to the lower layer, nan comes last."""
    if not losses:
        raise ValueError("no candidate layer to choose from")
    return min(losses, key=lambda layer: (math.isnan(losses[layer]), losses[layer], layer))
