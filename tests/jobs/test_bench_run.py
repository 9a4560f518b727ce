"""A plan is checked before torch is loaded; a run leaves JSON whose ratios are its medians'."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.errors import UserError
from jobs.bench_run import plan_bench, run_plan
from jobs.bench_tracked import BENCH_FILE
from tests.tiny_bench import SETTINGS
from tests.tiny_run import tiny_experiment

QUICK = replace(SETTINGS, measure_memory=False)


@pytest.fixture(autouse=True)
def _small_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apt_core.bench.device_rates.COPIED_BYTES", 2**20)


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "DS_ACCELERATOR"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("DS_ACCELERATOR")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def results(tmp_path: Path, *overrides: str):
    config = tiny_experiment(tmp_path, f"orchestration.results_dir={tmp_path}", *overrides)
    return plan_bench(config, QUICK, None, is_dry=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


def test_a_run_leaves_json_whose_ratios_are_quotients_of_its_medians(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = results(root)
    assert plan.out == root / "aptune" / "bench"
    assert run_plan(plan, as_json=False) == 0
    found = json.loads((plan.out / BENCH_FILE).read_text())
    medians = {step["phase"]: step["seconds"]["median"] for step in found["training"]}
    assert list(medians) == [phase.name for phase in plan.phases]
    for step in found["training"]:
        ratio = step["ratio_to_control"]
        assert ratio["value"] == medians[step["phase"]] / medians["control"]
        assert ratio["missed"] == (ratio["aim"] is not None and ratio["value"] > ratio["aim"])
        bound = step["bound"]["seconds"] / step["seconds"]["median"]
        assert step["fraction_of_bound"] == bound
    for point in found["inference"]:
        quotient = point["dense"]["seconds"]["median"] / point["pruned"]["seconds"]["median"]
        assert point["speedup"]["value"] == quotient
    assert found["settings"]["arm"] == "apt"
    assert found["settings"]["density"] == 0.4
    assert found["memory"] == []
    said = capsys.readouterr().out
    assert "retraining" in said
    assert "speed-up" in said
    assert str(plan.out / BENCH_FILE) in said.replace("\n", "")


def test_json_is_printed_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = results(root, "arm=lora")
    assert run_plan(plan, as_json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((plan.out / BENCH_FILE).read_text())
    assert [step["phase"] for step in printed["training"]] == ["control", "tuning"]


def test_everything_that_is_wrong_is_told_at_once(root: Path) -> None:
    config = tiny_experiment(root, "arm=llm_pruner", "hardware.num_workers=2")
    with pytest.raises(UserError, match=r"arm: llm_pruner(.|\n)*hardware\.num_workers"):
        plan_bench(config, QUICK, None, is_dry=True)


def test_random_weights_need_no_weights(root: Path, tmp_path: Path) -> None:
    tiny_experiment(root)
    folder = tmp_path / "shape"
    folder.mkdir()
    (folder / "config.json").write_text((root / "model" / "config.json").read_text())
    config = tiny_experiment(root, f"model.architectures.tiny={folder}")
    with pytest.raises(UserError, match="no tokenizer"):
        plan_bench(config, QUICK, tmp_path, is_dry=True)
    plan = plan_bench(config, replace(QUICK, random_weights=True), tmp_path, is_dry=True)
    assert plan.out == tmp_path
