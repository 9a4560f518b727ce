"""Gates mask the student, learn through it, and are the same wherever they are drawn."""

import pytest
import torch

from apt_core.baselines.gates import MIN_GATE, Gates, gate_masks, noise
from apt_core.baselines.l0_gates import num_gates, split_gates
from apt_core.models.calls import call_model
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.masks import apply_masks
from tests.tiny import tiny_batch, tiny_model

FAMILIES = pytest.mark.parametrize("family", ["bert", "distilbert", "t5-gated", "llama", "gemma"])


def scene(family: str, log_alpha: float = 0.5):
    loaded, structure = tiny_model(family)
    modules = TrainedModules(loaded.model)
    modules.gates = Gates(loaded.model_map, structure, log_alpha)
    batch = tiny_batch(head_kind=loaded.model_map.head_kind)
    return modules, modules.gates, structure, batch


def task_loss(modules: TrainedModules, gates: Gates, batch, uniform) -> torch.Tensor:
    values, _, _ = gates(uniform)
    apply_masks(modules.student, gates.model_map, gate_masks(values, gates.structure))
    return call_model(modules.student, gates.model_map.head_kind, batch).loss


@FAMILIES
@pytest.mark.parametrize("kind", ["units", "sub_blocks", "hidden"])
def test_the_gradient_on_every_kind_of_gate_is_that_of_small_changes(family: str, kind: str):
    modules, gates, structure, batch = scene(family)
    modules.double().eval()
    uniform = torch.full((num_gates(structure),), 0.5)
    task_loss(modules, gates, batch, uniform).backward()
    gradient = gates.log_alpha.grad
    assert gradient is not None
    direction = one_kind(structure, kind)
    # RMS norms compute in fp32 whatever comes in: the step has to stand out from their rounding.
    step = 0.02 if gates.model_map.spec.norm_kind == "rms" else 0.001
    found = []
    with torch.no_grad():
        for change in (step, -2 * step):  # from one side to the other
            gates.log_alpha += change * direction
            found.append(float(task_loss(modules, gates, batch, uniform)))
    slope = (found[0] - found[1]) / (2 * step)
    assert float(gradient @ direction) == pytest.approx(slope, rel=0.01, abs=5e-5)
    assert abs(slope) > 2e-4


def one_kind(structure, kind: str) -> torch.Tensor:
    """1 and -0.3 in turn on all gates of a kind, 0 on the others."""
    size = num_gates(structure)
    num_units = sum(s.num_units for s in structure.sub_blocks)
    edges = {
        "units": (0, num_units),
        "sub_blocks": (num_units, size - structure.hidden_size),
        "hidden": (size - structure.hidden_size, size),
    }
    direction = torch.zeros(size, dtype=torch.float64)
    direction[slice(*edges[kind])] = 1.0
    direction[1::2] *= -0.3
    return direction


@FAMILIES
def test_wide_open_gates_change_nothing(family: str) -> None:
    modules, gates, structure, batch = scene(family, log_alpha=9.0)
    modules.eval()
    head = gates.model_map.head_kind
    plain = call_model(modules.student, head, batch).loss
    masked = task_loss(modules, gates, batch, noise(num_gates(structure), 1))
    assert float((masked - plain).detach().abs()) < 1e-6


def test_evaluation_settles_the_gates_and_training_leaves_them_as_they_were_drawn() -> None:
    modules, gates, structure, batch = scene("bert")
    writer = modules.student.get_submodule(gates.model_map.sub_blocks[0].writer.path)
    settled = split_gates(gates(None)[0], structure)
    expected = settled.hidden * settled.sub_blocks[structure.sub_blocks[0].name]
    modules.eval()
    modules(lambda m: call_model(m.student, gates.model_map.head_kind, batch))
    assert torch.equal(writer.output_mask, expected)
    modules.train()
    task_loss(modules, gates, batch, noise(num_gates(structure), 1))
    drawn = writer.output_mask
    assert not torch.equal(drawn, expected)
    modules(lambda m: call_model(m.student, gates.model_map.head_kind, batch))
    assert writer.output_mask is drawn


def test_noise_depends_on_its_seed_alone_and_stays_inside() -> None:
    state = torch.random.get_rng_state()
    first = noise(1000, 5)
    assert torch.equal(first, noise(1000, 5))
    assert not torch.equal(first, noise(1000, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert bool(((first > 0) & (first < 1)).all())
    assert bool(first.logit().isfinite().all())


def test_one_hidden_dimension_at_least_is_never_masked_out() -> None:
    _, gates, structure, _ = scene("bert", log_alpha=-9.0)
    masks = gate_masks(gates(None)[0], structure)
    assert torch.equal(masks.hidden, torch.full((structure.hidden_size,), MIN_GATE))


def test_plain_values_and_probabilities_are_those_of_the_forward_pass() -> None:
    _, gates, structure, _ = scene("bert")
    with torch.no_grad():
        gates.log_alpha += torch.linspace(-4, 4, num_gates(structure))
    values, is_open, multipliers = gates(None)
    assert multipliers.tolist() == [0.0, 20.0]  # the pull is in proportion to the gap at first
    for flat, found in ((values, gates.values()), (is_open, gates.open_probabilities())):
        wanted = split_gates(flat.detach(), structure)
        torch.testing.assert_close(found.hidden.float(), wanted.hidden)
        for name, units in wanted.units.items():
            torch.testing.assert_close(found.units[name].float(), units)
