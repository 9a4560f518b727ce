"""A distiller that is deaf at first, and then as any other."""

import pytest
import torch

from apt_core.distiller.late import LateDistiller
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.models.trained_modules import TrainedModules
from tests.tiny import tiny_batch, tiny_model

SETTINGS = DistillSettings(first_step=0, last_step=10)


def losses(step):
    """The loss of both distillers beside a teacher that differs from its student."""
    loaded, structure = tiny_model()
    modules = TrainedModules(loaded.model.eval())
    late = LateDistiller(loaded.model_map, structure, SETTINGS, first_heard=5)
    late.take_teacher(modules)
    with torch.no_grad():
        for parameter in modules.student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3)
    batch = tiny_batch()
    prompt = SelfDistiller(loaded.model_map, structure, SETTINGS)
    return late.loss(modules, batch, step), prompt.loss(modules, batch, step)


@pytest.mark.parametrize("step", [0, 4])
def test_until_then_the_task_alone_counts(step):
    late, prompt = losses(step)
    assert (late.mu, late.distill.item()) == (0.0, 0.0)
    assert torch.equal(late.total, late.task)
    assert torch.equal(late.task, prompt.task)


@pytest.mark.parametrize("step", [5, 8])
def test_from_then_on_mu_is_where_it_would_be_anyway(step):
    late, prompt = losses(step)
    assert late.mu == prompt.mu == step / 10
    assert torch.equal(late.total, prompt.total)
    assert late.distill.item() > 0
