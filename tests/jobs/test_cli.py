"""The command line as a user meets it: a fresh interpreter, its exit code, its one message."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.conftest import write_split

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 5.0
HEAVY = ("torch", "ray", "mlflow", "transformers", "deepspeed", "datasets")


def aptune(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *args],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


def nothing(project: Path) -> None:
    """The input is wrong through its arguments alone."""


def without_column(project: Path) -> None:
    for split in ("train", "validation"):
        write_split(project / "data", split, {"text": ["good"], "label": [1]})


def with_label_out_of_range(project: Path) -> None:
    write_split(project / "data", "train", {"sentence": ["good", "bad"], "label": [1, 2]})


def with_empty_split(project: Path) -> None:
    write_split(project / "data", "validation", {"sentence": [], "label": []})


def without_model(project: Path) -> None:
    for file in (project / "model").iterdir():
        file.unlink()
    (project / "model").rmdir()


def with_cut_weights(project: Path) -> None:
    weights = project / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


WRONG_INPUTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "unknown key": (nothing, ("-s", "pruning.target_sparsty=0.4"), "target_sparsity"),
    "wrong type": (nothing, ("-s", "training.batch_size=many"), "training.batch_size"),
    "impossible schedule": (nothing, ("-s", "pruning.window=50 steps"), "pruning.window"),
    "sparsity 1.2": (nothing, ("--sparsity_level", "1.2"), "pruning.target_sparsity"),
    "missing column": (without_column, (), "sentence"),
    "label out of range": (with_label_out_of_range, (), "label"),
    "empty split": (with_empty_split, (), "validation"),
    "missing model": (without_model, (), "does not exist"),
    "truncated weights": (with_cut_weights, (), "model.safetensors has"),
    "unreachable tracking": (
        nothing,
        ("-s", "tracking.enabled=true", "-s", "tracking.uri=http://127.0.0.1:9"),
        "tracking.uri",
    ),
    "fp16 on CPU": (nothing, ("-s", "hardware.precision=fp16"), "hardware.precision"),
    "unknown arm": (nothing, ("-s", "arm=prune"), "arm"),
    "unknown cluster": (
        nothing,
        ("-s", "orchestration.address=127.0.0.1:9"),
        "orchestration.address",
    ),
    "too many workers": (
        nothing,
        ("-s", "hardware.num_workers=4096", "-s", "training.batch_size=4096"),
        "asks for 4096 workers with 1 CPU each, and only",
    ),
    "unknown recipe": (nothing, ("-c", "no_such_recipe"), "no recipe of that name; recipes: "),
    "unknown option": (nothing, ("--sparsity", "0.4"), "--sparsity"),
}


@pytest.mark.parametrize("command", ["sweep", "train"])
@pytest.mark.parametrize("what", WRONG_INPUTS)
def test_wrong_input_ends_with_code_2_and_one_message(
    project: Path, what: str, command: str
) -> None:
    spoil, args, told = WRONG_INPUTS[what]
    spoil(project)
    began = time.monotonic()
    done = aptune(command, "-c", str(project / "config.yaml"), *args)
    took = time.monotonic() - began
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error:")
    assert done.stderr.count("error:") == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    assert not (project / "runs" / "small").exists()  # nothing was started
    assert took < LIMIT_S


@pytest.mark.parametrize(
    "command", [("submit", "-c", "demo"), ("status",), ("logs",), ("stop",), ("resume", "demo")]
)
def test_a_cluster_that_is_not_there_is_told_in_seconds_with_what_to_do(
    command: tuple[str, ...],
) -> None:
    began = time.monotonic()
    done = aptune(*command, "--address", "http://127.0.0.1:9")
    took = time.monotonic() - began
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: --address: no Ray job server at http://127.0.0.1:9")
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr
    assert took < LIMIT_S


def test_all_problems_are_told_at_once(project: Path) -> None:
    without_column(project)
    with_cut_weights(project)
    done = aptune("sweep", "-c", str(project / "config.yaml"))
    assert done.returncode == 2
    assert "sentence" in done.stderr
    assert "model.safetensors" in done.stderr


def test_preflight_imports_nothing_heavy(project: Path) -> None:
    code = (
        "import sys; from jobs.common import read_config; from jobs.planning import make_plan;"
        f"make_plan(read_config([{str(project / 'config.yaml')!r}], []), []);"
        f"print(*(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_help_lists_the_commands_and_shows_examples() -> None:
    done = aptune("--help")
    assert done.returncode == 0
    for command in ("train", "sweep", "submit", "status", "report", "doctor", "ui"):
        assert command in done.stdout
    assert "aptune sweep -c demo" in done.stdout


def test_the_wanted_flags_are_understood_as_spelled(project: Path) -> None:
    flags = ["--model_type", "mine", "--dataset", "mine", "--sparsity_level", "0.5"]
    flags += ["--ablation", "w/o_AT", "--dry-run"]
    command = ["jobs.train", "-c", str(project / "config.yaml"), *flags]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ablation: w/o_AT" in done.stdout
    assert "target_sparsity: 0.5" in done.stdout
