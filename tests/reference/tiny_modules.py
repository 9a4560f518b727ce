"""A stand-in for what is trained: a student with adapters, a teacher that shares its weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, TensorEdit

NUM_FEATURES, NUM_NEURONS, NUM_CLASSES, RANK = 6, 9, 3, 4


class TinyAdapter(nn.Module):
    """A frozen linear layer with a trainable low-rank addition."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in) / num_in**0.5, requires_grad=False)
        self.bias = nn.Parameter(torch.randn(num_out) / 10, requires_grad=False)
        self.lora_a = nn.Parameter(torch.randn(RANK, num_in) / num_in**0.5)
        self.lora_b = nn.Parameter(torch.randn(num_out, RANK) / 10)

    def forward(self, inputs: Tensor) -> Tensor:
        low_rank = functional.linear(functional.linear(inputs, self.lora_a), self.lora_b)
        return functional.linear(inputs, self.weight, self.bias) + 2.0 * low_rank


class TinyNet(nn.Module):
    """Two adapted layers around a ReLU, a norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.up = TinyAdapter(NUM_FEATURES, NUM_NEURONS)
        self.down = TinyAdapter(NUM_NEURONS, NUM_FEATURES)
        self.norm = nn.LayerNorm(NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.norm(self.down(torch.relu(self.up(inputs))))
        return hidden, self.head(hidden)


@dataclass
class TinyOutput:
    """What a forward pass returns."""

    loss: Tensor
    logits: Tensor


class TinyTrained(nn.Module):
    """Student, teacher and projection; the loss is computed inside, by a function passed in."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student = TinyNet()
        self.teacher = TinyNet().requires_grad_(False)
        self.projection = nn.Linear(NUM_FEATURES, NUM_FEATURES)
        self.register_buffer("scale", torch.tensor(0.5))
        for layer in ("up", "down"):  # shared: the very same Parameter objects
            ours, theirs = getattr(self.student, layer), getattr(self.teacher, layer)
            theirs.weight, theirs.bias = ours.weight, ours.bias

    def forward(
        self, inputs: Tensor, labels: Tensor, task_loss: Callable[[Tensor, Tensor], Tensor]
    ) -> TinyOutput:
        hidden, logits = self.student(inputs)
        with torch.no_grad():
            target, _ = self.teacher(inputs)
        distance = functional.mse_loss(self.projection(hidden), target)
        return TinyOutput(task_loss(logits.float(), labels) + self.scale * distance, logits)


def tiny_surgery(module: nn.Module) -> Surgery:
    """Cut the student's neurons 1 and 4, grow its first adapter from rank 4 to 6, in place."""
    kept = torch.tensor([0, 2, 3, 5, 6, 7, 8])
    edits = {
        "student.up.weight": TensorEdit(keep=((0, kept),)),
        "student.up.bias": TensorEdit(keep=((0, kept),)),
        "student.up.lora_b": TensorEdit(keep=((0, kept),), pad=((1, 6),)),
        "student.up.lora_a": TensorEdit(pad=((0, 6),)),
        "student.down.weight": TensorEdit(keep=((1, kept),)),
        "student.down.lora_a": TensorEdit(keep=((1, kept),)),
    }
    apply_edits(module, edits)
    return Surgery(Structure(6, ()), Structure(6, ()), edits=edits)


def apply_edits(module: nn.Module, edits: dict[str, TensorEdit]) -> None:
    """Replace each edited parameter by a new one; whoever shared the old one keeps it."""
    for name, edit in edits.items():
        owner, _, leaf = name.rpartition(".")
        old = module.get_parameter(name)
        new = nn.Parameter(edit.apply(old.detach()), requires_grad=old.requires_grad)
        setattr(module.get_submodule(owner), leaf, new)


def tiny_batch(step: int, rank: int = 0, num_rows: int = 5) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one worker at one step."""
    generator = torch.Generator().manual_seed(1000 * step + rank)
    inputs = torch.randn(num_rows, NUM_FEATURES, generator=generator)
    return inputs, torch.randint(0, NUM_CLASSES, (num_rows,), generator=generator)
