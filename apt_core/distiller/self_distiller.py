"""SelfDistiller: the model's own earlier self teaches it while it is pruned (paper section 4.4)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.distiller.layer_map import candidate_layers, closest_layer, sample_teacher_layers
from apt_core.distiller.losses import distill_weight, layer_loss, mix, prediction_loss
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.distributed import all_reduce_sum

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Loss:
    """The loss of one micro-batch and its parts."""

    total: Tensor
    task: Tensor
    distill: Tensor
    mu: float
    """Share of the distillation loss in the total."""


class TaskDistiller:
    """The distiller of arms without a teacher: its loss is the task loss."""

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The task loss of one micro-batch.

        Args:
            modules: the trained modules.
            batch: model inputs and labels.
            step: unused.

        Returns:
            The loss with mu = 0.
        """
        task = modules.student(**batch).loss
        return Loss(task, task.detach(), torch.zeros_like(task), 0.0)

    def remap(self, surgery: Surgery) -> None:
        """Nothing depends on shapes."""

    def restore(self, structure: Structure) -> None:
        """Nothing depends on shapes."""


@dataclass(frozen=True)
class DistillSettings:
    """How the teacher's knowledge is weighed."""

    teacher_layer_mapping: Literal["closest_alive", "min_mse"] = "closest_alive"
    num_teacher_layers: int = 4
    weight_start: float = 0.0
    weight_end: float = 1.0
    first_step: int = 0
    """Step at which mu is `weight_start`."""
    last_step: int = 1
    """Step from which mu is `weight_end`."""
    temperature: float = 2 / 3
    prediction_weight: float = 1.0
    layer_weight: float = 0.9
    projection_rank: int = 8
    scaling: float = 2.0
    mask_padding: bool = False
    seed: int = 0


class SelfDistiller:
    """Mixes the task loss with the distance to a frozen snapshot of the model (paper Eq. 7).

    The teacher is a second tree over the *same* frozen weights: only adapters and head are copied.
    When the student is sliced it gets new weights, and the teacher keeps the dense ones until it is
    dropped. L = mu * L_distill + (1 - mu) * L_task, with
    L_distill = w_p * KL(p_t || p_s) * tau^2 + w_l * sum over sampled layers of
    MSE(Tr(H_s^phi(i)), H_t^i).

    Args:
        model_map: where the layers are.
        structure: the student's present structure.
        settings: weights and schedule.
    """

    def __init__(
        self, model_map: ModelMap, structure: Structure, settings: DistillSettings
    ) -> None:
        self.model_map = model_map
        self.structure = structure
        self.settings = settings

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The mixed loss of one micro-batch; the task loss alone while there is no teacher.

        Args:
            modules: student and, while distilling, teacher and projection.
            batch: model inputs and labels.
            step: optimizer steps done so far; decides mu and the sampled layers.

        Returns:
            The loss and its parts.
        """
        if modules.teacher is None:
            return TaskDistiller().loss(modules, batch, step)
        student = modules.student(**batch, output_hidden_states=True)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with torch.no_grad():
            teacher = modules.teacher(**inputs, output_hidden_states=True)
        s = self.settings
        prediction = prediction_loss(student.logits, teacher.logits, s.temperature)
        layers = self._layer_losses(
            modules, student.hidden_states, teacher.hidden_states, batch, step
        )
        distill = s.prediction_weight * prediction + s.layer_weight * layers
        mu = distill_weight(
            step, start=s.first_step, stop=s.last_step, first=s.weight_start, last=s.weight_end
        )
        total = mix(student.loss, distill, mu)
        return Loss(total, student.loss.detach(), distill.detach(), mu)

    def _layer_losses(
        self,
        modules: TrainedModules,
        student_states: tuple[Tensor, ...],
        teacher_states: tuple[Tensor, ...],
        batch: Batch,
        step: int,
    ) -> Tensor:
        s = self.settings
        alive = self.alive_layers()
        mask = batch["attention_mask"] if s.mask_padding else None
        total = student_states[0].new_zeros(())
        projected: dict[int, Tensor] = {}
        num_layers = len(self.model_map.layers)
        for i in sample_teacher_layers(num_layers, s.num_teacher_layers, s.seed, step):
            candidates = candidate_layers(s.teacher_layer_mapping, i, alive)
            # hidden_states[0] is the embedding output: layer i's output is entry i + 1.
            losses = {}
            for j in candidates:
                if j not in projected:
                    assert modules.projection is not None
                    projected[j] = modules.projection(student_states[j + 1])
                losses[j] = layer_loss(projected[j], teacher_states[i + 1], mask)
            if losses:
                total = total + losses[_choose(losses)]
        return total

    def alive_layers(self) -> list[bool]:
        """Whether each layer still has all its sub-blocks."""
        alive = [True] * len(self.model_map.layers)
        for sub_block, shape in zip(
            self.model_map.sub_blocks, self.structure.sub_blocks, strict=True
        ):
            alive[sub_block.layer] &= shape.num_units > 0
        return alive

    def take_teacher(self, modules: TrainedModules) -> Surgery:
        """Snapshot the student as teacher and add a fresh projection.

        Args:
            modules: plain modules, changed in place.

        Returns:
            The record of what is new.
        """
        modules.teacher = snapshot_teacher(modules.student)
        modules.projection = identity_projection(
            self.structure.hidden_size,
            rank=self.settings.projection_rank,
            scaling=self.settings.scaling,
            seed=self.settings.seed,
            like=next(modules.student.parameters()),
        )
        added = {f"projection.{name}" for name, _ in modules.projection.named_parameters()}
        return Surgery(self.structure, self.structure, added=frozenset(added), teacher_changed=True)

    def drop_teacher(self, modules: TrainedModules) -> Surgery:
        """Forget teacher and projection; the dense weights go with them.

        Args:
            modules: plain modules, changed in place.

        Returns:
            The record of what is gone.
        """
        removed = {
            name
            for name, _ in modules.named_parameters(remove_duplicate=False)
            if name.startswith(("teacher.", "projection."))
        }
        modules.teacher = None
        modules.projection = None
        return Surgery(
            self.structure, self.structure, removed=frozenset(removed), teacher_changed=True
        )

    def remap(self, surgery: Surgery) -> None:
        """Follow a surgery of the student."""
        self.structure = surgery.structure_after

    def restore(self, structure: Structure) -> None:
        """Continue with a student of this structure."""
        self.structure = structure


def _choose(losses: Mapping[int, Tensor]) -> int:
    if len(losses) == 1:
        return next(iter(losses))
    # All workers must pick the same layer, so they compare the sum of their losses.
    reduced = all_reduce_sum([loss.detach() for loss in losses.values()])
    return closest_layer({j: float(v) for j, v in zip(losses, reduced, strict=True)})


def snapshot_teacher(student: nn.Module) -> nn.Module:
    """A frozen copy of the student that shares its frozen parameters.

    Args:
        student: a plain, unmasked task model.

    Returns:
        The teacher, in evaluation mode.
    """
    shared: dict[int, Any] = {id(p): p for p in student.parameters() if not p.requires_grad}
    teacher: nn.Module = copy.deepcopy(student, shared)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher.eval()


def identity_projection(
    hidden_size: int, *, rank: int, scaling: float, seed: int, like: Tensor
) -> APTLinear:
    """Tr: a frozen identity with a trainable low-rank branch.

    Args:
        hidden_size: hidden size of teacher and, at this moment, student.
        rank: rank of the branch.
        scaling: its factor.
        seed: seed of the branch: all workers draw the same.
        like: a tensor of the wanted device and dtype.

    Returns:
        The projection from student to teacher hidden states.
    """
    weight = nn.Parameter(torch.eye(hidden_size, dtype=like.dtype), requires_grad=False)
    projection = APTLinear(weight, None, scaling=scaling)
    projection.add_branch(rank, torch.Generator().manual_seed(seed))
    return projection.to(like.device)
