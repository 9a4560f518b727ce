"""`aptune bench` as a user meets it: what it would do, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.bench import app
from jobs.common import EXIT_OK, EXIT_USER_ERROR, exit_code_of
from tests.tiny_run import write_model

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "mlflow", "transformers", "deepspeed", "datasets")


def bench(*args: str) -> int:
    return exit_code_of(lambda: app(list(args), standalone_mode=False))


def test_a_dry_run_says_what_would_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = bench("-c", "demo", "--dry-run", "--repeats", "7", "--out", str(out), "--density", "0.5")
    assert code == EXIT_OK
    said = capsys.readouterr().out
    assert "pruning, taught" in said
    assert "7 after 3" in said
    assert "32 x 64 tokens" in said
    assert "nothing was measured" in said
    # The aims after the cuts are for density 0.4.
    assert "<= 1.55" in said
    assert "<= 0.50" not in said
    assert not out.exists()


def test_a_dry_run_loads_no_gpu_stack() -> None:
    code = (
        "import sys; from jobs.bench import app; "
        "app(['-c', 'demo', '--dry-run'], standalone_mode=False); "
        f"print('loaded', *(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == ["loaded"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--density", "1.2"), "--density"),
        (("--repeats", "0"), "--repeats"),
        (("--seq-len", "many"), "--seq-len"),
        (("-s", "arm=lora_prune"), "arm: lora_prune does not go through the phases"),
        (("-s", "ablation=w/o_Ap"), "arm: apt w/o_Ap does not go through the phases"),
        (("-s", "hardware.num_workers=2"), "hardware.num_workers"),
        (("-s", "hardware.zero_stage=3"), "hardware.zero_stage"),
        (("-s", "pruning.target_sparsty=0.4"), "target_sparsity"),
        (("--batch-size", "24"), "training.batch_size"),
        (("-s", "model.architectures.toy=/nowhere"), "/nowhere does not exist"),
        (
            ("-s", "model.architectures.toy=/nowhere", "--random-weights"),
            "/nowhere/config.json does not exist",
        ),
        (("-s", "data.dataset=cnn_dm"), "model.architectures.toy"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(
    args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("-c", "demo", "--dry-run", *args) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_rows_that_are_too_long_are_refused_when_the_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "model")
    args = ("-s", f"model.architectures.toy={model}", "-s", "hardware.engine=torch")
    out = ("--out", str(tmp_path / "out"))
    assert bench("-c", "demo", "--no-memory", *args, *out) == EXIT_USER_ERROR
    assert "--seq-len: the model has positions for 38 tokens, got 64" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_writes_and_prints_the_same_json(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    sets = (f"model.architectures.toy={model}", "arm=lora", "training.micro_batch_size=null")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "jobs.cli", "bench", "-c", "demo", "--json"),
            *(part for setting in sets for part in ("-s", setting)),
            *("--batch-size", "4", "--seq-len", "9", "--repeats", "1", "--out", str(tmp_path)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "bench.json").read_text())
    # DeepSpeed is the engine unless told otherwise, and memory has been measured.
    assert printed["environment"]["engine"] == "deepspeed"
    assert [m["phase"] for m in printed["memory"]] == ["control", "tuning"]
    assert printed["memory"][0]["tensors_gib"] > 0
