"""LLM-Pruner against brute force: weights removed one by one, units removed, slow sums."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from apt_core.adapters.linear import APTLinear
from apt_core.baselines.taylor import element_importance
from apt_core.baselines.taylor_pruner import TaylorPruner
from apt_core.models.calls import call_model
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.cost import PARAMS, MacCost
from apt_core.pruner.search import Floors
from apt_core.trainer.calibration import Calibration
from tests.reference import taylor as slow
from tests.tiny import tiny_batch, tiny_model

CPU = torch.device("cpu")
DECODERS = pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])


def scene(
    family: str = "llama",
    *,
    density=0.5,
    layers=range(3),
    double=False,
    dropout=0.0,
    cost=PARAMS,
    **kw,
):
    """A pruner, the modules, their structure and the batches; fresh branches add nothing."""
    loaded, structure = tiny_model(family, dropout=dropout)
    with torch.no_grad():
        for module in loaded.model.modules():
            if isinstance(module, APTLinear) and module.rank > 0:
                module.lora_b.zero_()
    if double:
        loaded.model.double()
    batches = [tiny_batch(head_kind="causal_lm", seed=seed) for seed in (1, 2)]
    made = TaylorPruner(
        loaded.model_map,
        loaded.structure,
        layers=layers,
        calibration=Calibration(lambda: iter(batches), CPU, cost=cost),
        density=density,
        floors=Floors(),
        **kw,
    )
    return made, TrainedModules(loaded.model.eval()), structure, batches


def loss_of(made, modules, batches):
    """Of all batches together, as the pruner adds it up; the models' own loss is always fp32."""

    def loss() -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for batch in batches:
            logits = call_model(modules.student, made.model_map.head_kind, batch).logits[:, :-1]
            total = total + cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())
        return total

    return loss


def gradients(modules, loss):
    """dL/dW of every parameter, the frozen ones too."""
    parameters = list(modules.parameters())
    flags = [p.requires_grad for p in parameters]
    modules.requires_grad_(True)
    found = torch.autograd.grad(loss(), parameters, allow_unused=True)
    for parameter, flag in zip(parameters, flags, strict=True):
        parameter.requires_grad_(flag)
    return dict(zip(parameters, found, strict=True))


@DECODERS
def test_importances_are_the_slow_sums_in_float64(family: str) -> None:
    made, modules, _, batches = scene(family)
    measured = made.measure(modules, made.model_map.sub_blocks)
    exact, doubled, _, _ = scene(family, double=True)
    found = gradients(doubled, loss_of(exact, doubled, batches))
    for sub_block in exact.model_map.sub_blocks:
        expected = [
            slow.unit_importance(doubled.student, sub_block, unit, found)
            for unit in range(len(measured[sub_block.name]))
        ]
        assert measured[sub_block.name].tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["attention", "ffn"])
def test_an_importance_is_what_the_loss_moves_by_when_weights_go_one_by_one(kind: str) -> None:
    made, modules, _, batches = scene("qwen2", double=True)
    loss = loss_of(made, modules, batches)
    sub_block = next(s for s in made.model_map.sub_blocks if s.kind == kind and s.layer == 1)
    with torch.no_grad():  # small enough that first order is near exact
        for projection in sub_block.projections:
            for parameter in modules.student.get_submodule(projection.path).parameters():
                parameter.mul_(0.2)
    found = gradients(modules, loss)
    sample = list(slow.entries_of(modules.student, sub_block, 1))[
        :: 9 if kind == "attention" else 2
    ]
    claimed = sum(float(element_importance(p[place], found[p][place])) for p, place in sample)
    with torch.no_grad():
        removed = slow.removed_one_by_one(iter(sample), lambda: float(loss()))
    assert len(sample) > 20
    assert claimed == pytest.approx(removed, rel=0.05)


def test_removing_a_unit_moves_the_loss_by_no_more_than_its_importance() -> None:
    made, modules, _, batches = scene(double=True)
    loss = loss_of(made, modules, batches)
    sub_blocks = [s for s in made.model_map.sub_blocks if s.layer == 1]
    with torch.no_grad():  # small enough that first order is near exact
        for sub_block in sub_blocks:
            modules.student.get_submodule(sub_block.writer.path).weight.mul_(0.3)
    measured, found = made.measure(modules, sub_blocks), gradients(modules, loss)
    for sub_block in sub_blocks:
        writer = modules.student.get_submodule(sub_block.writer.path).weight
        first_order = -(writer * found[writer]).detach()
        by_unit = first_order.reshape(len(writer), -1, sub_block.writer.unit_width).sum((0, 2))
        for unit, importance in enumerate(measured[sub_block.name].tolist()):
            with torch.no_grad():
                change = slow.removed_unit(modules.student, sub_block, unit, lambda: float(loss()))
            assert change == pytest.approx(float(by_unit[unit]), abs=0.03 * importance)
            assert abs(change) <= 1.03 * importance


def test_measuring_one_sub_block_at_a_time_gives_the_same() -> None:
    made, modules, _, _ = scene()
    together = made.measure(modules, made.model_map.sub_blocks)
    one_by_one, modules, _, _ = scene(at_once=1)
    single = one_by_one.measure(modules, one_by_one.model_map.sub_blocks)
    assert together.keys() == single.keys()
    for name, importance in together.items():
        assert torch.equal(importance, single[name])


def test_measuring_changes_no_weight_no_flag_and_leaves_no_gradient() -> None:
    made, modules, structure, _ = scene(dropout=0.3)
    modules.train()
    before = {n: (p.detach().clone(), p.requires_grad) for n, p in modules.named_parameters()}
    made.plan(modules, structure)
    assert modules.student.training
    for name, parameter in modules.named_parameters():
        value, flag = before[name]
        assert torch.equal(parameter, value)
        assert parameter.requires_grad == flag
        assert parameter.grad is None


def test_dropout_plays_no_part() -> None:
    importances = []
    for seed in (1, 2):
        made, modules, _, _ = scene(dropout=0.5)
        torch.manual_seed(seed)
        importances.append(made.measure(modules.train(), made.model_map.sub_blocks[:2]))
    for name, importance in importances[0].items():
        assert torch.equal(importance, importances[1][name])


@pytest.mark.parametrize("cost", [PARAMS, MacCost(9)], ids=["params", "macs"])
@DECODERS
def test_the_cut_model_is_the_plan_and_costs_what_was_asked_for(family: str, cost) -> None:
    made, modules, structure, batches = scene(family, layers=range(1, 3), density=0.6, cost=cost)
    plan = made.plan(modules, structure)
    importance = made.measure(modules, [s for s in made.model_map.sub_blocks if s.layer > 0])
    surgery = made.apply(plan, modules, structure)
    assert surgery.structure_after == plan.structure
    assert all(name.startswith(STUDENT) for name in surgery.edits)
    reached = cost.total(plan.structure) / cost.total(structure)
    assert 0.6 - 0.01 < reached <= 0.6
    assert plan.structure.hidden_size == structure.hidden_size
    for before, after in zip(structure.sub_blocks, plan.structure.sub_blocks, strict=True):
        if before.name not in importance:
            assert after == before
            continue
        kept = plan.kept.units[before.name]
        dropped = torch.ones(before.num_units, dtype=torch.bool)
        dropped[kept] = False
        least = importance[before.name][kept].min()
        assert bool((importance[before.name][dropped] <= least).all())
    assert torch.isfinite(loss_of(made, modules, batches)())


def test_with_nothing_to_remove_everything_stays() -> None:
    made, modules, structure, _ = scene(density=1.0)
    assert made.plan(modules, structure).structure == structure
