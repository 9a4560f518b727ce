"""Commits: the files of a checkpoint, written beside the training, and the rename that counts."""

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from apt_core.errors import CheckpointError
from apt_core.files import sha256_of
from apt_core.trainer.storage import refusals_told, sync_folder, write_tensors

FORMAT = 1
MANIFEST = "manifest.json"


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies once it is whole."""
    return folder / f"step-{step:08d}"


def partial_folder(folder: Path, step: int) -> Path:
    """Where it is made."""
    return folder / f"partial-{step:08d}"


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.rpartition("-")[2])


@dataclass(frozen=True)
class Captured:
    """A checkpoint as it was at its step; nothing writes to it any more."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    """By the name of the file that will hold them."""
    manifest: Mapping[str, Any]
    """Without the hashes of the files."""


class Commit(threading.Thread):
    """Brings one checkpoint to the storage while the training goes on.

    What is in its partial folder already (random states, linked files) becomes part of it.

    Args:
        captured: What it holds.
        folder: Where checkpoints live.
        keep: How many to keep, this one included.
    """

    def __init__(self, captured: Captured, folder: Path, keep: int) -> None:
        super().__init__(name="commit", daemon=True)
        self.error: BaseException | None = None
        """Why it came to nothing; the earlier checkpoints are then whole."""
        self._captured = captured
        self._folder = folder
        self._keep = keep

    def run(self) -> None:
        """Write, hash, rename; then drop what is older."""
        step = self._captured.step
        try:
            with refusals_told(self._folder, step):
                self._commit(partial_folder(self._folder, step), step_folder(self._folder, step))
        except BaseException as error:
            self.error = error
            # Its room is wanted: somebody has to write down that there is none left.
            shutil.rmtree(partial_folder(self._folder, step), ignore_errors=True)

    def _commit(self, partial: Path, target: Path) -> None:
        for name, tensors in self._captured.tensors.items():
            write_tensors(partial / name, tensors)
        self._write_manifest(partial)
        sync_folder(partial)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        sync_folder(self._folder)  # before the older ones go: a power cut must find one
        self._drop_others(target)

    def _write_manifest(self, partial: Path) -> None:
        files = sorted(path.name for path in partial.iterdir())
        hashes = {name: sha256_of(partial / name) for name in files}
        with (partial / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump({**self._captured.manifest, "files": hashes}, file)
            file.flush()
            os.fsync(file.fileno())

    def _drop_others(self, newest: Path) -> None:
        """Keep the newest; later steps are damaged ones that this run did not resume from."""
        present = sorted(self._folder.glob("step-*"))
        kept = [path for path in present if path <= newest][-self._keep :]
        for path in (*present, *self._folder.glob("partial-*")):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)


def read_manifest(folder: Path, run_id: str) -> Mapping[str, Any]:
    """The manifest of a checkpoint whose files have all been checked.

    Args:
        folder: a checkpoint.
        run_id: the run that it must belong to.

    Returns:
        The manifest.

    Raises:
        CheckpointError: it is torn, altered, foreign or of another format.
    """
    try:
        manifest: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: no readable {MANIFEST}: {error!r}") from error
    if found != FORMAT:
        raise CheckpointError(f"{folder}: format {found}, expected {FORMAT}")
    if manifest["run_id"] != run_id:
        raise CheckpointError(f"{folder}: belongs to run {manifest['run_id']}, not to {run_id}")
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            raise CheckpointError(f"{path}: missing or altered")
    return manifest
