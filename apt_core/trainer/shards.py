"""Where each parameter's fp32 master and Adam moments lie in the vectors of an optimizer.

Plain training keeps one tensor per parameter. ZeRO 1 and 2 lay a group of parameters end to end and
give each worker one equal part of the vector; ZeRO 3 cuts every parameter into equal, padded parts
and lays the worker's parts end to end. One description serves all of them, in both directions:
gather full tensors, or put full tensors back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apt_core.trainer.distributed import all_gather_flat, rank
from apt_core.trainer.engine import OptimizerSnapshot


@dataclass(frozen=True)
class Piece:
    """One parameter inside a shard."""

    name: str
    shape: torch.Size
    start: int
    """First element: in the whole vector, or in each worker's part when the shard is striped."""
    length: int
    """Elements: all of them, or those in one worker's part (padding included) when striped."""


@dataclass(frozen=True)
class Shard:
    """This worker's part of a vector of parameters, and what lies where in it."""

    master: Tensor
    """The part itself: fp32 values, and the optimizer's key for their state."""
    pieces: tuple[Piece, ...]
    num_parts: int = 1
    """Workers among which the vector is divided; 1: every worker holds all of it."""
    striped: bool = False
    """Each parameter is divided by itself (ZeRO 3), not the vector as a whole (ZeRO 1, 2)."""

    def gather(self, local: Tensor) -> dict[str, Tensor]:
        """Full tensors by name from a vector laid out like `master`; collective if divided."""
        parts = all_gather_flat(local) if self.num_parts > 1 else local.detach().reshape(1, -1)
        return {piece.name: self._cut(parts, piece) for piece in self.pieces}

    def put(self, values: Mapping[str, Tensor], local: Tensor) -> None:
        """Write full tensors into a vector laid out like `master`; names not given stay."""
        for piece in self.pieces:
            if piece.name in values:
                self._write(values[piece.name], piece, local)

    def _cut(self, parts: Tensor, piece: Piece) -> Tensor:
        rows = parts if self.striped else parts.reshape(1, -1)
        flat = rows[:, piece.start : piece.start + piece.length].reshape(-1)
        return flat[: piece.shape.numel()].reshape(piece.shape).clone()

    @torch.no_grad()
    def _write(self, value: Tensor, piece: Piece, local: Tensor) -> None:
        flat = value.detach().reshape(-1).to(local.device, local.dtype)
        part = rank() if self.num_parts > 1 else 0
        target = local.detach().view(-1)
        if self.striped:
            begin, end = part * piece.length, min((part + 1) * piece.length, flat.numel())
            start = piece.start
        else:  # the overlap of the parameter with this worker's part of the vector
            part_start = part * target.numel()
            begin = max(part_start - piece.start, 0)
            end = min(part_start + target.numel() - piece.start, piece.length)
            start = piece.start + begin - part_start
        if begin < end:
            target[start : start + end - begin].copy_(flat[begin:end])


def snapshot_of(
    shards: Sequence[Shard],
    optimizer: torch.optim.Optimizer,
    loss_scaler: Mapping[str, float | int],
) -> OptimizerSnapshot:
    """Collective: everything the optimizer knows, as full fp32 tensors on the CPU.

    Args:
        shards: Where each parameter lies.
        optimizer: Holds ``exp_avg``, ``exp_avg_sq`` and ``step`` for every shard's master.
        loss_scaler: State of the loss scaler, kept as it is.

    Returns:
        The snapshot.
    """
    tensors: dict[str, dict[str, Tensor]] = {"master": {}, "exp_avg": {}, "exp_avg_sq": {}}
    steps: dict[str, float] = {}
    for shard in shards:
        state = optimizer.state[shard.master]
        for key, found in tensors.items():
            local = shard.master if key == "master" else state[key]
            found |= {name: value.cpu() for name, value in shard.gather(local).items()}
        steps |= {piece.name: float(state["step"]) for piece in shard.pieces}
    return OptimizerSnapshot(
        tensors["master"], tensors["exp_avg"], tensors["exp_avg_sq"], steps, dict(loss_scaler)
    )


def graft(
    shards: Sequence[Shard], optimizer: torch.optim.Optimizer, snapshot: OptimizerSnapshot
) -> None:
    """Give the optimizer the moments and steps of a snapshot; what is not in it starts at zero.

    Adam creates its state at the first update; here it is created at once, so that it can be filled
    now and read at any time. Parameters of one shard share their step count (see
    `apt_core.trainer.optim.parameter_groups`).
    """
    for shard in shards:
        state = {
            "step": torch.zeros((), dtype=torch.float32, device=shard.master.device),
            "exp_avg": torch.zeros_like(shard.master, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(shard.master, requires_grad=False),
        }
        state["step"].fill_(max(snapshot.steps.get(piece.name, 0.0) for piece in shard.pieces))
        shard.put(snapshot.exp_avg, state["exp_avg"])
        shard.put(snapshot.exp_avg_sq, state["exp_avg_sq"])
        optimizer.state[shard.master] = state


@torch.no_grad()
def load_masters(module: nn.Module, snapshot: OptimizerSnapshot) -> None:
    """Write the snapshot's masters into the module's parameters, which become fp32."""
    for name, parameter in module.named_parameters():
        if name in snapshot.masters:
            parameter.data = snapshot.masters[name].to(parameter.device, torch.float32, copy=True)


def state_on_cpu(module: nn.Module, full: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Copies of all parameters and persistent buffers by name; one copy of a shared tensor.

    Args:
        module: The module.
        full: Tensors that stand for others, by the `id` of the tensor they stand for (masters,
            gathered weights).

    Returns:
        CPU tensors under the names of ``module.state_dict()``.
    """
    copies: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        key = id(tensor)
        if key not in copies:
            copies[key] = full.get(key, tensor).detach().to("cpu", copy=True)
        state[name] = copies[key]
    return state
