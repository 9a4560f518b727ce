"""A finished run is shipped whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from apt_core.config import ExperimentConfig
from apt_core.errors import ConfigError, ExportError, UnsupportedModelError
from apt_core.evaluator.export_check import Comparison
from apt_core.evaluator.export_speed import SpeedPoint
from apt_core.models.export import load_pruned
from apt_core.report import RunReport
from apt_core.trainer import build_export
from apt_core.trainer.build import run_training
from apt_core.trainer.build_export import RECORD, Shipment
from tests.tiny_families import family_experiment
from tests.tiny_run import tiny_experiment


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentConfig, RunReport]:
    root = tmp_path_factory.mktemp("run")
    config = tiny_experiment(root, "evaluation.latency_repeats=2")
    return root / "trial", config, run_training(config, run_dir=root / "trial", run_id="abc")


def answer_equal(monkeypatch: pytest.MonkeyPatch, difference: float = 0.0) -> None:
    """Spare the fresh process, which `test_export_check` looks at."""
    monkeypatch.setattr(
        build_export, "check_export", lambda *_, **__: Comparison(difference, 1.0, 1e-5, 24)
    )


@pytest.mark.slow
def test_the_whole_way_in_a_fresh_process_without_aptune(
    finished: tuple[Path, ExperimentConfig, RunReport], tmp_path: Path
) -> None:
    run_dir, config, report = finished
    record = Shipment(run_dir, config, report, to="hf").ship(tmp_path / "out")
    assert record.check.is_equal
    assert record.check.num_rows == 24
    assert record.run_id == "abc"
    stored = json.loads((tmp_path / "out" / RECORD).read_text())
    assert stored["check"]["is_equal"]
    assert stored["speed"][0]["speedup"] == record.speed[0].speedup


def test_what_is_shipped_loads_with_its_tokenizer_and_its_classes(
    finished: tuple[Path, ExperimentConfig, RunReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_equal(monkeypatch)
    run_dir, config, report = finished
    record = Shipment(run_dir, config, report, to="hf").ship(tmp_path / "out")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer("the film was good", return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**batch).logits
        expected = load_pruned(run_dir / "export")(**batch).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert [point.batch_size for point in record.speed] == [24]  # the split has no more rows
    assert f"{report.metric:.4g}" in (tmp_path / "out" / "README.md").read_text()
    assert str(tmp_path.parent) not in (tmp_path / "out" / "README.md").read_text()


def test_an_export_that_is_not_faster_says_so(
    finished: tuple[Path, ExperimentConfig, RunReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_equal(monkeypatch)
    monkeypatch.setattr(build_export, "measure_speed", lambda *_, **__: SpeedPoint(24, 3.0, 2.0))
    run_dir, config, report = finished
    record = Shipment(run_dir, config, report, to="hf").ship(tmp_path / "out")
    (warning,) = record.warnings
    assert "not faster than the unpruned model at batch size 24" in warning
    assert warning in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / RECORD).read_text())["warnings"] == [warning]


def test_other_logits_are_refused_and_leave_nothing_behind(
    finished: tuple[Path, ExperimentConfig, RunReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir, config, report = finished
    shipment = Shipment(run_dir, config, report, to="hf")
    answer_equal(monkeypatch)
    shipment.ship(tmp_path / "out")
    before = (tmp_path / "out" / RECORD).read_text()
    answer_equal(monkeypatch, difference=2e-5)
    with pytest.raises(ExportError, match=r"differ .* by 2e-05 \(allowed: 1e-05, over 24 rows\)"):
        shipment.ship(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / RECORD).read_text() == before


def test_a_folder_that_is_no_export_is_not_replaced(
    finished: tuple[Path, ExperimentConfig, RunReport], tmp_path: Path
) -> None:
    run_dir, config, report = finished
    (tmp_path / "precious").write_text("data")
    with pytest.raises(ConfigError, match="is no export"):
        Shipment(run_dir, config, report, to="hf").ship(tmp_path)
    assert (tmp_path / "precious").read_text() == "data"


def test_a_model_that_writes_has_no_onnx_and_is_told_before_its_data_is_read(
    tmp_path: Path,
) -> None:
    config = family_experiment(tmp_path, "llama", "instruction")
    report = run_training(config, run_dir=tmp_path / "trial", run_id="abc")
    with pytest.raises(UnsupportedModelError, match="--to onnx"):
        Shipment(tmp_path / "trial", config, report, to="onnx")
