"""The end of a run: export, measurement, warnings, and a report that is never torn."""

from dataclasses import replace

import pytest
import torch

from apt_core.evaluator.efficiency import GenerationSpeed
from apt_core.report import InferencePoint, RunReport
from apt_core.trainer import reporter
from apt_core.trainer.build import build_trainer
from apt_core.trainer.reporter import InferenceSettings
from tests.tiny_run import tiny_experiment

ID = "0123456789abcdef"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("reporter")


@pytest.fixture
def trainer(root, tmp_path):
    """A short run without surgery."""
    config = tiny_experiment(root, "arm=lora", "training.max_steps=4", "training.eval_every=2")
    return build_trainer(config, run_dir=tmp_path, run_id=ID, command="again")


def with_target(trainer, target):
    trainer.evaluator.facts = replace(trainer.evaluator.facts, target_sparsity=target)
    return trainer.train()


def test_the_engine_is_given_back_before_anything_is_measured(trainer, tmp_path):
    report = trainer.train()
    assert trainer.engine is None
    assert (tmp_path / "export" / "model.safetensors").is_file()
    assert (tmp_path / "export" / "tokenizer.json").is_file()
    assert RunReport.load(tmp_path / "result.json").run_id == report.run_id == ID


def test_the_report_counts_the_merged_model(trainer):
    report = trainer.train()
    exported = sum(
        p.numel() for n, p in trainer.modules.student.named_parameters() if "lora_" not in n
    )
    efficiency = report.efficiency
    assert efficiency.num_total_params == exported
    assert efficiency.num_layer_params == trainer.state.original.num_params() < exported
    assert efficiency.macs_per_sample > 0
    assert efficiency.inference == ()
    assert report.metric == report.history[-1].metric == report.metrics["accuracy"]


@pytest.mark.parametrize(("target", "warns"), [(0.0, False), (0.009, False), (0.5, True)])
def test_a_missed_sparsity_is_a_warning(trainer, target, warns):
    report = with_target(trainer, target)
    expected = ("sparsity 0.000 misses its target 0.500",) if warns else ()
    assert report.warnings == expected


@pytest.mark.parametrize(("latency", "warns"), [(1.0, False), (2.0, True), (3.0, True)])
def test_a_pruned_model_that_is_not_faster_is_a_warning(trainer, monkeypatch, latency, warns):
    measured = []

    def measure(model, dense, batches, *, warmup, repeats):
        measured.append((model, dense, batches, warmup, repeats))
        return InferencePoint(len(batches[0]["input_ids"]), latency, 1.0, 0.0, 2.0)

    monkeypatch.setattr(reporter, "measure_inference", measure)
    trainer.evaluator.inference = InferenceSettings((4, 8), 2, 3, torch.bfloat16)
    report = with_target(trainer, 0.005)
    expected = ("not faster than the dense model at batch size [4, 8]",) if warns else ()
    assert report.warnings == expected
    assert [point.batch_size for point in report.efficiency.inference] == [4, 8]
    for model, dense, batches, warmup, repeats in measured:
        assert {p.dtype for m in (model, dense) for p in m.parameters()} == {torch.bfloat16}
        assert not model.training
        assert not dense.training
        assert all("labels" not in batch for batch in batches)
        assert (warmup, repeats) == (2, 3)


def test_a_head_that_writes_is_timed_writing_too(trainer, monkeypatch):
    point = InferencePoint(4, 1.0, 1.0, 0.0, 2.0)
    monkeypatch.setattr(reporter, "measure_inference", lambda *_, **__: point)
    monkeypatch.setattr(reporter, "prompt_inputs", lambda model, batch, tokens: batch["labels"])
    written = []

    def measure(model, dense, prompts, *, tokens, warmup, repeats):
        written.append((len(prompts), tokens.pad, warmup, repeats))
        return GenerationSpeed(30.0, 10.0)

    monkeypatch.setattr(reporter, "measure_generation", measure)
    trainer.evaluator.inference = InferenceSettings((4,), 2, 3, generates=True)
    (found,) = trainer.train().efficiency.inference
    assert (found.generated_tokens_per_s, found.dense_generated_tokens_per_s) == (30.0, 10.0)
    assert written == [(4, trainer.evaluator.tokenizer.pad_token_id, 2, 3)]


def test_measuring_does_not_move_the_random_stream(trainer):
    trainer.evaluator.inference = InferenceSettings((4,), 0, 1)
    trainer.checkpointer.restore_latest(trainer)
    report = trainer.evaluator.report
    drawn = []

    def reported(given):
        state = torch.get_rng_state()
        result = report(given)
        drawn.append(torch.equal(torch.get_rng_state(), state))
        return result

    trainer.evaluator.report = reported
    trainer.train()
    assert drawn == [True]
