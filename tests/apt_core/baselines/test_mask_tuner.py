"""Mask tuning of a model: what is measured, what is decided, and what the cut model computes."""

import pytest
import torch

from apt_core.adapters.linear import APTLinear
from apt_core.baselines.mask_rescaler import MaskRescaler
from apt_core.baselines.mask_tuner import MaskTuner
from apt_core.baselines.mask_tuning import (
    block_fisher_loss,
    fisher_information,
    rearrange,
    search_units,
)
from apt_core.models.calls import call_model
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.masks import apply_masks, binary_masks
from apt_core.pruner.search import Floors
from apt_core.trainer.calibration import Calibration
from tests.tiny import tiny_batch, tiny_model

CPU = torch.device("cpu")
FAMILIES = pytest.mark.parametrize("family", ["bert", "distilbert", "t5-gated", "llama"])


def mask_tuner(family: str, *, density=0.5, rescales=True, rank=3, dropout=0.0, floors=None):
    loaded, structure = tiny_model(family, rank=rank, dropout=dropout)
    batches = [tiny_batch(head_kind=loaded.model_map.head_kind, seed=seed) for seed in (1, 2, 3)]
    made = MaskTuner(
        loaded.model_map,
        loaded.structure,
        calibration=Calibration(lambda: iter(batches), CPU),
        density=density,
        floors=floors or Floors(),
        rescaler=MaskRescaler(loaded.model_map) if rescales else None,
    )
    return made, TrainedModules(loaded.model), structure, batches


def gradients_by_autograd(made, modules, structure, batch):
    """dL/dm of every unit, from masks that are leaves of the graph."""
    masks = {s.name: torch.ones(s.num_units, requires_grad=True) for s in structure.sub_blocks}
    for sub_block in made.model_map.sub_blocks:
        writer = modules.student.get_submodule(sub_block.writer.path)
        assert isinstance(writer, APTLinear)
        writer.input_mask = masks[sub_block.name].repeat_interleave(sub_block.unit_width)
    call_model(modules.student, made.model_map.head_kind, batch).loss.backward()
    apply_masks(modules.student, made.model_map, None)
    modules.zero_grad(set_to_none=True)
    return {name: mask.grad for name, mask in masks.items()}


@FAMILIES
@pytest.mark.parametrize("rank", [3, 0])  # at rank 0 no gradient would flow into the first layers
def test_measured_gradients_are_those_of_real_masks(family: str, rank: int) -> None:
    made, modules, structure, batches = mask_tuner(family, rank=rank)
    measured = made.measure(modules, structure)
    modules.eval()
    assert set(measured) == {s.name for s in structure.sub_blocks}
    for number, batch in enumerate(batches):
        for name, expected in gradients_by_autograd(made, modules, structure, batch).items():
            assert expected.abs().max() > 0
            found = measured[name][number].float()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@FAMILIES
@pytest.mark.parametrize("rescales", [True, False])
def test_planning_changes_no_weight_and_leaves_no_gradient_and_no_mask(family, rescales) -> None:
    made, modules, structure, batches = mask_tuner(family, rescales=rescales)
    head = made.model_map.head_kind
    before = {n: p.detach().clone() for n, p in modules.named_parameters()}
    modules.eval()
    logits = call_model(modules.student, head, batches[0]).logits
    modules.train()
    made.plan(modules, structure)
    assert modules.student.training
    for name, parameter in modules.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
    modules.eval()
    assert torch.equal(call_model(modules.student, head, batches[0]).logits, logits)


@FAMILIES
def test_the_plan_is_the_rearranged_search(family: str) -> None:
    made, modules, structure, _ = mask_tuner(family)
    plan = made.plan(modules, structure)
    gradients = made.measure(modules, structure)
    fisher = {name: fisher_information(rows) for name, rows in gradients.items()}
    found = search_units(structure, fisher, 0.5 * structure.num_params(), Floors())
    for name, kept in found.items():
        assert torch.equal(plan.kept.units[name], rearrange(gradients[name], kept))
        assert block_fisher_loss(gradients[name], plan.kept.units[name]) <= (
            block_fisher_loss(gradients[name], kept) + 1e-12
        )
    assert plan.kept.hidden.tolist() == list(range(structure.hidden_size))
    assert plan.target_density == 0.5
    assert 0.4 < plan.structure.num_params() / structure.num_params() <= 0.5


@FAMILIES
@pytest.mark.parametrize("rescales", [True, False])
def test_the_cut_model_computes_what_the_masked_one_does(family: str, rescales: bool) -> None:
    made, modules, structure, _ = mask_tuner(family, rescales=rescales)
    head = made.model_map.head_kind
    batch = tiny_batch(head_kind=head, seed=9)
    plan = made.plan(modules, structure)
    masks = binary_masks(structure, plan.kept)
    for name, factors in plan.unit_scales.items():
        masks.units[name][plan.kept.units[name]] = factors.float()
    modules.eval()
    whole = call_model(modules.student, head, batch).logits
    apply_masks(modules.student, made.model_map, masks)
    masked = call_model(modules.student, head, batch).logits
    apply_masks(modules.student, made.model_map, None)

    surgery = made.apply(plan, modules, structure)

    cut = call_model(modules.student, head, batch).logits
    assert (cut - masked).abs().max() <= 1e-5
    assert (cut - whole).abs().max() > 1e-3
    assert surgery.structure_after == plan.structure
    assert all(name.startswith(STUDENT) for name in [*surgery.edits, *surgery.removed])
    alive = {name for name, kept in plan.kept.units.items() if len(kept)}
    assert set(plan.unit_scales) == (alive if rescales else set())
    if rescales:
        assert max(float((f - 1).abs().max()) for f in plan.unit_scales.values()) > 0.01


def test_floors_hold() -> None:
    made, modules, structure, _ = mask_tuner(
        "bert", density=0.3, floors=Floors(min_heads=1, min_neurons=3)
    )
    plan = made.plan(modules, structure)
    for s in structure.sub_blocks:
        assert len(plan.kept.units[s.name]) >= (1 if s.kind == "attention" else 3)


def test_dropout_plays_no_part() -> None:
    made, modules, structure, _ = mask_tuner("bert", dropout=0.5)
    plans = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        plans.append(made.plan(modules, structure))
    for name, kept in plans[0].kept.units.items():
        assert torch.equal(plans[1].kept.units[name], kept)
        if len(kept):
            assert torch.equal(plans[1].unit_scales[name], plans[0].unit_scales[name])


def test_a_model_that_was_cut_before_can_be_cut_again() -> None:
    made, modules, structure, _ = mask_tuner("bert", density=0.5)
    first = made.apply(made.plan(modules, structure), modules, structure).structure_after
    made.density = 0.1
    second = made.apply(made.plan(modules, first), modules, first).structure_after
    assert any(s.num_units == 0 for s in second.sub_blocks)
    assert second.num_params() <= 0.1 * structure.num_params()
    made.density = 0.05
    third = made.apply(made.plan(modules, second), modules, second).structure_after
    assert 0 < third.num_params() <= 0.05 * structure.num_params()
