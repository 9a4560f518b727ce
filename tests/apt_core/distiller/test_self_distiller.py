import pytest
import torch

from apt_core.distiller.losses import layer_loss, prediction_loss
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller, TaskDistiller
from apt_core.models.surgery_record import KeptBlocks
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.surgery import prune_model
from tests.tiny import tiny_batch, tiny_model


def distilling(**settings):
    loaded, structure = tiny_model(num_layers=4)
    modules = TrainedModules(loaded.model)
    settings = {"first_step": 0, "last_step": 10, **settings}
    distiller = SelfDistiller(loaded.model_map, structure, DistillSettings(**settings))
    surgery = distiller.take_teacher(modules)
    return loaded, structure, modules, distiller, surgery


def test_teacher_logits_equal_student_logits_at_the_snapshot():
    _, _, modules, _, _ = distilling()
    modules.eval()
    batch = tiny_batch(labels=False)
    torch.testing.assert_close(
        modules.teacher(**batch).logits, modules.student(**batch).logits, atol=0, rtol=0
    )


def test_the_distillation_loss_is_zero_at_the_snapshot():
    _, _, modules, distiller, _ = distilling()
    loss = distiller.loss(modules.eval(), tiny_batch(), 5)
    assert abs(float(loss.distill)) < 1e-6
    torch.testing.assert_close(loss.total, 0.5 * loss.task)


def test_frozen_weights_are_shared_and_trained_ones_are_copies():
    _, _, modules, _, surgery = distilling()
    student = dict(modules.student.named_parameters())
    for name, parameter in modules.teacher.named_parameters():
        assert (parameter is student[name]) == (not student[name].requires_grad)
        assert not parameter.requires_grad
    assert surgery.added == {"projection.lora_a", "projection.lora_b"}


def test_the_teacher_always_evaluates():
    _, _, modules, _, _ = distilling()
    modules.train()
    assert modules.student.training
    assert not modules.teacher.training


def test_the_loss_is_the_published_mixture():
    _, _, modules, distiller, _ = distilling(prediction_weight=0.1, layer_weight=0.9)
    with torch.no_grad():
        for parameter in modules.student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3)
    modules.eval()
    batch, step = tiny_batch(), 4
    loss = distiller.loss(modules, batch, step)
    student = modules.student(**batch, output_hidden_states=True)
    teacher = modules.teacher(**batch, output_hidden_states=True)
    # Four layers, four sampled: every layer is compared with its own counterpart.
    layers = sum(
        layer_loss(modules.projection(s), t)
        for s, t in zip(student.hidden_states[1:], teacher.hidden_states[1:], strict=True)
    )
    distill = 0.1 * prediction_loss(student.logits, teacher.logits, 2 / 3) + 0.9 * layers
    torch.testing.assert_close(loss.total, 0.4 * distill + 0.6 * student.loss)


def test_a_sliced_student_still_learns_from_its_dense_teacher():
    loaded, structure, modules, distiller, _ = distilling()
    kept = KeptBlocks(
        {
            s.name: torch.arange(0 if s.name.endswith("1.ffn") else s.num_units - 1)
            for s in structure.sub_blocks
        },
        torch.arange(0, 16, 2),
    )
    dense = modules.teacher(**tiny_batch(labels=False)).logits.detach()
    surgery = prune_model(modules.student, loaded.model_map, structure, kept, prefix=STUDENT)
    own = modules.projection.slice(surgery)
    distiller.remap(surgery)
    assert distiller.alive_layers() == [True, False, True, True]
    loss = distiller.loss(modules, tiny_batch(), 5)
    loss.total.backward()
    assert (modules.projection.out_features, modules.projection.in_features) == (16, 8)
    assert modules.projection.lora_a.shape[1] == 8
    assert set(own.edits) == {"projection.lora_a"}
    assert modules.projection.lora_b.grad.abs().sum() > 0
    torch.testing.assert_close(
        modules.teacher(**tiny_batch(labels=False)).logits, dense, atol=0, rtol=0
    )


def test_without_a_teacher_the_loss_is_the_task_loss():
    _, _, modules, distiller, _ = distilling()
    surgery = distiller.drop_teacher(modules)
    a = distiller.loss(modules.eval(), tiny_batch(), 5)
    b = TaskDistiller("sequence_classification").loss(modules, tiny_batch(), 5)
    torch.testing.assert_close(a.total, b.total)
    assert a.mu == 0.0
    assert modules.teacher is None
    assert "projection.lora_a" in surgery.removed


@pytest.mark.parametrize("family", ["roberta", "t5-gated", "llama"])
def test_in_bf16_the_loss_is_nearly_that_of_fp32(family):
    loaded, structure = tiny_model(family)
    modules = TrainedModules(loaded.model)
    settings = DistillSettings(first_step=0, last_step=1)
    distiller = SelfDistiller(loaded.model_map, structure, settings)
    distiller.take_teacher(modules)
    modules.eval()
    with torch.no_grad():
        for parameter in modules.student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    batch = tiny_batch(head_kind=loaded.model_map.head_kind)
    expected = distiller.loss(modules, batch, 1).distill
    loss = distiller.loss(modules.bfloat16(), batch, 1)
    loss.total.backward()
    assert float(expected) > 1e-3
    torch.testing.assert_close(loss.distill.float(), expected, rtol=0.1, atol=0)
