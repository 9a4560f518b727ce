"""Self-distillation of every family and head: zero at the snapshot, alive after it, weighted."""

from dataclasses import replace

import pytest
import torch

from apt_core.distiller.losses import layer_loss, prediction_loss, rms_normalized, score_loss
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.models.calls import call_model, read_outputs
from apt_core.models.loading import build_model
from apt_core.models.spec import HeadKind
from apt_core.models.trained_modules import TrainedModules
from tests.tiny import CASES, tiny_batch, tiny_config, tiny_model

ALL = pytest.mark.parametrize(("family", "head_kind"), CASES)


def distilling(family: str, head_kind: HeadKind, **settings):
    loaded, structure = tiny_model(family, head_kind=head_kind)
    modules = TrainedModules(loaded.model)
    values = {"first_step": 0, "last_step": 10, "num_teacher_layers": 9, **settings}
    distiller = SelfDistiller(loaded.model_map, structure, DistillSettings(**values))
    distiller.take_teacher(modules)
    return loaded, modules.eval(), distiller


def move(modules: TrainedModules) -> None:
    with torch.no_grad():
        for parameter in modules.student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))


@ALL
def test_the_distillation_loss_is_zero_at_the_snapshot_and_not_after_a_change(
    family: str, head_kind: HeadKind
) -> None:
    _, modules, distiller = distilling(family, head_kind)
    batch = tiny_batch(head_kind=head_kind)
    assert float(distiller.loss(modules, batch, 5).distill) == pytest.approx(0, abs=1e-6)
    move(modules)
    changed = distiller.loss(modules, batch, 5)
    assert float(changed.distill) > 1e-4
    changed.total.backward()
    assert all(p.grad is None for p in modules.teacher.parameters())


@ALL
def test_the_loss_is_built_from_predictions_and_every_layer(
    family: str, head_kind: HeadKind
) -> None:
    loaded, modules, distiller = distilling(family, head_kind, prediction_weight=0.3)
    move(modules)
    batch = tiny_batch(head_kind=head_kind)
    readings = [
        read_outputs(head_kind, call_model(m, head_kind, batch, hidden_states=True), batch)
        for m in (modules.student, modules.teacher)
    ]
    predictions = [
        prediction_loss(ours, theirs, 2 / 3)
        for ours, theirs in zip(*(r.predictions for r in readings), strict=True)
    ]
    stacks = []
    for ours, theirs in zip(*(r.hidden_states for r in readings), strict=True):
        pairs = list(zip(ours, theirs, strict=True))[1:]
        if loaded.model_map.spec.is_pre_norm:
            pairs = [(rms_normalized(a), rms_normalized(b)) for a, b in pairs]
        stacks.append(sum(layer_loss(a, b) for a, b in pairs))
    expected = 0.3 * sum(predictions) / len(predictions) + 0.9 * sum(stacks) / len(stacks)
    loss = distiller.loss(modules, batch, 5)
    torch.testing.assert_close(loss.distill, expected.detach())
    torch.testing.assert_close(loss.total, 0.5 * expected + 0.5 * loss.task)


@ALL
def test_a_micro_batch_weighs_as_the_loader_says(family: str, head_kind: HeadKind) -> None:
    """Task and predictions are means over what is predicted; layers are means over rows."""
    _, modules, distiller = distilling(family, head_kind)
    move(modules)
    batch = tiny_batch(head_kind=head_kind)
    plain = distiller.loss(modules, batch, 5)
    weighted = distiller.loss(modules, batch | {"loss_weight": torch.tensor(1.5)}, 5)
    distiller.settings = replace(distiller.settings, layer_weight=0.0)
    prediction = distiller.loss(modules, batch, 5).distill
    torch.testing.assert_close(weighted.task, 1.5 * plain.task)
    torch.testing.assert_close(weighted.distill, plain.distill + 0.5 * prediction)
    torch.testing.assert_close(weighted.total, (weighted.task + weighted.distill) / 2)
    assert 1e-4 < float(prediction) < float(plain.distill) - 1e-4


def test_a_score_is_distilled_as_a_score() -> None:
    torch.manual_seed(0)
    config = tiny_config("roberta")
    config.num_labels = 1
    loaded = build_model(config)
    modules = TrainedModules(loaded.model)
    settings = DistillSettings(first_step=0, last_step=1, layer_weight=0.0)
    distiller = SelfDistiller(loaded.model_map, loaded.structure, settings)
    loaded.model.requires_grad_(True)
    distiller.take_teacher(modules)
    modules.eval()
    move(modules)
    batch = tiny_batch(labels=False) | {"labels": torch.tensor([0.5, 1.0, 2.0, 4.5])}
    loss = distiller.loss(modules, batch, 5)
    inputs = tiny_batch(labels=False)
    assert modules.teacher is not None
    with torch.no_grad():
        expected = score_loss(modules.student(**inputs).logits, modules.teacher(**inputs).logits)
    torch.testing.assert_close(loss.distill, expected)
    assert float(expected) > 1e-6
