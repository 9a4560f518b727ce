"""Files of checkpoints: written, hashed, linked; and what becomes of them on a full disk."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from apt_core.errors import CheckpointError
from apt_core.files import free_text
from apt_core.trainer.engine import OptimizerSnapshot


@contextmanager
def refusals_told(folder: Path, step: int) -> Iterator[None]:
    """Inside the block, what the storage refuses becomes an error that says what to do.

    Args:
        folder: Where checkpoints live.
        step: Whose checkpoint is written.

    Yields:
        None: Once.

    Raises:
        CheckpointError: In place of what the system or safetensors raised.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors in its own
        raise CheckpointError(
            f"{folder}: step {step} cannot be written: {error} ({free_text(folder)}); free space "
            "or make it writable: the earlier checkpoint is whole, and the same command continues "
            "from it"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors and wait until the disk has them."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def tensors_of(snapshot: OptimizerSnapshot) -> dict[str, Tensor]:
    """The tensors of an optimizer's state under one name each, e.g. ``exp_avg/<parameter>``."""
    groups = {
        "masters": snapshot.masters,
        "exp_avg": snapshot.exp_avg,
        "exp_avg_sq": snapshot.exp_avg_sq,
    }
    return {f"{group}/{n}": t for group, tensors in groups.items() for n, t in tensors.items()}


def snapshot_of(tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> OptimizerSnapshot:
    """An optimizer's state from what `tensors_of` gave and from the numbers in the manifest."""
    groups: dict[str, dict[str, Tensor]] = {"masters": {}, "exp_avg": {}, "exp_avg_sq": {}}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups[group][name] = tensor
    return OptimizerSnapshot(
        **groups, steps=manifest["optimizer_steps"], loss_scaler=manifest["loss_scaler"]
    )


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in a folder: a file may be there and not its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
