"""What stands behind the layers: the head, the loss, and a teacher's part in it."""

from dataclasses import dataclass

from apt_core.bench.flops import Network
from apt_core.capacity.kept import FP32, Habits, Load, Pass
from apt_core.models.structure import Structure

_TASK, _TAUGHT = 1, 3
"""fp32 tensors of the logits' size that wait for backward: log-probabilities of the task's loss; of
the student towards its teacher, too, and the teacher's probabilities.
"""
_TASK_WORKING, _TAUGHT_WORKING = 2, 3
"""The same while backward forms the gradient of the logits."""
_DIVERGENCE = 3
"""The same that only the forward pass of the divergence holds."""


@dataclass(frozen=True)
class Head:
    """What reads the last layer."""

    logits_per_row: int
    """Values of the logits of one row: tokens x vocabulary where text is written."""
    gradients: int
    """Bytes of the gradients of its parameters, and of other parameters outside the layers."""
    inputs_per_row: int = 0
    """Values that a head which learns keeps of what it reads."""


@dataclass(frozen=True)
class Teaching:
    """What distillation adds."""

    teacher: Network
    num_layers: int
    """Hidden states that go through the projection, over all stacks."""
    rank: int
    """Of the projection."""
    normalises: bool
    """States are divided by their root mean square first (models with norms in front)."""


def head_load(
    head: Head, structure: Structure, habits: Habits, how: Pass, *, is_taught: bool
) -> Load:
    """The head and the loss; a model with norms in front has a final one per stack.

    Args:
        head: what reads the last layer.
        structure: the model.
        habits: how the family computes.
        how: what it works on.
        is_taught: whether a divergence from a teacher is part of the loss.

    Returns:
        Bytes.
    """
    logits = how.rows.rows * head.logits_per_row * FP32
    kept = logits * (_TAUGHT if is_taught else _TASK)
    kept += how.rows.rows * head.inputs_per_row * how.width
    if habits.norm == "rms":
        kept += FP32 * sum(tokens_of(structure, how).values()) * (structure.hidden_size + 1)
    working = logits * (_TAUGHT_WORKING if is_taught else _TASK_WORKING)
    return Load(kept, working, head.gradients)


def loss_bytes(head: Head, how: Pass) -> int:
    """What only the forward pass of the task's loss holds: logits as they came, and in fp32."""
    copies = how.width + (FP32 if how.width < FP32 else 0)
    return how.rows.rows * head.logits_per_row * copies


def teaching_load(teaching: Teaching, structure: Structure, how: Pass) -> Load:
    """The projection and the distance of the sampled layers.

    Per layer and token: the student's state, the projection's bottleneck, and the difference in
    fp32.

    Args:
        teaching: what is taught.
        structure: the student.
        how: what it works on.

    Returns:
        Bytes.
    """
    tokens = sum(tokens_of(structure, how).values()) / len(tokens_of(structure, how))
    theirs = teaching.teacher.structure.hidden_size
    per_token = how.width * (structure.hidden_size + teaching.rank) + FP32 * theirs
    trained = teaching.rank * (structure.hidden_size + theirs)
    kept = round(tokens * teaching.num_layers * per_token)
    return Load(kept, round(tokens * FP32 * 2 * theirs), trained * how.width)


def teaching_bytes(teaching: Teaching, head: Head, structure: Structure, how: Pass) -> int:
    """What only the forward pass of a taught step holds.

    Every hidden state of the teacher and every one of the student (which its own layers may keep
    anyway), both again where they are normalised; logits of both, picked out and compared.

    Args:
        teaching: what is taught.
        head: what reads the last layer.
        structure: the student.
        how: what it works on.

    Returns:
        Bytes.
    """
    tokens = tokens_of(structure, how)
    theirs, ours = teaching.teacher.structure.hidden_size, structure.hidden_size
    states = sum((num_layers(structure, s) + 1) * count for s, count in tokens.items())
    total = states * how.width * theirs
    if teaching.normalises:
        upcast = FP32 * ours if how.width < FP32 else 0
        total += states * (how.width * (theirs + ours) + upcast)
    projected = sum(tokens.values()) / len(tokens) * teaching.num_layers * how.width * theirs
    logits = how.rows.rows * head.logits_per_row
    return round(total + projected) + logits * (3 * how.width + _DIVERGENCE * FP32)


def tokens_of(structure: Structure, how: Pass) -> dict[str, int]:
    """Tokens of a micro-batch, by stream."""
    streams = {s.stream for s in structure.sub_blocks}
    return {stream: how.rows.rows * how.rows.of(stream) for stream in sorted(streams)}


def layer_of(name: str) -> str:
    """Path of the layer that a sub-block belongs to."""
    return name.rpartition(".")[0]


def num_layers(structure: Structure, stream: str) -> int:
    """Layers of a stream's stack."""
    return len({layer_of(s.name) for s in structure.sub_blocks if s.stream == stream})
