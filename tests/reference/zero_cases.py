"""ZeRO's stages side by side, for workers: what they decide, what they hold, what they leave."""

import gc
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.bench.memory import live_tensor_bytes
from apt_core.trainer.distributed import world_size
from apt_core.trainer.engine import Precision
from tests.reference.engine_cases import check_leaks
from tests.reference.engine_tools import make_engine
from tests.reference.training_cases import run_tiny

STAGES = (0, 1, 2, 3)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
WIDTH, NUM_FROZEN = 128, 12
FROZEN, TRAINED = NUM_FROZEN * WIDTH * WIDTH, 2 * WIDTH * WIDTH


class Wide(nn.Module):
    """Twelve frozen matrices and two that learn: large enough to see who holds them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(NUM_FROZEN))
        self.frozen.requires_grad_(False)
        self.learned = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in (self.learned[0], *self.frozen, self.learned[1]):
            inputs = inputs + layer(inputs)
        return inputs.square().mean()


def key(stage: int, precision: str) -> str:
    """A name that survives JSON."""
    return f"{stage} {precision}"


def held_bytes(stages: list[int], precisions: list[Precision]) -> dict[str, int]:
    """Bytes of the tensors of this worker between two steps."""
    make_engine(0, Wide()).release()  # what DeepSpeed imports late is there before anything counts
    return {key(s, p): _held(s, p) for s, p in product(stages, precisions)}


def _held(stage: int, precision: Precision) -> int:
    before = _settled_bytes()
    engine = make_engine(stage, Wide(), precision=precision)
    dtype = next(engine.module.parameters()).dtype
    for _ in range(2):
        engine.backward(engine(torch.ones(2, WIDTH, dtype=dtype)))
        engine.step(0.01)
    held = _settled_bytes() - before
    engine.release()
    del engine
    gc.collect()
    return held


def _settled_bytes() -> int:
    """The least of a few looks: gloo's threads let go of a finished collective's tensors late."""
    looks = []
    for _ in range(3):
        looks.append(live_tensor_bytes())
        time.sleep(0.1)
    return min(looks)


def run_held() -> dict[str, Any]:
    """What every stage holds; a quick look, made on one and on two workers."""
    return {"held": held_bytes(list(STAGES), list(PRECISIONS)), "num_workers": world_size()}


def run_all(root: str, run_dir: str) -> dict[str, Any]:
    """Every stage and number format: decisions of a whole tiny run, and ten rebuilds."""
    runs = {}
    for stage, precision in product(STAGES, PRECISIONS):
        overrides = [
            f"hardware.num_workers={world_size()}",
            "hardware.engine=deepspeed",
            f"hardware.zero_stage={stage}",
            f"hardware.precision={precision}",
        ]
        folder = Path(run_dir, f"{stage}-{precision}")
        runs[key(stage, precision)] = run_tiny(root, str(folder), overrides)
    leaks = {p: check_leaks(list(STAGES), precision=p) for p in PRECISIONS}
    return {"runs": runs, "leaks": leaks}
