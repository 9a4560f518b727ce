"""Who scores a run and sums it up, from configuration."""

import os
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from apt_core.config import ExperimentConfig
from apt_core.data.loader import DatasetLoader
from apt_core.errors import ConfigError
from apt_core.evaluator.evaluator import Evaluator
from apt_core.evaluator.generation import GenerationSettings
from apt_core.evaluator.lm_eval import LmEvalSettings
from apt_core.evaluator.predict import make_predictor
from apt_core.evaluator.scorers import make_scorer, needs_text
from apt_core.models.loading import LoadedModel
from apt_core.models.spec import GENERATIVE, HeadKind
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.trainer.build_parts import DTYPES, eval_batches_on
from apt_core.trainer.build_teacher import external_teacher_run
from apt_core.trainer.reporter import InferenceSettings, Reporter, RunFacts
from apt_core.trainer.selection import BestWeights

PACKAGES = ("torch", "transformers", "deepspeed", "ray", "safetensors")
LM_EVAL, TOKEN_ACCURACY = "lm_eval", "token_accuracy"


def build_reporter(
    config: ExperimentConfig,
    loaded: LoadedModel,
    tokenizer: Any,
    loader: DatasetLoader,
    *,
    device: torch.device,
    run_dir: Path,
    facts: RunFacts,
    best: BestWeights | None = None,
    cost: CostModel = PARAMS,
) -> Reporter:
    """Who scores and sums up."""
    evaluation = config.evaluation
    batch_sizes = evaluation.inference_batch_size if evaluation.measure_efficiency else ()
    return Reporter(
        build_evaluator(config, loaded, loader, tokenizer, device=device),
        facts=facts,
        hf_config=loaded.config,
        head_kind=loaded.model_map.head_kind,
        tokenizer=tokenizer,
        sample_batches=loader.sample_batches,
        mean_lengths=(loader.mean_eval_length, loader.mean_eval_target_length),
        more_splits=loader.eval_splits[1:],
        benchmarks=_lm_eval_settings(config, loaded.model_map.head_kind),
        inference=InferenceSettings(
            batch_sizes,
            evaluation.latency_warmup,
            evaluation.latency_repeats,
            DTYPES[config.hardware.precision],
            generates=loaded.model_map.head_kind in GENERATIVE,
        ),
        run_dir=run_dir,
        best=best,
        cost=cost,
    )


def build_evaluator(
    config: ExperimentConfig,
    loaded: LoadedModel,
    loader: DatasetLoader,
    tokenizer: Any,
    *,
    device: torch.device,
) -> Evaluator:
    """Who asks the student and scores its answers."""
    spec, evaluation, head_kind = config.data.spec, config.evaluation, loaded.model_map.head_kind
    metric = _metric_while_training(config)
    return Evaluator(
        batches=partial(eval_batches_on, loader, device),
        references=loader.references,
        predictor=make_predictor(
            head_kind,
            tokenizer=tokenizer,
            regression=spec.task == "regression",
            generation=_generation(config, metric),
        ),
        scorer=make_scorer(
            spec.task,
            head_kind,
            label_words=spec.label_words or spec.labels,
            max_answer_length=evaluation.max_answer_length,
            null_threshold=evaluation.null_score_threshold,
        ),
        metric_name=metric,
    )


def _metric_while_training(config: ExperimentConfig) -> str:
    """Benchmarks take too long for it: meanwhile the expected answers are scored token by token."""
    return TOKEN_ACCURACY if config.metric_name == LM_EVAL else config.metric_name


def _generation(config: ExperimentConfig, metric: str) -> GenerationSettings | None:
    """How to write, where the metric needs text; None: the expected text is scored."""
    generation = config.evaluation.generation
    if not generation.always and not needs_text(config.data.spec.task, metric):
        return None
    return GenerationSettings(
        max_new_tokens=generation.max_new_tokens or config.data.max_target_length,
        num_beams=generation.num_beams,
        length_penalty=generation.length_penalty,
        no_repeat_ngram_size=generation.no_repeat_ngram_size,
    )


def _lm_eval_settings(config: ExperimentConfig, head_kind: HeadKind) -> LmEvalSettings | None:
    """The benchmarks, where they are the main metric."""
    if config.metric_name != LM_EVAL:
        return None
    if head_kind not in GENERATIVE:
        raise ConfigError(
            f"evaluation.metrics.instruction: {LM_EVAL} needs a model that writes text, this one "
            f"has a head for {head_kind}"
        )
    wanted = config.evaluation.lm_eval
    return LmEvalSettings(
        tasks=wanted.tasks,
        data_dir=wanted.data_path,
        limit=wanted.limit,
        batch_size=wanted.batch_size,
    )


def run_facts(config: ExperimentConfig, run_id: str, command: str) -> RunFacts:
    """What the report says about the run before anything is measured."""
    teacher = external_teacher_run(config)
    return RunFacts(
        run_id=run_id,
        name=config.name,
        arm=config.arm,
        ablation=config.ablation,
        model=config.model.model_type,
        dataset=config.data.dataset,
        seed=config.training.seed,
        target_sparsity=config.pruning.target_sparsity if config.switches.prune else 0.0,
        command=command,
        environment=environment(config),
        teacher_run_id=None if teacher is None else teacher.run_id,
        teacher_time_s=0.0 if teacher is None else teacher.train_time_s,
    )


def environment(config: ExperimentConfig) -> dict[str, Any]:
    """Versions, device and hardware settings, for reports."""
    hardware = config.hardware
    on_gpu = hardware.gpus_per_worker > 0 and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "cpu_count": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "precision": hardware.precision,
        "engine": hardware.engine,
        "zero_stage": hardware.zero_stage if hardware.engine == "deepspeed" else None,
        "num_workers": hardware.num_workers,
    }
