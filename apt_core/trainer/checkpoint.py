"""Checkpoints: everything that the rest of a run depends on, atomic, hashed, structure first."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from apt_core.errors import CheckpointError
from apt_core.files import link_or_copy
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.masks import BlockMasks
from apt_core.trace import span
from apt_core.trainer import distributed
from apt_core.trainer.commit import (
    FORMAT,
    Captured,
    Commit,
    partial_folder,
    read_manifest,
    step_folder,
)
from apt_core.trainer.engine import OptimizerSnapshot
from apt_core.trainer.loop import APTrainer
from apt_core.trainer.rng import load_rng_state, rng_state
from apt_core.trainer.storage import (
    refusals_told,
    snapshot_of,
    tensors_of,
    write_tensors,
)

logger = logging.getLogger(__name__)

Reshape = Callable[[TrainedModules, Structure, Structure | None], None]


class Checkpointer:
    """Commits checkpoints to a folder and restores the newest whole one.

    A checkpoint is a folder ``step-N`` that appears by one rename, after every file in it has been
    written and hashed; the training goes on meanwhile. Restoring builds the pruned shapes from the
    manifest before any weight is read. It is exact: a resumed run continues bit for bit on a CPU.

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
        self._commit: Commit | None = None
        self._pending: int | None = None
        """The step that was saved last, as long as nobody knows whether it is committed."""

    @span("checkpoint")
    def save(self, trainer: APTrainer) -> None:
        """Capture a checkpoint, and let a thread commit it; collective.

        One commit at a time: this waits for the one before.

        Args:
            trainer: whose state to keep.

        Raises:
            CheckpointError: the storage does not take it, or did not take the one before; earlier
                ones are whole.
        """
        self.settle(trainer)
        step = trainer.state.step
        self._pending = step
        if not self._is_saved(step_folder(self.folder, step)):
            captured = self._captured(trainer)
            if captured is not None:
                self._commit = Commit(captured, self.folder, self.keep)
                self._commit.start()
        else:
            self.settle(trainer)

    @span("checkpoint")
    def settle(self, trainer: APTrainer) -> None:
        """Wait until what was saved last is committed; collective.

        Args:
            trainer: whose callbacks are told.

        Raises:
            CheckpointError: the storage did not take it; the earlier ones are whole.
        """
        if self._pending is None:
            return
        step, self._pending = self._pending, None
        self.wait()
        commit, self._commit = self._commit, None
        problem = None if commit is None else commit.error
        told = distributed.object_from_first(None if problem is None else str(problem))
        if told is not None:
            raise CheckpointError(told) from problem
        trainer.callbacks.on_checkpoint(trainer.state, step_folder(self.folder, step))

    def wait(self) -> None:
        """Let a commit that is under way come to its end, good or bad; not collective."""
        if self._commit is not None:
            self._commit.join()

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

    def _captured(self, trainer: APTrainer) -> Captured | None:
        """All that the checkpoint holds, for the first worker; None for the others."""
        partial = partial_folder(self.folder, trainer.state.step)
        try:
            with refusals_told(self.folder, trainer.state.step):
                return self._capture(trainer, partial)
        except CheckpointError:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _capture(self, trainer: APTrainer, partial: Path) -> Captured | None:
        assert trainer.engine is not None
        is_first = distributed.rank() == 0
        if is_first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        distributed.barrier()
        write_tensors(partial / f"rng-{distributed.rank()}.safetensors", rng_state())
        weights = trainer.engine.full_state()
        snapshot = trainer.engine.harvest()
        distributed.barrier()
        if not is_first:
            return None
        for path in (self.attached, *self.constants):
            if path is not None and path.is_file():
                link_or_copy(path, partial / path.name)
        tensors = {
            "weights.safetensors": _without_shared(weights, trainer.modules),
            # On a CPU these two are the live ones.
            "optimizer.safetensors": _copies(tensors_of(snapshot)),
            "salience.safetensors": _copies(_decision_state(trainer)),
        }
        return Captured(trainer.state.step, tensors, self._manifest(trainer, snapshot))

    def _manifest(self, trainer: APTrainer, snapshot: OptimizerSnapshot) -> dict[str, Any]:
        state = trainer.state
        teacher = state.teacher_structure
        live = {
            "format": FORMAT,
            "run_id": self.run_id,
            "structure": state.structure.to_json(),
            "teacher_structure": None if teacher is None else teacher.to_json(),
            "state": state.to_json(),
            "optimizer_steps": dict(snapshot.steps),
            "loss_scaler": dict(snapshot.loss_scaler),
        }
        frozen: dict[str, Any] = json.loads(json.dumps(live))
        return frozen

    @span("restore")
    def restore_latest(self, trainer: APTrainer) -> None:
        """Bring a fresh trainer to the newest checkpoint; does nothing when there is none.

        Args:
            trainer: fresh; its modules have the unpruned shape.

        Raises:
            CheckpointError: there are checkpoints, but not one is whole.
        """
        self.settle(trainer)
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


def _without_shared(weights: Mapping[str, Tensor], modules: TrainedModules) -> dict[str, Tensor]:
    """The weights without the teacher's names for what it shares with the student."""
    shared = {f"teacher.{name}" for name in modules.shared_with_teacher()}
    return {name: tensor for name, tensor in weights.items() if name not in shared}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


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
