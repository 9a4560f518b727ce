"""The only door to EleutherAI's lm-eval harness: its benchmarks on a model in memory."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from apt_core.errors import ConfigError
from apt_core.evaluator.lm_eval_data import BENCHMARKS, local_tasks
from apt_core.trace import span

SEED = 1234
"""Seed of the choice of solved examples: the harness's own default."""
_PREFERRED = ("acc_norm", "acc")
PAPER_SHOTS = {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0}
"""Solved examples per task, as in the Open LLM Leaderboard and the paper."""


@dataclass(frozen=True)
class LmEvalSettings:
    """What is run, and how."""

    tasks: Mapping[str, int] = field(default_factory=lambda: dict(PAPER_SHOTS))
    """Task or group of the harness -> solved examples in the prompt."""
    data_dir: Path | None = None
    """Folder with local files, see `lm_eval_data`; None: the harness's datasets from the hub."""
    limit: int | None = None
    """Items per task, the first ones; of a task with subtasks (MMLU has 57 subjects) an equal share
    of each, rounded up; None: all."""
    batch_size: int = 8
    max_length: int | None = None
    """Longer prompts lose their beginning; None: what the model's configuration says."""


@dataclass(frozen=True)
class LmEvalResult:
    """Scores of one model."""

    scores: Mapping[str, float]
    """Task -> its usual metric, in [0, 1]: acc_norm where there is one, else acc."""
    average: float
    """Mean of the scores."""
    metrics: Mapping[str, Mapping[str, float]]
    """Task -> all its metrics, averaged over the items of all subtasks."""
    num_items: Mapping[str, int]
    settings: Mapping[str, Any]
    """The settings that were used, JSON-able; data_dir only says whether the files were local."""
    versions: Mapping[str, str]
    """Of lm_eval, transformers and torch, and of every task's definition."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for a report."""
        return asdict(self)


@span("benchmarks")
def run_lm_eval(model: Any, tokenizer: Any, settings: LmEvalSettings) -> LmEvalResult:
    """Run the harness on a model in memory; one worker does it alone.

    Args:
        model: a merged Hugging Face model with a causal (or sequence-to-sequence) head.
        tokenizer: of the model.
        settings: what and how.

    Returns:
        The scores.

    Raises:
        ConfigError: the package is missing, or a file of `data_dir`, or a task is unknown.
    """
    _check_installed()
    from lm_eval.models.huggingface import HFLM

    with _quiet():
        manager = _task_manager(settings.tasks)
        tasks = {name: _load(manager, name, settings) for name in settings.tasks}
        harness_model = HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=settings.batch_size,
            max_length=settings.max_length,
        )
        results = {
            name: _evaluate(harness_model, loaded, settings) for name, loaded in tasks.items()
        }
    metrics = {name: _metrics(result) for name, result in results.items()}
    scores = {name: _main(values) for name, values in metrics.items()}
    return LmEvalResult(
        scores=scores,
        average=fmean(scores.values()),
        metrics=metrics,
        num_items={name: sum(_sizes(result).values()) for name, result in results.items()},
        settings={
            "tasks": dict(settings.tasks),
            "limit": settings.limit,
            "batch_size": settings.batch_size,
            "max_length": harness_model.max_length,
            "local_files": settings.data_dir is not None,
        },
        versions=_versions(results),
    )


def _check_installed() -> None:
    if find_spec("lm_eval") is None:
        raise ConfigError(
            "evaluation.metrics.instruction: lm_eval needs the package lm-eval, which is not "
            "installed; pip install 'aptune[eval]', or choose token_accuracy"
        )


def _task_manager(names: Mapping[str, int]) -> Any:
    """A task manager that knows the tasks; reading all of the harness's files takes a while."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent
    if names.keys() <= BENCHMARKS.keys():
        paths = [str(folder / benchmark.definition) for benchmark in BENCHMARKS.values()]
        return lm_eval.tasks.TaskManager(include_path=paths, include_defaults=False)
    return lm_eval.tasks.TaskManager()


def _load(manager: Any, name: str, settings: LmEvalSettings) -> Any:
    shots = settings.tasks[name]
    if settings.data_dir is not None:
        children = local_tasks(name, settings.data_dir)
    elif name in manager.all_groups:
        children = [{"group": name}]
    elif name in manager.all_tasks:
        children = [{"task": name}]
    else:
        raise ConfigError(
            f"evaluation.lm_eval.tasks: the harness has no task {name!r}; `lm-eval ls tasks` "
            "lists them"
        )
    # A group of ours, because that is how overrides reach tasks that the harness knows.
    group = {"group": "aptune", "task": [{**child, "num_fewshot": shots} for child in children]}
    loaded = manager.load([group])
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=SEED)
    return loaded


def _evaluate(model: Any, loaded: Any, settings: LmEvalSettings) -> Any:
    import lm_eval

    return lm_eval.evaluate(
        lm=model,
        task_dict=loaded,
        limit=_limit_of_each(settings.limit, len(loaded["tasks"])),
        bootstrap_iters=0,
        log_samples=False,
        verbosity=None,
    )


def _limit_of_each(limit: int | None, num_subtasks: int) -> int | None:
    """The harness counts items per subtask."""
    return None if limit is None else -(-limit // num_subtasks)


def _sizes(result: Any) -> dict[str, int]:
    return {task: counts["effective"] for task, counts in result["n-samples"].items()}


def _metrics(result: Any) -> dict[str, float]:
    """Every metric, averaged over all items: subtasks weigh by their size."""
    sizes = _sizes(result)
    names = {
        key
        for task in sizes
        for key, value in result["results"][task].items()
        if "," in key and "_stderr," not in key and isinstance(value, float)
    }
    return {
        name.partition(",")[0]: sum(result["results"][t][name] * n for t, n in sizes.items())
        / sum(sizes.values())
        for name in sorted(names)
    }


def _main(metrics: Mapping[str, float]) -> float:
    preferred = [name for name in _PREFERRED if name in metrics]
    return metrics[preferred[0]] if preferred else next(iter(metrics.values()))


def _versions(results: Mapping[str, Any]) -> dict[str, str]:
    packages = {name: version(name) for name in ("lm_eval", "transformers", "torch")}
    definitions = {name: {r["versions"][t] for t in _sizes(r)} for name, r in results.items()}
    return packages | {
        f"task {name}": " ".join(sorted(map(str, found))) for name, found in definitions.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The harness warns about what is meant: a model in memory, and its own few-shot rules."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
