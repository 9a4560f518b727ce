"""What runs in the fresh process, called here."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from apt_core.evaluator import fresh_load
from apt_core.models.uniform import write_uniform
from tests.pruned import inputs, write_pruned


def test_spans_are_both_ends_one_after_the_other() -> None:
    ends = {"start_logits": torch.zeros(2, 3), "end_logits": torch.ones(2, 3)}
    assert fresh_load.answer_of(ends).tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
    assert fresh_load.answer_of({"logits": torch.ones(1)}).tolist() == [1.0]


def test_batches_come_back_in_their_order() -> None:
    tensors = {"10.a": 3, "2.a": 2, "2.b": 1}
    assert fresh_load.split_batches(tensors) == [{"a": 2, "b": 1}, {"a": 3}]


def test_a_job_is_answered_batch_by_batch(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "llama", "causal_lm")
    write_uniform(exported, tmp_path / "uniform")
    job = {
        "format": "uniform",
        "folder": str(tmp_path / "uniform"),
        "auto_class": "AutoModelForCausalLM",
    }
    (tmp_path / fresh_load.JOB).write_text(json.dumps(job))
    batch = inputs("causal_lm")
    tensors = {f"{i}.{n}": t[: i + 1].clone() for i in range(2) for n, t in batch.items()}
    save_file(tensors, tmp_path / fresh_load.INPUTS)
    fresh_load.main(tmp_path)
    given = load_file(tmp_path / fresh_load.OUTPUTS)
    with torch.no_grad():
        expected = exported.model(**{n: t[:2] for n, t in batch.items()}).logits
    torch.testing.assert_close(given["1"], expected, atol=1e-5, rtol=0)
    assert given["0"].shape[0] == 1


def test_code_beside_a_model_is_run_for_the_format_hf_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import transformers

    seen = []

    class Auto:
        @staticmethod
        def from_pretrained(folder, **options):
            seen.append(options.get("trust_remote_code", False))
            return torch.nn.Identity()

    monkeypatch.setattr(transformers, "AutoModelForCausalLM", Auto)
    for to in ("hf", "uniform"):
        job = {"format": to, "folder": str(tmp_path), "auto_class": "AutoModelForCausalLM"}
        fresh_load.load_for_answers(job)
    assert seen == [True, False]
