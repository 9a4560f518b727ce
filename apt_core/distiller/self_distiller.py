"""SelfDistiller: the model's own earlier self teaches it while it is pruned (paper section 4.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from apt_core.distiller.layer_map import candidate_layers, closest_layer, sample_teacher_layers
from apt_core.distiller.losses import (
    distill_weight,
    layer_loss,
    mix,
    prediction_loss,
    rms_normalized,
    score_loss,
)
from apt_core.distiller.projection import LayerProjection
from apt_core.distiller.teacher import snapshot_teacher
from apt_core.models.arch import ModelMap
from apt_core.models.calls import Reading, call_model, read_outputs, token_masks
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, combine, nothing_done
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
    more: Mapping[str, Tensor] = field(default_factory=dict)
    """Further numbers to be logged, by name."""


class TaskDistiller:
    """The distiller of arms without a teacher: its loss is the task loss.

    Args:
        head_kind: what the model predicts.
    """

    def __init__(self, head_kind: HeadKind) -> None:
        self.head_kind = head_kind

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The task loss of one micro-batch.

        Args:
            modules: the trained modules.
            batch: model inputs and labels.
            step: unused.

        Returns:
            The loss with mu = 0.
        """
        task = call_model(modules.student, self.head_kind, batch).loss * weight_of(batch)
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
    L_distill = w_p * KL(p_t || p_s) * tau^2 + w_l * sum_i MSE(Tr(H_s^phi(i)), H_t^i), i sampled.

    With `mask_padding` the mean over a step's micro-batches and workers is the loss of its batch,
    unless a layer has to be chosen by its loss. Without it the split matters: padding counts.

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
        head = self.model_map.head_kind
        if modules.teacher is None:
            return TaskDistiller(head).loss(modules, batch, step)
        outputs = call_model(modules.student, head, batch, hidden_states=True)
        student = read_outputs(head, outputs, batch)
        with torch.no_grad():
            theirs = call_model(modules.teacher, head, batch, targets=False, hidden_states=True)
            teacher = read_outputs(head, theirs, batch)
        s = self.settings
        share = weight_of(batch)
        task, prediction = outputs.loss * share, self._prediction_loss(student, teacher) * share
        # No share: a mean over rows, of which every micro-batch has equally many.
        layers = self._layer_losses(modules, student, teacher, batch, step)
        distill = s.prediction_weight * prediction + s.layer_weight * layers
        mu = distill_weight(
            step, start=s.first_step, stop=s.last_step, first=s.weight_start, last=s.weight_end
        )
        return Loss(mix(task, distill, mu), task.detach(), distill.detach(), mu)

    def _prediction_loss(self, student: Reading, teacher: Reading) -> Tensor:
        """The mean over what is predicted: the class, or start and end of a span."""
        losses = [
            prediction_loss(ours, theirs, self.settings.temperature)
            if ours.shape[-1] > 1
            else score_loss(ours, theirs)
            for ours, theirs in zip(student.predictions, teacher.predictions, strict=True)
        ]
        return torch.stack(losses).mean()

    def _layer_losses(
        self,
        modules: TrainedModules,
        student: Reading,
        teacher: Reading,
        batch: Batch,
        step: int,
    ) -> Tensor:
        """The mean over stacks of the sum over sampled layers."""
        masks = token_masks(self.model_map.head_kind, batch)
        losses = [
            self._stack_loss(
                modules,
                self._states(ours),
                self._states(theirs),
                mask=masks[stack.stream] if self.settings.mask_padding else None,
                alive=self.alive_layers(number),
                step=step,
            )
            for number, (stack, ours, theirs) in enumerate(
                zip(
                    self.model_map.stacks,
                    student.hidden_states,
                    teacher.hidden_states,
                    strict=True,
                )
            )
        ]
        return torch.stack(losses).mean()

    def _states(self, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # In front of a norm the residual stream grows from layer to layer, and a few dimensions
        # dwarf the others: without the division they would be all that is learned.
        if not self.model_map.spec.is_pre_norm:
            return states
        # Divided in fp32, but the projection reads the model's own dtype.
        return tuple(rms_normalized(state).to(state.dtype) for state in states)

    def _stack_loss(
        self,
        modules: TrainedModules,
        student_states: tuple[Tensor, ...],
        teacher_states: tuple[Tensor, ...],
        *,
        mask: Tensor | None,
        alive: list[bool],
        step: int,
    ) -> Tensor:
        s = self.settings
        total = student_states[0].new_zeros(())
        projected: dict[int, Tensor] = {}
        for i in sample_teacher_layers(len(alive), s.num_teacher_layers, s.seed, step):
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

    def alive_layers(self, stack: int = 0) -> list[bool]:
        """Whether each layer of a stack still has all its sub-blocks."""
        alive = [True] * len(self.model_map.stacks[stack].layers)
        for sub_block, shape in zip(
            self.model_map.sub_blocks, self.structure.sub_blocks, strict=True
        ):
            if sub_block.stack == stack:
                alive[sub_block.layer] &= shape.num_units > 0
        return alive

    def take_teacher(self, modules: TrainedModules) -> Surgery:
        """Snapshot the student as teacher, in place of the one before, with a fresh projection.

        Args:
            modules: plain modules, changed in place.

        Returns:
            The record of what is new, and of what is gone.
        """
        before = nothing_done(self.structure)
        if modules.teacher is not None:
            before = self.drop_teacher(modules)
        modules.teacher = snapshot_teacher(modules.student)
        modules.projection = LayerProjection(
            self.structure.hidden_size,
            rank=self.settings.projection_rank,
            scaling=self.settings.scaling,
            seed=self.settings.seed,
            like=next(modules.student.parameters()),
        )
        added = {f"projection.{name}" for name, _ in modules.projection.named_parameters()}
        taken = Surgery(
            self.structure, self.structure, added=frozenset(added), teacher_changed=True
        )
        return combine(before, taken)

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


def weight_of(batch: Batch) -> Tensor | float:
    """Weight of a micro-batch's mean over predictions in its step; 1 where all weigh the same."""
    return batch.get("loss_weight", 1.0)


def _choose(losses: Mapping[int, Tensor]) -> int:
    if len(losses) == 1:
        return next(iter(losses))
    # All workers must pick the same layer, so they compare the sum of their losses.
    reduced = all_reduce_sum([loss.detach() for loss in losses.values()])
    return closest_layer({j: float(v) for j, v in zip(losses, reduced, strict=True)})
