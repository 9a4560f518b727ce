"""Made-up sweeps on disk: a folder as a sweep leaves it, without training anything."""

import json
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from apt_core.report import Efficiency, EvalPoint, InferencePoint, RunReport
from orchestrator.reports import render
from orchestrator.reports.render import ReportPaths
from tests.orchestrator.reports.synthetic_surgeries import make_structure, make_surgeries

DENSE_LAYER_PARAMS = 85_054_464
EMBEDDING_PARAMS = 39_000_000
NUM_STEPS = 200
ENVIRONMENT = {"device": "cpu", "precision": "fp32", "engine": "deepspeed", "num_workers": 1}


@dataclass(frozen=True)
class Trial:
    """What tells one trial from the others."""

    arm: str = "apt"
    sparsity: float = 0.0
    seed: int = 1
    ablation: str = "full"
    model: str = "roberta"
    dataset: str = "sst2"

    @property
    def run_id(self) -> str:
        ablation = self.ablation.replace("/", "")
        return f"{self.model}-{self.dataset}-{self.arm}-{ablation}-{self.sparsity:g}-s{self.seed}"


def demo_trials(
    seeds: Iterable[int] = (1, 2, 3), *, model: str = "roberta", dataset: str = "sst2"
) -> list[Trial]:
    """The grid of the demo: ft, lora, apt at two sparsities, three ablations."""
    cells = [
        Trial("apt", 0.6, ablation="w/o_Ds"),
        Trial("apt", 0.6, ablation="w/o_Ap"),
        Trial("apt", 0.6, ablation="w/o_AT"),
        Trial("apt", 0.6),
        Trial("apt", 0.4),
        Trial("lora"),
        Trial("ft"),
    ]
    return [
        replace(cell, seed=seed, model=model, dataset=dataset) for cell in cells for seed in seeds
    ]


def make_report(trial: Trial, **changes: Any) -> RunReport:
    """A plausible report of a trial; the same trial always gives the same report."""
    noise = random.Random(trial.run_id)
    reached = 0.0 if not prunes(trial) else trial.sparsity + noise.uniform(0, 0.004)
    best = 0.93 - 0.06 * reached**2 - (0.01 if trial.arm == "lora" else 0.0)
    best -= 0.015 * (trial.ablation != "full") + noise.gauss(0, 0.003)
    history = make_history(trial, best, reached)
    surgeries, shape = make_surgeries(
        trial.run_id, surgery_steps(trial), reached, grows=trial.ablation != "w/o_AT"
    )
    report = RunReport(
        run_id=trial.run_id,
        name="demo",
        arm=trial.arm,
        ablation=trial.ablation,
        model=trial.model,
        dataset=trial.dataset,
        seed=trial.seed,
        target_sparsity=trial.sparsity,
        sparsity=reached,
        metric_name="accuracy",
        metric=history[-1].metric,
        metrics={"accuracy": history[-1].metric},
        total_steps=NUM_STEPS,
        train_time_s=history[-1].train_time_s,
        eval_time_s=history[-1].eval_time_s,
        efficiency=_efficiency(trial, reached, noise),
        history=history,
        surgeries=tuple(surgeries),
        structure=make_structure(shape) if trial.arm != "ft" else {},
        environment=ENVIRONMENT,
        command=f"aptune train --config demo.yaml --set arm={trial.arm} training.seed={trial.seed}",
        step_time_s={
            "tuning": 0.10,
            "pruning": 0.12,
            "retraining": 0.10 * (1 - 0.6 * reached),
        },
    )
    return replace(report, **changes)


def _efficiency(trial: Trial, reached: float, noise: random.Random) -> Efficiency:
    layer_params = round(DENSE_LAYER_PARAMS * (1 - reached))
    speedup = 1 / (1 - 0.9 * reached) * noise.uniform(0.98, 1.02)
    return Efficiency(
        num_layer_params=layer_params,
        num_total_params=layer_params + EMBEDDING_PARAMS,
        num_trainable_params_peak=2_654_208,
        macs_per_sample=64 * layer_params,
        peak_train_memory_gib=(2.7 if trial.arm == "ft" else 1.8) + noise.uniform(0, 0.05),
        inference=tuple(
            InferencePoint(
                size, 6.9 * size / speedup, 145 * speedup, 1.1 - 0.4 * reached, 6.9 * size
            )
            for size in (32, 128)
        ),
    )


def prunes(trial: Trial) -> bool:
    return trial.arm == "apt" and trial.ablation != "w/o_Ap"


def surgery_steps(trial: Trial) -> list[int]:
    return [65, 85, 105, 125] if trial.arm == "apt" else []


def sparsity_at(trial: Trial, step: int, reached: float) -> float:
    done = sum(step >= event for event in surgery_steps(trial))
    return reached * done / 4 if prunes(trial) else 0.0


def make_history(trial: Trial, best: float, reached: float) -> tuple[EvalPoint, ...]:
    rate = {"ft": 25, "lora": 60}.get(trial.arm, 35)
    points = []
    for index, step in enumerate(range(20, NUM_STEPS + 1, 20), start=1):
        metric = best - (best - 0.5) * math.exp(-step / rate)
        time = step * (0.10 if trial.arm == "ft" else 0.12)
        points.append(EvalPoint(step, time, 1.5 * index, metric, sparsity_at(trial, step, reached)))
    return tuple(points)


def make_config(trial: Trial, **overrides: Any) -> dict[str, Any]:
    """The parts of a resolved config that reports look at, and some that they only show."""
    config: dict[str, Any] = {
        "name": "demo",
        "arm": trial.arm,
        "ablation": trial.ablation,
        "model": {
            "model_type": trial.model,
            "architectures": {"roberta": "some/roberta", "bert": "some/bert"},
        },
        "data": {
            "dataset": trial.dataset,
            "datasets": {"sst2": {"path": "glue/sst2"}, "rte": {"path": "glue/rte"}},
        },
        "training": {"seed": trial.seed, "learning_rate": 2e-4, "betas": [0.9, 0.999]},
        "pruning": {"target_sparsity": trial.sparsity or 0.6},
        "orchestration": {"results_dir": "runs", "grid": []},
    }
    for path, value in overrides.items():
        section, key = path.split("__")
        config[section][key] = value
    return config


def metric_lines(report: RunReport, trial: Trial, every: int = 5) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    evals = {point.step: point for point in report.history}
    lines = []
    for step in range(every, report.total_steps + 1, every):
        done = sum(step >= event for event in surgery_steps(trial))
        values: dict[str, float] = {
            "train/loss": 1 / step,
            "model/sparsity": sparsity_at(trial, step, report.sparsity),
            "model/hidden_size": round(768 * (1 - sparsity_at(trial, step, report.sparsity) / 2)),
        }
        if trial.arm != "ft":
            values["model/rank_mean"] = 8.0 * (1 + done * (trial.ablation != "w/o_AT"))
        if step in evals:
            point = evals[step]
            values |= {"eval/metric": point.metric, "time/train_s": point.train_time_s}
            values["time/eval_s"] = point.eval_time_s
        lines.append({"step": step, "time_ms": 1_700_000_000_000 + step, "values": values})
    return lines


def write_trial(
    sweep: Path,
    trial: Trial,
    *,
    report: RunReport | None = None,
    status: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    stop_at: int = NUM_STEPS,
) -> Path:
    """Write a trial's folder: finished, or with a `status`, no result and a log up to `stop_at`."""
    report = report or make_report(trial)
    folder = sweep / "trials" / report.run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or make_config(trial)))
    (folder / "status.json").write_text(json.dumps(status or {"state": "FINISHED", "reason": ""}))
    lines = [line for line in metric_lines(report, trial) if line["step"] <= stop_at]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if status is None:
        (folder / "result.json").write_text(json.dumps(report.to_json()))
    return folder


def write_sweep(sweep: Path, trials: Iterable[Trial]) -> Path:
    """Write finished trials."""
    for trial in trials:
        write_trial(sweep, trial)
    return sweep


def write_504_trials(sweep: Path) -> Path:
    """The grid of the demo on two models and two datasets, with 18 seeds."""
    for model in ("roberta", "bert"):
        for dataset in ("sst2", "rte"):
            write_sweep(sweep, demo_trials(range(18), model=model, dataset=dataset))
    return sweep


def build_without_figures(sweep: Path) -> ReportPaths:
    """The report of a sweep; drawing takes most of its time, and has its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "_draw", lambda tables, *rest: [[] for _ in tables])
        return render.build_report(sweep)
