"""The weights that a run ends with: not the last ones, but those that did best on held-out rows."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apt_core.errors import CheckpointError
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.trainer import distributed
from apt_core.trainer.engine import Engine
from apt_core.trainer.optim import trainable_parameters
from apt_core.trainer.state import TrainerState

STEP = "step"


def is_better(metric: float, before: float | None) -> bool:
    """Whether a metric beats the one before; among equals the earlier one stays.

    Args:
        metric: the new value.
        before: the value to beat; None: there is none yet.

    Returns:
        Whether the new value is the better one.
    """
    return before is None or metric > before


class BestWeights:
    """Keeps the student's trained weights of the best evaluation in a file.

    Frozen weights are left out: they do not change any more once the model has its final shape.
    Which step the file belongs to stands in the run's state, and in the file too.

    Args:
        path: the file; replaced as a whole whenever an evaluation is better than all before.
        first_step: earlier evaluations do not count: the model had another shape.
    """

    def __init__(self, path: Path, *, first_step: int) -> None:
        self.path = path
        self.first_step = first_step

    def consider(self, engine: Engine, state: TrainerState, metric: float) -> None:
        """Keep the present weights if they are the best so far; collective.

        Args:
            engine: the live engine.
            state: the run's state; says afterwards which step is chosen.
            metric: how good the weights are on the held-out rows, the same on all workers.
        """
        if state.step < self.first_step or not is_better(metric, state.chosen_metric):
            return
        masters = engine.harvest().masters
        if distributed.rank() == 0:
            weights = {n: t for n, t in masters.items() if n.startswith(STUDENT)}
            _write(self.path, weights, state.step)
        distributed.barrier()
        state.chosen_step, state.chosen_metric = state.step, metric

    @torch.no_grad()
    def load(self, modules: TrainedModules, state: TrainerState) -> None:
        """Give the student the chosen weights.

        Args:
            modules: plain modules with full parameters, as an engine's `release` leaves them.
            state: says which step is chosen.

        Raises:
            CheckpointError: the file is another step's, or does not fit the student.
        """
        step, weights = _read(self.path)
        if step != str(state.chosen_step):
            raise CheckpointError(
                f"{self.path}: holds the weights of step {step}, the run chose {state.chosen_step}"
            )
        own = {n: p for n, p in trainable_parameters(modules) if n.startswith(STUDENT)}
        found = {name: tensor.shape for name, tensor in weights.items()}
        wanted = {name: parameter.shape for name, parameter in own.items()}
        if found != wanted:
            wrong = sorted(n for n in found | wanted if found.get(n) != wanted.get(n))
            raise CheckpointError(f"{self.path}: does not fit the model at {wrong}")
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def _write(path: Path, weights: dict[str, Tensor], step: int) -> None:
    """A reader sees the old file or the new one; links to the old one keep it."""
    temporary = path.with_name(path.name + ".tmp")
    own = {name: tensor.detach().contiguous().clone() for name, tensor in weights.items()}
    save_file(own, temporary, metadata={STEP: str(step)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return (file.metadata() or {}).get(STEP, "?"), weights
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: the chosen weights cannot be read: {error}") from error
