"""Closes a run: final score, merged export, efficiency, and the run's report."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.evaluator.efficiency import (
    forward_inputs,
    macs_per_sample,
    measure_generation,
    measure_inference,
    merged_copy,
    prompt_inputs,
)
from apt_core.evaluator.evaluator import Evaluator
from apt_core.evaluator.generation import TokenIds
from apt_core.evaluator.lm_eval import LmEvalSettings, run_lm_eval
from apt_core.models.export import export_model
from apt_core.models.loading import build_model
from apt_core.models.spec import HeadKind
from apt_core.models.trained_modules import TrainedModules
from apt_core.report import Efficiency, InferencePoint, RunReport
from apt_core.trainer import distributed
from apt_core.trainer.engine import Engine
from apt_core.trainer.loop import APTrainer
from apt_core.trainer.measure import median_step_times
from apt_core.trainer.state import TrainerState

logger = logging.getLogger(__name__)
SPARSITY_TOLERANCE = 0.01
BENCHMARKS_BEFORE, BENCHMARKS_AFTER = "lm_eval_before.json", "lm_eval.json"


@dataclass(frozen=True)
class RunFacts:
    """What a report says about a run besides its measurements."""

    run_id: str
    name: str
    arm: str
    ablation: str
    model: str
    dataset: str
    seed: int
    target_sparsity: float
    command: str
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class InferenceSettings:
    """How inference is measured; no batch sizes: not at all."""

    batch_sizes: tuple[int, ...]
    warmup: int
    repeats: int
    dtype: torch.dtype = torch.float32
    """Both models are timed in it."""
    generates: bool = False
    """Whether the head writes, so that its speed of writing is measured too."""


class Reporter:
    """Scores during training and sums up at the end.

    Args:
        evaluator: scores the student.
        facts: what identifies the run.
        hf_config: the Hugging Face configuration of the unpruned model.
        head_kind: what the model predicts.
        tokenizer: exported beside the model.
        sample_batches: batch size -> real batches for timing.
        mean_lengths: mean number of tokens in the evaluation split: of inputs and of targets.
        inference: how to measure.
        run_dir: where ``export/`` and ``result.json`` go.
        more_splits: further splits that are scored once, at the end.
        benchmarks: run on the model before and after training; None: no benchmarks.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        facts: RunFacts,
        hf_config: Any,
        head_kind: HeadKind,
        tokenizer: Any,
        sample_batches: Callable[[int], Sequence[Mapping[str, Tensor]]],
        mean_lengths: tuple[float, float],
        inference: InferenceSettings,
        run_dir: Path,
        more_splits: Sequence[str] = (),
        benchmarks: LmEvalSettings | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.facts = facts
        self.hf_config = hf_config
        self.head_kind = head_kind
        self.tokenizer = tokenizer
        self.sample_batches = sample_batches
        self.mean_lengths = mean_lengths
        self.inference = inference
        self.run_dir = run_dir
        self.more_splits = more_splits
        self.benchmarks = benchmarks
        self._scores: dict[str, float] = {}

    def begin(self, modules: TrainedModules) -> None:
        """Run the benchmarks on the untrained model; a resumed run has the result on disk."""
        if self.benchmarks is None or distributed.rank() != 0:
            return
        before = run_lm_eval(merged_copy(modules.student), self.tokenizer, self.benchmarks)
        write_atomically(self.run_dir / BENCHMARKS_BEFORE, before.to_json())

    def evaluate(self, engine: Engine) -> dict[str, float]:
        """Score the student."""
        self._scores = self.evaluator.evaluate(engine)
        return self._scores

    def report(self, trainer: APTrainer) -> RunReport:
        """Export and measure the finished model, and write ``result.json`` (worker 0).

        Args:
            trainer: a trainer at its last step; its engine is destroyed.

        Returns:
            The report.
        """
        assert trainer.engine is not None
        metrics = self._final_metrics(trainer.engine)
        trainer.engine.release()
        trainer.engine = None
        state = trainer.state
        # Under bf16 the released weights are mixed: frozen ones rounded, trained ones in fp32.
        model = merged_copy(trainer.modules.student).float()
        points: tuple[InferencePoint, ...] = ()
        if distributed.rank() == 0:
            export_model(
                model,
                self.hf_config,
                state.structure,
                self.run_dir / "export",
                head_kind=self.head_kind,
                tokenizer=self.tokenizer,
            )
            metrics |= self._benchmark(model)
            points = self._measure(model)
        report = self._report(state, model, points, metrics)
        if distributed.rank() == 0:
            write_atomically(self.run_dir / "result.json", report.to_json())
        distributed.barrier()
        return report

    def _final_metrics(self, engine: Engine) -> dict[str, float]:
        """All metrics of all splits; a run that resumed at its last step has to score again."""
        scores = dict(self._scores or self.evaluator.evaluate(engine))
        for split in self.more_splits:
            scores |= self.evaluator.evaluate(engine, split)
        return {name.removeprefix("eval/"): value for name, value in scores.items()}

    def _benchmark(self, model: nn.Module) -> dict[str, float]:
        """Benchmarks of the finished model beside those of the untrained one."""
        if self.benchmarks is None:
            return {}
        after = run_lm_eval(model, self.tokenizer, self.benchmarks)
        write_atomically(self.run_dir / BENCHMARKS_AFTER, after.to_json())
        before = json.loads((self.run_dir / BENCHMARKS_BEFORE).read_text(encoding="utf-8"))
        scores = {f"lm_eval/{task}": score for task, score in after.scores.items()}
        scores |= {f"lm_eval_before/{task}": score for task, score in before["scores"].items()}
        return scores | {"lm_eval": after.average, "lm_eval_before": before["average"]}

    def _measure(self, model: nn.Module) -> tuple[InferencePoint, ...]:
        if not self.inference.batch_sizes:
            return ()
        device, dtype = next(model.parameters()).device, self.inference.dtype
        with torch.random.fork_rng():
            dense = build_model(self.hf_config, self.head_kind).model.to(device, dtype).eval()
        pruned = model.to(dtype)
        return tuple(
            self._measure_at(pruned, dense, _on(device, self.sample_batches(batch_size)))
            for batch_size in self.inference.batch_sizes
        )

    def _measure_at(
        self, model: nn.Module, dense: nn.Module, batches: Sequence[Mapping[str, Tensor]]
    ) -> InferencePoint:
        times = {"warmup": self.inference.warmup, "repeats": self.inference.repeats}
        inputs = [forward_inputs(model, batch) for batch in batches]
        point = measure_inference(model, dense, inputs, **times)
        if not self.inference.generates:
            return point
        tokens = TokenIds.of(self.tokenizer)
        prompts = [prompt_inputs(model, batch, tokens) for batch in batches]
        speed = measure_generation(model, dense, prompts, tokens=tokens, **times)
        return replace(
            point,
            generated_tokens_per_s=speed.tokens_per_s,
            dense_generated_tokens_per_s=speed.dense_tokens_per_s,
        )

    def _report(
        self,
        state: TrainerState,
        model: nn.Module,
        points: tuple[InferencePoint, ...],
        metrics: dict[str, float],
    ) -> RunReport:
        facts = self.facts
        main = "lm_eval" if "lm_eval" in metrics else self.evaluator.metric_name
        efficiency = Efficiency(
            num_layer_params=state.structure.num_params(),
            num_total_params=sum(p.numel() for p in model.parameters()),
            num_trainable_params_peak=state.num_trainable_params_peak,
            macs_per_sample=macs_per_sample(state.structure, *self.mean_lengths),
            peak_train_memory_gib=state.peak_memory_gib,
            inference=points,
        )
        return RunReport(
            run_id=facts.run_id,
            name=facts.name,
            arm=facts.arm,
            ablation=facts.ablation,
            model=facts.model,
            dataset=facts.dataset,
            seed=facts.seed,
            target_sparsity=facts.target_sparsity,
            sparsity=state.sparsity,
            metric_name=main,
            metric=metrics[main],
            metrics={name: value for name, value in metrics.items() if name != "metric"},
            total_steps=state.total_steps,
            train_time_s=state.train_time_s,
            eval_time_s=state.eval_time_s,
            efficiency=efficiency,
            history=tuple(state.history),
            surgeries=tuple(state.surgeries),
            structure=state.structure.to_json(),
            environment=facts.environment,
            command=facts.command,
            warnings=tuple(_warnings(facts, state, points)),
            step_time_s=median_step_times(state),
        )


def _on(device: torch.device, batches: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in batches]


def _warnings(facts: RunFacts, state: TrainerState, points: Sequence[InferencePoint]) -> list[str]:
    warnings = []
    if abs(state.sparsity - facts.target_sparsity) > SPARSITY_TOLERANCE:
        warnings.append(
            f"sparsity {state.sparsity:.3f} misses its target {facts.target_sparsity:.3f}"
        )
    slow = [p.batch_size for p in points if facts.target_sparsity > 0 and p.speedup <= 1.0]
    if slow:
        warnings.append(f"not faster than the dense model at batch size {slow}")
    return warnings


def write_atomically(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a torn one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
