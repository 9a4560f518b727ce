"""The format onnx: encoders, any number of rows and tokens; the others are refused."""

from pathlib import Path

import pytest
import torch

from apt_core.errors import ConfigError, UnsupportedModelError
from apt_core.evaluator.export_check import answers_of_fresh_process
from apt_core.evaluator.fresh_load import answer_of
from apt_core.models import export_onnx
from apt_core.models.export_onnx import MODEL, check_onnx, write_onnx
from apt_core.models.spec import HeadKind
from tests.pruned import write_pruned
from tests.tiny import tiny_batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "head_kind"),
    [("bert", "sequence_classification"), ("distilbert", "question_answering")],
)
def test_onnxruntime_gives_the_same_logits_whatever_the_rows_and_tokens(
    family: str, head_kind: HeadKind, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    model = write_pruned(tmp_path / "export", family, head_kind).model
    file = write_onnx(model, head_kind, tiny_batch(labels=False), tmp_path / "onnx")
    assert [f.name for f in (tmp_path / "onnx").iterdir()] == [file.name] == [MODEL]
    shapes = ((4, 9), (1, 5), (7, 14))
    batches = [tiny_batch(labels=False, rows=rows, length=length) for rows, length in shapes]
    given = answers_of_fresh_process(tmp_path / "onnx", batches, to="onnx", auto_class="")
    with torch.no_grad():
        expected = [answer_of(model(**batch)) for batch in batches]
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)
    assert expected[0].abs().max() > 0.1


@pytest.mark.parametrize("head_kind", ["seq2seq_lm", "causal_lm"])
def test_models_that_write_are_refused(head_kind: HeadKind) -> None:
    with pytest.raises(UnsupportedModelError, match="key/value cache"):
        check_onnx(head_kind)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_onnx, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnxruntime and onnxscript.*aptune\[onnx\]"):
        check_onnx("sequence_classification")
