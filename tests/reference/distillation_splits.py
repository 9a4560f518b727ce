"""The gradient of one step's whole distillation loss, however its batch is divided."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apt_core.distiller.self_distiller import SelfDistiller
from apt_core.trainer.build import build_trainer
from apt_core.trainer.distributed import all_reduce_sum, rank, world_size
from tests.tiny_families import family_experiment

ID = "0123456789abcdef"
STEP = 9
"""Between the start and the stop of pruning, where both losses count."""


def gradients(root: str, family: str, kind: str, overrides: list[str]) -> dict[str, Tensor]:
    """By parameter, averaged over micro-batches and workers; the student has left its teacher."""
    workers = f"hardware.num_workers={world_size()}"
    config = family_experiment(Path(root), family, kind, workers, *overrides, dropout=0.0)
    trainer = build_trainer(config, run_dir=Path(root) / "run", run_id=ID)
    modules, distiller = trainer.modules, trainer.distiller
    assert isinstance(distiller, SelfDistiller)
    distiller.take_teacher(modules)
    trained = {n: p for n, p in modules.named_parameters() if p.requires_grad}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    engine = trainer.make_engine(modules.train(), None)
    for micro_batch in next(trainer.batches(0)):
        engine.backward(engine(distiller.loss, micro_batch, STEP).total)
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained.values()]
    return {n: g / world_size() for n, g in zip(trained, all_reduce_sum(own), strict=True)}


def save_gradients(
    root: str, path: str, cases: list[tuple[str, str]], overrides: list[str]
) -> list[Any]:
    """The same for several (family, kind of task), into a file; on every worker."""
    found = {f"{family} {kind}": gradients(root, family, kind, overrides) for family, kind in cases}
    if rank() == 0:
        torch.save(found, path)
    return sorted(found)
