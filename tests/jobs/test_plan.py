"""`aptune plan` as a user meets it."""

import json

import pytest

from jobs.common import EXIT_OK, EXIT_USER_ERROR, exit_code_of
from jobs.plan import app


def plan(*args: str) -> int:
    return exit_code_of(lambda: app(list(args), standalone_mode=False))


def test_a_packaged_model_is_planned_in_tables(capsys: pytest.CaptureFixture[str]) -> None:
    code = plan("-c", "demo", "--device", "a100-40", "--gpus-per-node", "2", "--steps", "350")
    assert code == EXIT_OK
    said = capsys.readouterr().out
    for text in (
        "GiB per GPU",
        "pruning, taught",
        "first cut",
        "retraining",
        "rows that fit into 36.0 GiB",
    ):
        assert text in said
    assert "on 1 x 2 a100-40: hardware.zero_stage=0 takes micro-batches of 16 rows" in said
    assert "the whole training: about" in said
    assert "40% are assumed to be reached" in said


def test_seventy_billion_on_four_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--device", "h100", "--nodes", "4", "--gpus-per-node", "8", "--batch-size", "32")
    how = ("-s", "hardware.precision=bf16", "-s", "hardware.gradient_checkpointing=true")
    arm = ("-s", "ablation=w/o_Ds", "-s", "pruning.use_kurtosis=false")
    code = plan("--model", "llama-2-70b", *where, *how, *arm, "--seq-len", "512", "--json")
    assert code == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    tuning = found["phases"][0]
    assert tuning["params"]["frozen"] == 68_976_648_192
    by_stage = {s["stage"]: s["memory_bytes"] for s in tuning["stages"]}
    # 2 bytes per weight on every worker, or a 32nd of them.
    assert by_stage[2]["weights"] > 2 * 68_976_648_192
    assert by_stage[3]["weights"] == pytest.approx(2 * 68_976_648_192 / 32, rel=0.01)
    fits = {f["stage"]: f["largest_micro_batch"] for f in found["fits"]}
    assert fits[0] == fits[1] == fits[2] == 0
    assert fits[3] >= 1
    assert found["lowest_fitting_stage"] == 3
    assert found["cluster"]["num_workers"] == 32
    # No stage helps while the engine is built: the whole model in fp32.
    assert not found["can_start"]
    assert found["whole_model_bytes"] > 4 * 68_976_648_192


def test_what_fits_nowhere_says_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        plan(
            "-c",
            "demo",
            "--device",
            "h100",
            "--memory",
            "0.1",
            "--batch-size",
            "1024",
            "--micro-batch",
            "1024",
        )
        == EXIT_OK
    )
    said = capsys.readouterr().out
    assert "do not fit under any stage" in said or "not even one row fits" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--nodes", "0"), "--nodes"),
        (("--efficiency", "2"), "--efficiency"),
        (("-s", "arm=lora_prune"), "arm: lora_prune does not go through the phases"),
        (("-s", "data.max_lenght=3"), "max_length"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(
    args: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("-c", "demo", *args) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
