"""What can be found wrong without torch, Ray or MLflow: all of it, before anything starts."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from apt_core.config import DatasetSpec, ExperimentConfig, TrainingPlan, plan_training
from apt_core.errors import ConfigError, UserError
from orchestrator.execution.address import PRIVATE, check_address, check_private_cluster
from orchestrator.execution.local_node import has_gpu_device
from orchestrator.model_files import ModelFacts, check_decoder, check_model, check_task

T = TypeVar("T")
RAY_PACKAGES = "working_dir_files"
"""Where Ray unpacks the working directories of its jobs, and deletes them again."""

GLUE_TRAIN_ROWS = {
    "cola": 8_551,
    "mnli": 392_702,
    "mrpc": 3_668,
    "qnli": 104_743,
    "qqp": 363_846,
    "rte": 2_490,
    "sst2": 67_349,
    "stsb": 5_749,
}
"""Training rows of the hub's GLUE, which lets us check a schedule before the download."""
HUB_TRAIN_ROWS = {
    "rajpurkar/squad": 87_599,
    "rajpurkar/squad_v2": 130_319,
    "abisee/cnn_dailymail": 287_113,
    "EdinburghNLP/xsum": 204_045,
    "tatsu-lab/alpaca": 52_002,
}
"""The same for other datasets that are built in."""


class Problems:
    """Collects the user's errors of independent checks."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def check(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
        """Call a check; note its `UserError` and return None if it raises one."""
        try:
            return function(*args, **kwargs)
        except UserError as error:
            self._messages.append(str(error))
            return None

    def raise_if_any(self) -> None:
        """Raise one `UserError` with every distinct message.

        Raises:
            UserError: If any check failed.
        """
        if self._messages:
            raise UserError("\n".join(dict.fromkeys(self._messages)))


@dataclass(frozen=True)
class CellFacts:
    """What preflight learned about one cell."""

    plan: TrainingPlan | None
    """None for a hub dataset of unknown size: planned when it has been fetched. An epoch is counted
    in rows here; the run itself counts windows in question answering with an encoder, where an
    epoch has as many steps or more."""
    model: ModelFacts | None
    """None for a hub model: inspected when it has been fetched."""
    data_fingerprint: str


def check_cells(configs: Iterable[ExperimentConfig], problems: Problems) -> list[CellFacts | None]:
    """Check data, model and schedule of every cell; what cells share is checked once.

    Args:
        configs: One configuration per cell.
        problems: Takes what is wrong.

    Returns:
        For each cell its facts, or None where a check failed.
    """
    from apt_core.data.preflight import DatasetFacts, check_dataset

    @cache
    def data_facts(spec: DatasetSpec, name: str) -> DatasetFacts | None:
        return problems.check(check_dataset, spec, name)

    @cache
    def model_facts(path: str, field: str) -> ModelFacts | None:
        return problems.check(check_model, path, field)

    facts: list[CellFacts | None] = []
    for config in configs:
        data = data_facts(config.data.spec, config.data.dataset)
        path = problems.check(getattr, config.model, "path")
        field = f"model.architectures.{config.model.model_type}"
        model = model_facts(path, field) if path else None
        if path:
            problems.check(check_task, path, field, config.data.spec.task)
        if path and config.switches.decoder_only:
            problems.check(check_decoder, path, field, config.arm)
        if data is None:
            facts.append(None)
            continue
        rows = data.num_train_rows or hub_train_rows(config.data.spec)
        trained = problems.check(config.data.num_trained_rows, rows) if rows else None
        plan = problems.check(plan_training, config, trained) if trained else None
        facts.append(CellFacts(plan, model, data.fingerprint))
    return facts


def hub_train_rows(spec: DatasetSpec) -> int | None:
    """Training rows of a hub dataset, where we happen to know them."""
    if spec.train_split != "train":
        return None
    subset = spec.subset or spec.path.rpartition("/")[2]
    return GLUE_TRAIN_ROWS.get(subset) if "glue" in spec.path else HUB_TRAIN_ROWS.get(spec.path)


class Place(StrEnum):
    """Where a plan is to run, and so what must be there."""

    NOWHERE = "nowhere"
    """A dry run: only the configuration, the data and the model count."""
    HERE = "here"
    """In this process: neither cluster nor tracking."""
    CLUSTER = "cluster"


def check_surroundings(config: ExperimentConfig, problems: Problems, place: Place) -> None:
    """Check what all cells share: results folder, tracking server, the cluster's address.

    Args:
        config: The sweep's configuration.
        problems: Takes what is wrong.
        place: Where it is to run.
    """
    if place is Place.NOWHERE:
        return
    problems.check(check_results_dir, config)
    if place is Place.HERE:
        problems.check(_check_gpus, config)
        return
    if config.tracking.enabled:
        problems.check(_check_tracking, config)
    if config.orchestration.mirror is not None:
        problems.check(_check_mirror, config)
    address = ray_address(config)
    problems.check(check_address, address)
    if address in PRIVATE:
        problems.check(check_private_cluster)


def ray_address(config: ExperimentConfig) -> str | None:
    """The cluster: `orchestration.address`, else $RAY_ADDRESS, else None for a private one."""
    return config.orchestration.address or os.environ.get("RAY_ADDRESS") or None


def check_results_dir(config: ExperimentConfig) -> None:
    """Check that results can be written where they are to go; no folder stays behind.

    Args:
        config: Any configuration.

    Raises:
        ConfigError: If they cannot.
    """
    folder = config.orchestration.results_path
    if RAY_PACKAGES in Path.cwd().parts and Path.cwd() in folder.absolute().parents:
        raise ConfigError(
            f"orchestration.results_dir: {folder} would lie in the job's own copy of its working "
            "directory, which Ray deletes; set it to an absolute path on storage that every node "
            "sees, or use aptune submit"
        )
    todo = "set it to a folder that you may write to"
    try:
        parent = existing_parent(folder)
        _try_to_make(folder, parent)
    except OSError as error:
        raise ConfigError(
            f"orchestration.results_dir: cannot create {folder} ({error.strerror}); {todo}"
        ) from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"orchestration.results_dir: {parent} is not writable; {todo}")


def _try_to_make(folder: Path, parent: Path) -> None:
    """Make a folder below one that exists, and take it away: a refused run leaves none behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for made in (folder, *folder.parents):
        if made.absolute() == parent:
            return
        with suppress(OSError):  # somebody else uses it by now
            made.rmdir()


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    absolute = path.absolute()
    # `Path.exists` raises where a folder may not be searched.
    return next(place for place in (absolute, *absolute.parents) if os.path.exists(place))


def _check_gpus(config: ExperimentConfig) -> None:
    """For training in this process; for sweeps, placement is planned from what there is."""
    wanted = config.hardware.gpus_per_worker
    if wanted and not has_gpu_device():
        raise ConfigError(
            f"hardware.gpus_per_worker: {wanted:g} was asked for, but this machine has no GPU; set "
            "it to 0"
        )


def _check_tracking(config: ExperimentConfig) -> None:
    from orchestrator.tracking.uri import check_tracking_uri, resolve_tracking_uri

    uri = resolve_tracking_uri(config.tracking.uri)
    if uri is not None:
        check_tracking_uri(uri)


def _check_mirror(config: ExperimentConfig) -> None:
    from orchestrator.mirror.address import check_mirror

    address = config.orchestration.mirror_address
    assert address is not None
    check_mirror(address)
