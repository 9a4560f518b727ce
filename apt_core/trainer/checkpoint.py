"""Checkpoints: everything that the rest of a run depends on, atomic, hashed, structure first."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from apt_core.errors import CheckpointError
from apt_core.files import link_or_copy, sha256_of
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.masks import BlockMasks
from apt_core.trace import span
from apt_core.trainer import distributed
from apt_core.trainer.engine import OptimizerSnapshot
from apt_core.trainer.loop import APTrainer
from apt_core.trainer.rng import load_rng_state, rng_state
from apt_core.trainer.storage import (
    refusals_told,
    snapshot_of,
    sync_folder,
    tensors_of,
    write_tensors,
)

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
Reshape = Callable[[TrainedModules, Structure, Structure | None], None]


class Checkpointer:
    """Commits checkpoints to a folder and restores the newest whole one.

    A checkpoint is a folder ``step-N`` that appears by one rename, after every file in it has been
    written and hashed. Restoring builds the pruned shapes from the manifest before any weight is
    read. It is exact: a resumed run continues bit for bit on a CPU.

    Args:
        folder: where checkpoints live.
        run_id: the run they belong to; others are refused.
        reshape: gives fresh modules the structure of student and (or None) teacher.
        keep: how many to keep.
        attached: a file that is part of the run's state, replaced as a whole whenever it changes:
            every checkpoint holds it as it was, and restoring puts it back.
        constants: files that decisions rest on and that never change; checkpoints hold them too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        reshape: Reshape,
        keep: int,
        attached: Path | None = None,
        constants: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        self.run_id = run_id
        self.reshape = reshape
        self.keep = keep
        self.attached = attached
        self.constants = tuple(constants)

    @span("checkpoint")
    def save(self, trainer: APTrainer) -> Path:
        """Commit a checkpoint; collective.

        Args:
            trainer: whose state to keep.

        Returns:
            The committed folder.

        Raises:
            CheckpointError: the storage does not take it; the earlier ones are whole.
        """
        target = self.folder / f"step-{trainer.state.step:08d}"
        partial = self.folder / f"partial-{trainer.state.step:08d}"
        try:
            with refusals_told(self.folder, trainer.state.step):
                if not self._is_saved(target):
                    self._commit(trainer, partial, target)
        except CheckpointError:
            # Its room is wanted: somebody has to write down that there is none left.
            shutil.rmtree(partial, ignore_errors=True)
            raise
        trainer.callbacks.on_checkpoint(trainer.state, target)
        return target

    def _is_saved(self, target: Path) -> bool:
        """Whether it is there already: the run was resumed from it and is to stop at once.

        To write it again would be to take away the old one before the new one is in its place.
        """
        is_whole = False
        if distributed.rank() == 0 and target.is_dir():
            try:
                is_whole = bool(read_manifest(target, self.run_id))
            except CheckpointError as error:
                logger.warning("replacing a checkpoint: %s", error)
        return bool(distributed.object_from_first(is_whole))

    def _commit(self, trainer: APTrainer, partial: Path, target: Path) -> None:
        assert trainer.engine is not None
        if distributed.rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        distributed.barrier()
        write_tensors(partial / f"rng-{distributed.rank()}.safetensors", rng_state())
        weights = trainer.engine.full_state()
        snapshot = trainer.engine.harvest()
        distributed.barrier()
        if distributed.rank() == 0:
            shared = set(trainer.modules.shared_with_teacher())
            weights = {
                n: t
                for n, t in weights.items()
                if n.removeprefix("teacher.") not in shared or not n.startswith("teacher.")
            }
            write_tensors(partial / "weights.safetensors", weights)
            write_tensors(partial / "optimizer.safetensors", tensors_of(snapshot))
            write_tensors(partial / "salience.safetensors", _decision_state(trainer))
            for path in (self.attached, *self.constants):
                if path is not None and path.is_file():
                    link_or_copy(path, partial / path.name)
            self._write_manifest(partial, trainer, snapshot)
            sync_folder(partial)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(partial, target)
            sync_folder(self.folder)  # before the older ones go: a power cut must find one
            self._drop_others(target)
        distributed.barrier()

    def _write_manifest(
        self, folder: Path, trainer: APTrainer, snapshot: OptimizerSnapshot
    ) -> None:
        files = sorted(p.name for p in folder.iterdir())
        manifest = {
            "format": FORMAT,
            "run_id": self.run_id,
            "structure": trainer.state.structure.to_json(),
            "teacher_structure": (
                trainer.state.teacher_structure.to_json()
                if trainer.state.teacher_structure is not None
                else None
            ),
            "state": trainer.state.to_json(),
            "optimizer_steps": dict(snapshot.steps),
            "loss_scaler": dict(snapshot.loss_scaler),
            "files": {name: sha256_of(folder / name) for name in files},
        }
        path = folder / MANIFEST
        with path.open("w", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())

    def _drop_others(self, newest: Path) -> None:
        """Keep the newest; later steps are damaged ones that this run did not resume from."""
        present = sorted(self.folder.glob("step-*"))
        kept = [path for path in present if path <= newest][-self.keep :]
        for path in (*present, *self.folder.glob("partial-*")):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    @span("restore")
    def restore_latest(self, trainer: APTrainer) -> None:
        """Bring a fresh trainer to the newest checkpoint; does nothing when there is none.

        Args:
            trainer: fresh; its modules have the unpruned shape.

        Raises:
            CheckpointError: there are checkpoints, but not one is whole.
        """
        found = self._newest_whole()
        self._put_back(None if found is None else found[0])
        if found is None:
            return
        folder, manifest = found
        logger.info("resuming from %s", folder)
        state = trainer.state
        structure = Structure.from_json(manifest["structure"])
        teacher = manifest["teacher_structure"]
        state.teacher_structure = None if teacher is None else Structure.from_json(teacher)
        self.reshape(trainer.modules, structure, state.teacher_structure)
        state.structure = structure
        state.load_json(manifest["state"])
        _load_weights(trainer.modules, load_file(folder / "weights.safetensors"))
        snapshot = snapshot_of(load_file(folder / "optimizer.safetensors"), manifest)
        if trainer.salience is not None:
            trainer.salience.structure = structure
        trainer.distiller.restore(structure)
        trainer.engine = trainer.make_engine(trainer.modules, snapshot)
        # Behind the engine, as in training: masks take the dtype that it gives the weights.
        _load_decision_state(trainer, load_file(folder / "salience.safetensors"))
        rng = folder / f"rng-{distributed.rank()}.safetensors"
        if rng.is_file():
            load_rng_state(load_file(rng))

    def _put_back(self, folder: Path | None) -> None:
        """The attached file as the checkpoint knows it: a newer one is of steps that are lost."""
        if self.attached is None:
            return
        if distributed.rank() == 0:
            self.attached.unlink(missing_ok=True)
            if folder is not None and (folder / self.attached.name).is_file():
                link_or_copy(folder / self.attached.name, self.attached)
        distributed.barrier()

    def _newest_whole(self) -> tuple[Path, Mapping[str, Any]] | None:
        candidates = sorted(self.folder.glob("step-*"), reverse=True)
        problems = []
        for folder in candidates:
            try:
                return folder, read_manifest(folder, self.run_id)
            except CheckpointError as error:
                logger.warning("skipping a checkpoint: %s", error)
                problems.append(str(error))
        if problems:
            raise CheckpointError(
                "no checkpoint of this run is whole; remove the folder to start anew:\n"
                + "\n".join(problems)
            )
        return None


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


def _decision_state(trainer: APTrainer) -> dict[str, Tensor]:
    """Salience averages and masks."""
    tensors: dict[str, Tensor] = {}
    if trainer.salience is not None:
        tensors |= {f"salience/{k}": v for k, v in trainer.salience.state().items()}
    if trainer.controller.masks is not None:
        tensors |= {f"masks/{k}": v for k, v in trainer.controller.masks.state().items()}
    return tensors


def _load_decision_state(trainer: APTrainer, tensors: Mapping[str, Tensor]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"salience": {}, "masks": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = tensor
    if trainer.salience is not None:
        trainer.salience.load_state(parts["salience"])
    if parts["masks"]:
        masks = BlockMasks(trainer.state.structure)
        masks.load_state(parts["masks"])
        trainer.controller.restore_masks(masks, trainer.modules)


def _load_weights(modules: TrainedModules, weights: Mapping[str, Tensor]) -> None:
    # The file has a teacher's parameter only where student and teacher had gone separate ways.
    modules.part_from_teacher(weights)
    shared = {f"teacher.{name}" for name in modules.shared_with_teacher()}
    missing, unexpected = modules.load_state_dict(dict(weights), strict=False)
    lost = set(missing) - shared
    if lost or unexpected:
        raise CheckpointError(
            f"weights do not fit the structure: missing {sorted(lost)}, not expected {unexpected}"
        )
