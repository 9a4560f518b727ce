"""Memory of one worker, by component, under ZeRO 0 to 3 or plain data parallelism.

ZeRO (Rajbhandari et al., arXiv 1910.02054, section 5): with N workers, stage 1 divides the
optimizer's state by N, stage 2 also the gradients, stage 3 also the weights. Here frozen weights
have neither gradients nor optimizer state, so only stage 3 makes the largest part smaller.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from apt_core.capacity.kept import FP32, Load
from apt_core.capacity.walk import fullest_moment

MOMENTS_BYTES = 2 * FP32
"""Adam's, per trained parameter."""
MAX_BUCKET = 50_000_000
"""Elements of DeepSpeed's reduction buffer, see `apt_core.trainer.deepspeed_config`."""
MAX_LIVE = 1_000_000_000
"""Parameters that ZeRO 3 keeps gathered at most (``stage3_max_live_parameters`` of DeepSpeed)."""
OPTIMIZER_STAGE, GRADIENT_STAGE, PARAMETER_STAGE = 1, 2, 3
KURTOSIS_BYTES = 5 * FP32
"""Per weight, in `scores.kurtosis`: merged, products, centred, standardised, to the fourth."""
PLAIN = -1
"""Instead of a stage: the engine without DeepSpeed."""


@dataclass(frozen=True)
class Params:
    """How many parameters there are, tied ones counted once."""

    frozen: int
    trained: int
    teacher: int = 0
    """Only the teacher's."""
    writer: int = 0
    """Of the largest matrix that writes to the residual stream, where outliers are measured."""
    salience: int = 0
    """fp32 values that the collector holds between micro-batches and steps."""

    @property
    def total(self) -> int:
        """All weights."""
        return self.frozen + self.trained + self.teacher


@dataclass(frozen=True)
class Division:
    """Among whom what is divided."""

    stage: int
    """ZeRO 0 to 3, or `PLAIN`."""
    num_workers: int = 1

    def share(self, size: float, from_stage: int) -> int:
        """Of a size that is divided from a stage on, what one worker has."""
        return round(size / self.num_workers) if self.stage >= from_stage else round(size)


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker at the fullest moment of a step."""

    weights: int
    teacher: int
    optimizer: int
    """Moments, and fp32 masters where there are such."""
    gradients: int
    activations: int
    working: int
    """Temporary tensors of the operation that runs."""
    salience: int
    buffers: int
    """The engine's: reduction buckets, gathered weights."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def to_json(self) -> dict[str, int]:
        """Every component, and the total."""
        return {**asdict(self), "total": self.total}


def worker_memory(
    params: Params,
    loads: Sequence[Load],
    *,
    width: int,
    division: Division,
    forward: int = 0,
    accumulates: bool = False,
) -> Memory:
    """Memory of one worker.

    Args:
        params: how many parameters.
        loads: the parts of the model in the order of the forward pass.
        width: bytes of a weight in forward and backward.
        division: what is divided.
        forward: what only the forward pass holds when it ends.
        accumulates: a step has several micro-batches.

    Returns:
        The components; see `Memory`.
    """
    per_worker = [
        replace(load, gradients=division.share(load.gradients, GRADIENT_STAGE)) for load in loads
    ]
    accumulated = division.share(width * params.trained, GRADIENT_STAGE) if accumulates else 0
    moment = fullest_moment(
        per_worker,
        forward=forward,
        accumulated=accumulated,
        update=update_bytes(params, width, division),
    )
    return Memory(
        weights=division.share(width * (params.frozen + params.trained), PARAMETER_STAGE),
        teacher=division.share(width * params.teacher, PARAMETER_STAGE),
        optimizer=optimizer_bytes(params.trained, width, division),
        gradients=moment.gradients,
        activations=moment.kept,
        working=moment.working,
        salience=FP32 * params.salience,
        buffers=buffer_bytes(params, width, division),
    )


def optimizer_bytes(trained: int, width: int, division: Division) -> int:
    """Adam's moments and the masters: in half precision always, under ZeRO 1 to 3 in fp32 too."""
    has_masters = width < FP32 or division.stage >= OPTIMIZER_STAGE
    per_param = MOMENTS_BYTES + (FP32 if has_masters else 0)
    return division.share(per_param * trained, OPTIMIZER_STAGE)


def update_bytes(params: Params, width: int, division: Division) -> int:
    """What comes on top of the gradients when a step ends.

    The gradients in fp32, where they are not already; or, before that, what the kurtosis of the
    salience needs (paper Eq. 5): of one writer at a time the merged weight in fp32, whole on every
    worker and under ZeRO 3 also as it was gathered, and what is computed from it.
    """
    copies = width < FP32 or division.stage >= OPTIMIZER_STAGE
    gradients = division.share(FP32 * params.trained, OPTIMIZER_STAGE) if copies else 0
    gathered = width if division.stage >= PARAMETER_STAGE else 0
    return max(gradients, params.writer * (KURTOSIS_BYTES + gathered))


def buffer_bytes(params: Params, width: int, division: Division) -> int:
    """Of the engine: a bucket that gradients are reduced in, and what ZeRO 3 has gathered."""
    if division.stage == PLAIN:
        return width * params.trained if division.num_workers > 1 else 0
    bucket = width * min(params.trained, MAX_BUCKET)
    if division.stage < PARAMETER_STAGE or division.num_workers == 1:
        return bucket
    others = params.total * (division.num_workers - 1) / division.num_workers
    return bucket + round(width * min(others, MAX_LIVE))


def whole_bytes(params: Params, width: int) -> int:
    """What every worker holds for a moment whatever the stage: the whole model.

    An engine takes a model in fp32 on its device and divides it then. For a change of shape it
    gives the whole model back: frozen weights as they are computed with, the others as fp32
    masters, and a teacher's. The larger of both.

    Args:
        params: how many there are.
        width: bytes of a weight in forward and backward.

    Returns:
        Bytes.
    """
    start = FP32 * (params.frozen + params.trained)
    change = width * (params.frozen + params.teacher) + FP32 * params.trained
    return max(start, change)
