"""`aptune doctor`: is this machine ready, and what to do where it is not."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from apt_core.config import ExperimentConfig
from apt_core.errors import UserError
from jobs.common import (
    EXIT_FAILED,
    EXIT_OK,
    ConfigOption,
    SetOption,
    make_console,
    read_config,
    run_app,
)
from orchestrator.execution.local_node import lacks_bf16_units

OLDEST_PYTHON = (3, 11)
TESTED = {
    "torch": "2.13.",
    "ray": "2.60.",
    "deepspeed": "0.19.",
    "transformers": "5.",
    "datasets": "5.",
    "mlflow": "3.17.",
    "pyarrow": "25.",
    "pydantic": "2.",
    "safetensors": "",
    "typer": "",
    "rich": "",
}
"""Versions that the tests run with, as prefixes; an empty one: any."""
ENOUGH_MEMORY_GIB, LITTLE_MEMORY_GIB = 4.0, 2.0
ENOUGH_DISK_GIB, LITTLE_DISK_GIB = 5.0, 1.0
GIB = 2.0**30


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One row of the table."""

    what: str
    verdict: Verdict
    found: str
    todo: str = ""


app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog="Example:\n\naptune doctor -c demo")
def doctor(config: ConfigOption = None, sets: SetOption = None) -> int:
    """Check versions, devices, memory, disk, Ray, the tracking server and the packaged files."""
    resolved = read_config(config, sets or [])
    findings = [finding for check in CHECKS for finding in check(resolved)]
    make_console().print(table_of(findings))
    return EXIT_FAILED if any(f.verdict is Verdict.FAIL for f in findings) else EXIT_OK


def table_of(findings: Sequence[Finding]) -> Table:
    """The findings as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding in findings:
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        table.add_row(finding.what, verdict, Text(finding.found), Text(finding.todo))
    return table


def _python(config: ExperimentConfig) -> list[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return [Finding("python", Verdict.OK, found)]
    return [Finding("python", Verdict.FAIL, found, "install Python 3.11 or newer")]


def _versions(config: ExperimentConfig) -> list[Finding]:
    return [_version(name, tested) for name, tested in TESTED.items()]


def _version(name: str, tested: str) -> Finding:
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        todo = "install aptune with its constraints file"
        return Finding(name, Verdict.FAIL, "not installed", todo)
    if found.startswith(tested):
        return Finding(name, Verdict.OK, found)
    return Finding(name, Verdict.WARN, found, f"tested with {tested}x; install that if it fails")


def _devices(config: ExperimentConfig) -> list[Finding]:
    """Import torch: the one check that tells whether it works, and which devices it sees."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("devices", Verdict.FAIL, str(error), "reinstall torch for this machine")]
    cpus = len(os.sched_getaffinity(0))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = ", ".join([f"{cpus} CPU cores", *gpus])
    if config.hardware.gpus_per_worker > 0 and not gpus:
        todo = "set hardware.gpus_per_worker=0, or install a torch build for your GPU"
        return [Finding("devices", Verdict.FAIL, found, todo)]
    hardware = config.hardware
    if hardware.precision == "bf16" and not hardware.gpus_per_worker and lacks_bf16_units():
        todo = "set hardware.precision=fp32: bf16 is many times slower here"
        return [Finding("devices", Verdict.WARN, f"{found} without bf16 units", todo)]
    return [Finding("devices", Verdict.OK, found)]


def _memory(config: ExperimentConfig) -> list[Finding]:
    import psutil

    free = psutil.virtual_memory().available / GIB
    todo = "close programs, or set orchestration.max_concurrent_trials=1"
    return [_amount("free memory", free, ENOUGH_MEMORY_GIB, LITTLE_MEMORY_GIB, todo)]


def _disk(config: ExperimentConfig) -> list[Finding]:
    from jobs.preflight import existing_parent

    folder = existing_parent(config.orchestration.results_path)
    free = shutil.disk_usage(folder).free / GIB
    todo = "free some space, or set orchestration.results_dir"
    return [_amount(f"free disk at {folder}", free, ENOUGH_DISK_GIB, LITTLE_DISK_GIB, todo)]


def _amount(what: str, gib: float, enough: float, little: float, todo: str) -> Finding:
    found = f"{gib:.1f} GiB"
    if gib >= enough:
        return Finding(what, Verdict.OK, found)
    return Finding(what, Verdict.WARN if gib >= little else Verdict.FAIL, found, todo)


def _results_dir(config: ExperimentConfig) -> list[Finding]:
    from jobs.preflight import check_results_dir

    try:
        check_results_dir(config)
    except UserError as error:
        found, _, todo = str(error).removeprefix("orchestration.results_dir: ").partition("; ")
        return [Finding("results_dir", Verdict.FAIL, found, todo)]
    return [Finding("results_dir", Verdict.OK, str(config.orchestration.results_path))]


def _ray(config: ExperimentConfig) -> list[Finding]:
    """What a private cluster needs from this machine; nothing is started."""
    from jobs.preflight import ray_address
    from orchestrator.execution.address import check_address

    address = ray_address(config)
    try:
        check_address(address)
    except UserError as error:
        return [Finding("ray", Verdict.FAIL, f"{address} does not answer", str(error))]
    if address is not None:
        return [Finding("ray", Verdict.OK, f"cluster at {address}")]
    if importlib.util.find_spec("ray") is None:
        todo = "install ray, or train with aptune train --local"
        return [Finding("ray", Verdict.FAIL, "not installed", todo)]
    shared = Path("/dev/shm")
    if shared.is_dir() and not os.access(shared, os.W_OK):
        return [Finding("ray", Verdict.FAIL, f"{shared} is not writable", "mount it writable")]
    return [Finding("ray", Verdict.OK, "can start a private cluster here")]


def _tracking(config: ExperimentConfig) -> list[Finding]:
    from orchestrator.tracking.uri import check_tracking_uri, redact, resolve_tracking_uri

    if not config.tracking.enabled:
        return [Finding("tracking", Verdict.OK, "switched off")]
    uri = resolve_tracking_uri(config.tracking.uri)
    if uri is None:
        return [Finding("tracking", Verdict.OK, "a local MLflow server, started when needed")]
    try:
        check_tracking_uri(uri)
    except UserError as error:
        return [Finding("tracking", Verdict.FAIL, redact(uri), str(error))]
    return [Finding("tracking", Verdict.OK, redact(uri))]


def _packaged_files(config: ExperimentConfig) -> list[Finding]:
    """Every recipe loads, and the embedded model's weights are whole."""
    from apt_core.config import load_config
    from jobs.common import recipe_files
    from orchestrator.model_files import check_model

    findings = []
    todo = "reinstall aptune"
    try:
        facts = check_model("embedded:toy-roberta", "embedded model")
        size = f"toy-roberta, {facts.num_params:,} parameters" if facts else "toy-roberta"
        findings.append(Finding("embedded model", Verdict.OK, size))
    except (UserError, OSError) as error:
        findings.append(Finding("embedded model", Verdict.FAIL, str(error), todo))
    recipes = recipe_files()
    try:
        for recipe in recipes:
            load_config([recipe])
        names = ", ".join(recipe.stem for recipe in recipes)
        verdict = Verdict.OK if recipes else Verdict.FAIL
        findings.append(Finding("recipes", verdict, names or "none found", "" if recipes else todo))
    except UserError as error:
        findings.append(Finding("recipes", Verdict.FAIL, str(error), todo))
    return findings


CHECKS: tuple[Callable[[ExperimentConfig], list[Finding]], ...] = (
    _python,
    _versions,
    _devices,
    _memory,
    _disk,
    _results_dir,
    _ray,
    _tracking,
    _packaged_files,
)


if __name__ == "__main__":
    run_app(app)
