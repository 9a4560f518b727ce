"""What is sent to a cluster to run a grid: its configuration, and our sources if asked for."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from apt_core.config import ExperimentConfig, config_from_json, config_to_json

CONFIG_NAME = "grid.yaml"
PACKAGES = ("apt_core", "orchestrator", "jobs")
_SWEEP = f"sweep --config {CONFIG_NAME}"
# `exec`: what Ray stops must be the driver itself. A shell between them would be gone at once, and
# Ray would take the job for ended while trainings still save.
INSTALLED_ENTRYPOINT = (
    "command -v aptune >/dev/null || { echo 'aptune is not installed where the job runs (the "
    "head node): install it there, or submit with --with-code' >&2; exit 1; }; "
    f"exec aptune {_SWEEP}"
)
SENT_ENTRYPOINT = f"exec python -m jobs.cli {_SWEEP}"
"""``python -m`` looks into the working directory first: what was sent goes before what is there."""


def entrypoint(*, with_code: bool) -> str:
    """The shell command that runs the grid on the cluster.

    Args:
        with_code: Whether our sources are in the package.

    Returns:
        The command.
    """
    return SENT_ENTRYPOINT if with_code else INSTALLED_ENTRYPOINT


@contextmanager
def package(config: ExperimentConfig, *, with_code: bool) -> Iterator[Path]:
    """A folder with what is to be sent, for the time of the block.

    Equal content gives an equal package, which Ray sends once.

    Args:
        config: What `for_cluster` returned.
        with_code: Whether to add our sources; the libraries that they import are never sent.

    Yields:
        Path: The folder.
    """
    with tempfile.TemporaryDirectory(prefix="aptune-job-") as name:
        folder = Path(name)
        data = config_to_json(config)
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False)
        (folder / CONFIG_NAME).write_text(text, encoding="utf-8")
        if with_code:
            root = Path(__file__).parents[2]
            for package_name in PACKAGES:
                shutil.copytree(
                    root / package_name,
                    folder / package_name,
                    ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
                )
        yield folder


def for_cluster(config: ExperimentConfig, here: Path) -> ExperimentConfig:
    """A configuration as a job can use it, which starts in a folder that Ray deletes.

    Relative paths of what is here become absolute, as does the results folder; ``${NAME}`` stays
    and is filled in on the cluster. The cluster is the one that the job is on.

    Args:
        config: As the user wrote it.
        here: What relative paths are relative to.

    Returns:
        The same trainings with paths that mean the same everywhere on this file system.
    """
    data = config_to_json(config)
    data["orchestration"]["address"] = None
    for section, key in ((data["orchestration"], "results_dir"), (data["data"], "cache_dir")):
        if _is_relative(section[key]):
            section[key] = os.path.normpath(here / section[key])
    for entry in data["data"]["datasets"].values():
        entry["path"] = _absolute(entry["path"], here)
    places = data["model"]["architectures"]
    data["model"]["architectures"] = {k: _absolute(path, here) for k, path in places.items()}
    lm_eval = data["evaluation"]["lm_eval"]
    for section, key in ((data["distillation"], "teacher_path"), (lm_eval, "data_dir")):
        section[key] = _absolute(section[key], here)
    return config_from_json(data)


def _absolute(path: str | None, here: Path) -> str | None:
    """A relative path of something that is here; hub ids and other machines' paths stay."""
    if path is None or not _is_relative(path) or not (here / path).exists():
        return path
    return os.path.normpath(here / path)


def _is_relative(path: str) -> bool:
    return not path.startswith(("/", "~", "$"))
