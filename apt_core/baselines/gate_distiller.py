"""The loss of a student with gates: whatever another distiller says of a draw, and the pull."""

import random
from dataclasses import replace

from torch import Tensor, nn

from apt_core.baselines.gates import Gates, gate_masks, noise
from apt_core.baselines.l0_gates import (
    expected_params,
    lagrangian,
    num_gates,
    split_gates,
    target_at,
)
from apt_core.distiller.self_distiller import Batch, Loss
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.masks import apply_masks
from apt_core.trainer.collaborators import Distiller

SEED_BITS = 32
"""As many as the CPU's generator makes use of."""


class GateDistiller:
    """Draws the gates for every micro-batch, and adds the Lagrangian of the expected sparsity.

    While there are no gates it is the other distiller. The draw depends on the seed, the step and
    the number of the micro-batch only, so all workers mask alike and a resumed run goes on as it
    would have.

    Args:
        inner: gives the loss of the masked student.
        num_params: parameters of the unpruned layers: sparsity is relative to them.
        start: step at which the gates begin.
        warmup: steps after it until `target` is asked for in full.
        target: the sparsity to reach.
        seed: the run's seed.
    """

    def __init__(
        self,
        inner: Distiller,
        *,
        num_params: int,
        start: int,
        warmup: int,
        target: float,
        seed: int,
    ) -> None:
        self.inner = inner
        self.num_params = num_params
        self.start = start
        self.warmup = warmup
        self.target = target
        self.seed = seed
        self._step = -1
        self._num_drawn = 0

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The loss of one micro-batch.

        Args:
            modules: the trained modules.
            batch: model inputs and labels.
            step: optimizer steps done so far.

        Returns:
            The loss; with gates it holds the penalty.
        """
        if modules.gates is None:
            return self.inner.loss(modules, batch, step)
        penalty, sparsity = self._draw(modules.student, modules.gates, step)
        loss = self.inner.loss(modules, batch, step)
        more = {"penalty": penalty.detach(), "expected_sparsity": sparsity.detach()}
        return replace(loss, total=loss.total + penalty, more={**loss.more, **more})

    def _draw(self, student: nn.Module, gates: Gates, step: int) -> tuple[Tensor, Tensor]:
        """Mask the student by a fresh draw; returns the penalty and the expected sparsity."""
        self._num_drawn = self._num_drawn + 1 if step == self._step else 0
        self._step = step
        draw = f"gates, seed {self.seed}, step {step}, micro-batch {self._num_drawn}"
        uniform = noise(num_gates(gates.structure), random.Random(draw).getrandbits(SEED_BITS))
        values, is_open, multipliers = gates(uniform)
        apply_masks(student, gates.model_map, gate_masks(values, gates.structure))
        left = expected_params(gates.structure, split_gates(is_open, gates.structure))
        sparsity = 1.0 - left / self.num_params
        target = target_at(step, start=self.start, warmup=self.warmup, target=self.target)
        return lagrangian(sparsity, target, multipliers), sparsity

    def remap(self, surgery: Surgery) -> None:
        """Follow a surgery."""
        self.inner.remap(surgery)

    def restore(self, structure: Structure) -> None:
        """Continue with a student of this structure."""
        self.inner.restore(structure)
