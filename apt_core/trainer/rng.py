"""The random streams of one worker."""

from collections.abc import Mapping

import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed torch on every device: the same on all workers, for building the model."""
    torch.manual_seed(seed)


def seed_worker(seed: int, rank: int) -> None:
    """Give each worker its own stream, for dropout."""
    torch.manual_seed(seed * 1_009 + rank)


def rng_state() -> dict[str, Tensor]:
    """The state of this worker's streams."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def load_rng_state(state: Mapping[str, Tensor]) -> None:
    """The inverse of `rng_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
