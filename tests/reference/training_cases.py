"""Whole tiny runs, for workers and fresh interpreters: JSON arguments in, JSON results out."""

import errno
import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from apt_core.errors import CheckpointError, DecisionMismatchError, TrainingStoppedError
from apt_core.report import RunReport
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.commit import Commit
from apt_core.trainer.distributed import rank, world_size
from apt_core.trainer.reporter import Reporter
from tests.tiny_run import EVENTS, tiny_experiment

ID = "0123456789abcdef"
SHAPE = ("step", "heads", "neurons", "hidden_size", "ranks", "teacher_changed")


def decisions(report: RunReport) -> list[dict[str, Any]]:
    """What was decided at every surgery: shapes and ranks, without times."""
    return [{key: surgery[key] for key in SHAPE} for surgery in report.surgeries]


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Everything that must not depend on interruptions: exported weights and logged metrics."""
    weights = load_file(folder / "export" / "model.safetensors")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timed = ("time/", "memory/", "surgery/", "train/step_time_s")
    metrics = [
        (line["step"], {k: v for k, v in line["values"].items() if not k.startswith(timed)})
        for line in map(json.loads, lines)
    ]
    return weights, metrics


def logged(folder: Path, key: str) -> dict[int, float]:
    """One metric of a run, by step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["values"][key] for line in lines if key in line["values"]}


def assert_same(a: tuple[dict, list], b: tuple[dict, list]) -> None:
    """Bit for bit."""
    assert a[1] == b[1]
    assert a[0].keys() == b[0].keys()
    for name in a[0]:
        assert torch.equal(a[0][name], b[0][name]), name


class CrashError(Exception):
    """What `CrashAfter` raises."""


class CrashAfter(Callback):
    """Stops the run right after a step, before anything else is saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: Any, metrics: Any) -> None:
        """Raise."""
        if state.step == self.step:
            raise CrashError


class KillAtSurgery(Callback):
    """Ends the process with SIGKILL, which no handler can soften, in the middle of an event."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_surgery(self, state: Any, surgery: Any) -> None:
        """Die: the model has its new shape, and the step is not over."""
        if state.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def run_tiny(root: str, run_dir: str, overrides: list[str], dropout: float = 0.0) -> dict[str, Any]:
    """One tiny run; its decisions and its score."""
    config = tiny_experiment(Path(root), *overrides, dropout=dropout)
    report = run_training(config, run_dir=Path(run_dir), run_id=ID)
    return {"decisions": decisions(report), "metric": report.metric, "sparsity": report.sparsity}


def run_arms(root: str, run_dir: str, arms: list[str], overrides: list[str]) -> dict[str, Any]:
    """Several arms in one process, which imports DeepSpeed once."""
    return {arm: run_tiny(root, f"{run_dir}/{arm}", [f"arm={arm}", *overrides]) for arm in arms}


GOLDEN = 0.6180339887


def moody(held_out: Callable[..., float]) -> Callable[..., float]:
    """A score that jumps from step to step, yet depends on nothing but the weights."""

    def score(self: Reporter, engine: Any) -> float:
        held_out(self, engine)
        split = self.evaluator.evaluate(engine, "holdout")
        return split["eval/holdout/loss"] * 1e4 % 1.0

    return score


def capricious(held_out: Callable[..., float]) -> Callable[..., float]:
    """A score that jumps from call to call, alike on every machine, and is not best at the end."""
    calls = itertools.count(1)

    def score(self: Reporter, engine: Any) -> float:
        held_out(self, engine)
        return next(calls) * GOLDEN % 1.0

    return score


def run_capricious(root: str, run_dir: str, overrides: list[str]) -> dict[str, Any]:
    """One tiny run that chooses by a score that jumps; what it chose, and what it reports."""
    Reporter.held_out = capricious(Reporter.held_out)  # type: ignore[method-assign]
    report = run_training(tiny_experiment(Path(root), *overrides), run_dir=Path(run_dir), run_id=ID)
    chosen = report.metrics["chosen_step"]
    (measured,) = [point.metric for point in report.history if point.step == chosen]
    return {
        "chosen_step": chosen,
        "metric": report.metric,
        "measured": measured,
        "loss": report.metrics["loss"],
        "decisions": decisions(report),
    }


def run_until_killed(root: str, run_dir: str, overrides: list[str], step: int, where: str) -> None:
    """One tiny run that dies at a surgery, or while it saves: the weights are out, the rest not."""
    callbacks: list[Callback] = []
    if where == "surgery":
        callbacks.append(KillAtSurgery(step))
    else:
        write_manifest = Commit._write_manifest

        def write_or_die(self: Commit, partial: Path) -> None:
            if self._captured.step == step:
                os.kill(os.getpid(), signal.SIGKILL)
            write_manifest(self, partial)

        Commit._write_manifest = write_or_die  # type: ignore[method-assign]
    config = tiny_experiment(Path(root), *overrides)
    run_training(config, run_dir=Path(run_dir), run_id=ID, callbacks=callbacks)


def run_until_asked(root: str, run_dir: str, overrides: list[str], step: int) -> str:
    """One tiny run that is asked to stop when `step` is done; what it says when it leaves."""
    state = Progress()
    config = tiny_experiment(Path(root), *overrides)
    try:
        run_training(
            config,
            run_dir=Path(run_dir),
            run_id=ID,
            callbacks=[state],
            # Under torchrun or Ray a signal may reach one worker only: the last one, here.
            should_stop=lambda: state.step >= step and rank() == world_size() - 1,
        )
    except TrainingStoppedError as stopped:
        return str(stopped)
    raise AssertionError("the run was not stopped")


class Progress(Callback):
    """Remembers the last step."""

    step = 0

    def on_step_end(self, state: Any, metrics: Any) -> None:
        """Remember."""
        self.step = state.step


def check_leaves_together(root: str, run_dir: str, overrides: list[str], step: int) -> str:
    """All workers leave when one is asked, and the continued run ends like an undisturbed one."""
    config = tiny_experiment(Path(root), *overrides)
    whole, cut = Path(run_dir) / "whole", Path(run_dir) / "cut"
    run_training(config, run_dir=whole, run_id=ID)
    said = run_until_asked(root, str(cut), overrides, step)
    run_training(config, run_dir=cut, run_id=ID)
    assert_same(outcome(cut), outcome(whole))
    return said


def check_resumes_exactly(root: str, run_dir: str, overrides: list[str], step: int) -> int:
    """A run that is stopped after `step` and resumed ends like one that is not; lines logged."""
    config = tiny_experiment(Path(root), *overrides)
    whole, cut = Path(run_dir) / "whole", Path(run_dir) / "cut"
    run_training(config, run_dir=whole, run_id=ID)
    try:
        run_training(config, run_dir=cut, run_id=ID, callbacks=[CrashAfter(step)])
    except CrashError:
        run_training(config, run_dir=cut, run_id=ID)
    else:
        raise AssertionError("the run was not stopped")
    assert_same(outcome(cut), outcome(whole))
    return len(outcome(cut)[1])


def check_mismatch(root: str, run_dir: str) -> list[str]:
    """Salience that differs between workers: what each of them raises at the first event."""
    config = tiny_experiment(Path(root), "hardware.num_workers=2")
    trainer = build_trainer(config, run_dir=Path(run_dir), run_id=ID)
    structure, generator = trainer.state.structure, torch.Generator().manual_seed(rank())
    assert trainer.salience is not None
    averages = {"hidden": torch.rand(structure.hidden_size, generator=generator)}
    averages |= {
        f"units/{s.name}": torch.rand(s.num_units, generator=generator)
        for s in structure.sub_blocks
    }
    trainer.salience.load_state(averages)
    raised = []
    for step in (1, EVENTS[0]):  # nothing is decided at step 1: nothing to disagree about
        trainer.state.step = step
        try:
            trainer.controller.decide(trainer.state, trainer.salience.snapshot)
            raised.append("")
        except DecisionMismatchError as error:
            raised.append(str(error))
    return raised


def run_on_full_storage(root: str, run_dir: str, step: int) -> str:
    """One tiny run whose storage, on the first worker, takes nothing of a step; what is raised."""

    def refuse(self: Commit, partial: Path) -> None:
        if self._captured.step == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_manifest(self, partial)

    write_manifest = Commit._write_manifest
    Commit._write_manifest = refuse  # type: ignore[method-assign]
    try:
        config = tiny_experiment(Path(root), f"hardware.num_workers={world_size()}")
        run_training(config, run_dir=Path(run_dir), run_id=ID)
    except CheckpointError as error:
        return str(error)
    return ""
