"""Closes a run: final score, merged export, efficiency, and the run's report."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.data.tasks import HOLDOUT
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
from apt_core.files import write_json
from apt_core.models.export import export_model
from apt_core.models.loading import build_model
from apt_core.models.spec import HeadKind
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.report import Efficiency, InferencePoint, RunReport
from apt_core.trace import span
from apt_core.trainer import distributed
from apt_core.trainer.engine import Engine
from apt_core.trainer.loop import APTrainer
from apt_core.trainer.measure import median_step_times, warnings_of
from apt_core.trainer.selection import BestWeights
from apt_core.trainer.state import TrainerState

logger = logging.getLogger(__name__)
HELD_OUT = f"eval/{HOLDOUT}/metric"
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
    teacher_run_id: str | None = None
    teacher_time_s: float = 0.0


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
        best: keeps the weights that do best on the held-out rows; None: the last ones are reported.
        cost: what the target sparsity counts.
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
        best: BestWeights | None = None,
        cost: CostModel = PARAMS,
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
        self.best = best
        self.cost = cost
        self._scores: dict[str, float] = {}

    def begin(self, modules: TrainedModules) -> None:
        """Run the benchmarks on the untrained model; a resumed run has the result on disk."""
        if self.benchmarks is None or distributed.rank() != 0:
            return
        before = run_lm_eval(merged_copy(modules.student), self.tokenizer, self.benchmarks)
        write_json(self.run_dir / BENCHMARKS_BEFORE, before.to_json(), is_durable=True)

    @span("evaluation")
    def evaluate(self, engine: Engine, state: TrainerState) -> dict[str, float]:
        """Score the student, and keep its weights if the held-out rows speak for them."""
        self._scores = self.evaluator.evaluate(engine)
        if self.best is None:
            return self._scores
        metric = self.held_out(engine)
        self.best.consider(engine, state, metric)
        return self._scores | {HELD_OUT: metric}

    @span("evaluation")
    def held_out(self, engine: Engine) -> float:
        """The main metric on the held-out rows."""
        # The benchmarks are the result of a run whose main split they are.
        split = HOLDOUT if HOLDOUT in self.more_splits else None
        scores = self.evaluator.evaluate(engine, split)
        return scores["eval/metric" if split is None else HELD_OUT]

    @span("summary")
    def report(self, trainer: APTrainer) -> RunReport:
        """Export and measure the finished model, and write ``result.json`` (worker 0).

        Args:
            trainer: a trainer at its last step; its engine is destroyed.

        Returns:
            The report.
        """
        state = trainer.state
        engine = self._engine_of_choice(trainer)
        metrics = self._final_metrics(engine)
        if state.chosen_step is not None:
            metrics["chosen_step"] = state.chosen_step
        engine.release()
        trainer.engine = None
        # Under bf16 the released weights are mixed: frozen ones rounded, trained ones in fp32.
        model = merged_copy(trainer.modules.student).float()
        points: tuple[InferencePoint, ...] = ()
        if distributed.rank() == 0:
            with span("export"):
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
            write_json(self.run_dir / "result.json", report.to_json(), is_durable=True)
        distributed.barrier()
        return report

    def _engine_of_choice(self, trainer: APTrainer) -> Engine:
        """The engine with the weights that are reported."""
        assert trainer.engine is not None
        if self.best is not None and trainer.state.chosen_step != trainer.state.step:
            trainer.engine.release()
            self.best.load(trainer.modules, trainer.state)
            trainer.engine = trainer.make_engine(trainer.modules, None)
            self._scores = {}
        return trainer.engine

    @span("evaluation")
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
        write_json(self.run_dir / BENCHMARKS_AFTER, after.to_json(), is_durable=True)
        before = json.loads((self.run_dir / BENCHMARKS_BEFORE).read_text(encoding="utf-8"))
        scores = {f"lm_eval/{task}": score for task, score in after.scores.items()}
        scores |= {f"lm_eval_before/{task}": score for task, score in before["scores"].items()}
        return scores | {"lm_eval": after.average, "lm_eval_before": before["average"]}

    @span("efficiency")
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
        main = "lm_eval" if "lm_eval" in metrics else self.evaluator.metric_name
        efficiency = Efficiency(
            num_layer_params=state.structure.num_params(),
            num_total_params=sum(p.numel() for p in model.parameters()),
            num_trainable_params_peak=state.num_trainable_params_peak,
            macs_per_sample=macs_per_sample(state.structure, *self.mean_lengths),
            peak_train_memory_gib=state.peak_memory_gib,
            inference=points,
        )
        report = RunReport(
            **vars(self.facts),
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
            held_out_metric=state.chosen_metric,
            step_time_s=median_step_times(state),
            peak_memory_by_phase_gib=dict(state.peak_memory_by_phase_gib),
            cost_unit=self.cost.unit,
            cost=self.cost.total(state.structure),
            dense_cost=self.cost.total(state.original),
        )
        return replace(report, warnings=warnings_of(report))


def _on(device: torch.device, batches: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{name: tensor.to(device) for name, tensor in batch.items()} for batch in batches]
