"""Every family on every kind of task that it can do: a whole run, and what it exports."""

import pytest
import torch

from apt_core.evaluator.generation import (
    GenerationSettings,
    TokenIds,
    generate,
    left_padded_prompts,
)
from apt_core.models.calls import call_model, read_outputs
from apt_core.models.export import load_pruned
from apt_core.models.spec import GENERATIVE
from apt_core.report import RunReport
from apt_core.trainer.build import build_trainer
from tests.tiny_families import (
    CASES,
    DISTILL_STOP,
    EVENTS,
    METRICS,
    TEACHER_STEP,
    family_experiment,
    head_of,
    loader_of,
    tokenizer_of,
)

ID = "0123456789abcdef"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


def eval_batch(config, family, kind):
    ((batch, _),) = loader_of(config, family, kind).eval_batches()
    return batch


def logits_of(model, head_kind, batch):
    outputs = call_model(model.eval(), head_kind, batch, hidden_states=True)
    return read_outputs(head_kind, outputs, batch).predictions


def tokens_of(model, family, head_kind, batch):
    special = TokenIds.of(tokenizer_of(family))
    prompts = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if head_kind == "causal_lm":
        prompts = left_padded_prompts(batch, special.pad)
    return generate(model.eval(), prompts, GenerationSettings(max_new_tokens=6), special)


@torch.no_grad()
def assert_same_model(exported, student, family, head_kind, batch):
    pairs = zip(
        logits_of(exported, head_kind, batch), logits_of(student, head_kind, batch), strict=True
    )
    for found, expected in pairs:
        assert expected.std() > 0.01
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    if head_kind in GENERATIVE:
        text = tokens_of(student, family, head_kind, batch)
        assert torch.equal(tokens_of(exported, family, head_kind, batch), text)


def assert_pruned_and_grown(report):
    # A group of query heads is 8 % of a tiny decoder.
    assert 0.5 <= report.sparsity < 0.6
    ranks = report.structure["ranks"].values()
    assert max(ranks) > min(ranks) == 2
    assert {s["step"] for s in report.surgeries if s["pruned"]} == set(EVENTS)
    teachers = [(s["step"], s["has_teacher"]) for s in report.surgeries if s["teacher_changed"]]
    assert teachers == [(TEACHER_STEP, True), (DISTILL_STOP, False)]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_family_is_pruned_on_a_task_and_its_export_is_the_trained_student(
    root, family, kind, tmp_path
):
    config = family_experiment(root, family, kind)
    trainer = build_trainer(config, run_dir=tmp_path, run_id=ID)
    report = trainer.train()

    assert RunReport.load(tmp_path / "result.json").metrics == report.metrics
    assert METRICS[kind] <= report.metrics.keys()
    assert report.metric == report.metrics[report.metric_name]
    assert_pruned_and_grown(report)
    batch = eval_batch(config, family, kind)
    student = trainer.modules.student
    exported = load_pruned(tmp_path / "export")
    assert_same_model(exported, student, family, head_of(family, kind), batch)
