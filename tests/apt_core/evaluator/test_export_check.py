"""An export is reloaded in a fresh process; a wrong one does not pass."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apt_core.errors import ExportError
from apt_core.evaluator.export_check import Comparison, check_export
from apt_core.models.uniform import write_uniform
from tests.pruned import inputs, write_pruned


def test_the_limit_grows_with_the_logits_but_never_below_one() -> None:
    assert Comparison(2e-5, 3.0, 1e-5, 4).is_equal
    assert not Comparison(4e-5, 3.0, 1e-5, 4).is_equal
    assert not Comparison(2e-5, 0.1, 1e-5, 4).is_equal
    assert not Comparison(float("inf"), 3.0, 1e-5, 4).is_equal


@pytest.mark.slow
def test_a_right_export_passes_and_a_changed_one_does_not(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "llama", "causal_lm")
    folder = tmp_path / "uniform"
    write_uniform(exported, folder)
    batches = [inputs("causal_lm")]
    where = {"to": "uniform", "auto_class": "AutoModelForCausalLM"}
    right = check_export(exported.model, batches, folder, **where)
    assert right.is_equal
    assert right.num_rows == 4
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= 1.01
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert not check_export(exported.model, batches, folder, **where).is_equal


def test_what_cannot_be_loaded_is_told_with_the_processes_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    exported = write_pruned(tmp_path / "export", "bert", "sequence_classification")
    batches = [inputs("sequence_classification")]
    with pytest.raises(ExportError, match=r"fresh process:\n(.|\n)*model_type"):
        check_export(exported.model, batches, tmp_path, to="uniform", auto_class="AutoModel")


def test_a_nan_is_no_small_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from apt_core.evaluator import export_check

    exported = write_pruned(tmp_path / "export", "bert", "sequence_classification")
    torn = [torch.full((4, 3), float("nan"))]
    monkeypatch.setattr(export_check, "answers_of_fresh_process", lambda *_, **__: torn)
    batches = [inputs("sequence_classification")]
    result = check_export(exported.model, batches, tmp_path, to="hf", auto_class="")
    assert not result.is_equal
