"""When gates come and go, what stays of the blocks, and that the cut model is the gated one."""

import pytest
import torch

from apt_core.baselines.gate_controller import GateController, GateTimes, kept_masks
from apt_core.baselines.gates import MIN_GATE, Gates
from apt_core.baselines.l0_gates import num_gates, split_gates
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.models.calls import call_model
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.masks import BlockMasks, apply_masks
from apt_core.pruner.search import Floors
from apt_core.trainer.decision import Decision
from apt_core.trainer.state import TrainerState
from tests.tiny import tiny_batch, tiny_model

START, STOP, DISTILL_STOP = 5, 12, 15


def scene(family: str = "bert", *, density: float = 0.5, floors: Floors | None = None):
    loaded, structure = tiny_model(family)
    distiller = SelfDistiller(loaded.model_map, structure, DistillSettings(projection_rank=2))
    controller = GateController(
        loaded.model_map,
        GateTimes(START, STOP, DISTILL_STOP),
        distiller=distiller,
        make_gates=lambda present: Gates(loaded.model_map, present, 0.5),
        budget=density * structure.num_params(),
        density=density,
        floors=floors or Floors(min_hidden=4),
    )
    modules = TrainedModules(loaded.model)
    return controller, modules, TrainerState(20, structure, structure)


@torch.no_grad()
def spread(gates: Gates) -> None:
    """Gates all over, from wide open to closed."""
    generator = torch.Generator().manual_seed(4)
    gates.log_alpha.copy_(3 * torch.randn(num_gates(gates.structure), generator=generator))


def test_the_timetable_alone_decides() -> None:
    controller, _, state = scene()
    state.teacher_structure = state.structure
    decided = {}
    for state.step in range(1, 21):
        decision = controller.decide(state, lambda: None)
        if decision.changes_shape:
            decided[state.step] = decision
    assert decided == {
        START: Decision(add_gates=True, take_teacher=True),
        STOP: Decision(one_shot=True),
        DISTILL_STOP: Decision(drop_teacher=True),
    }
    assert not controller.needs_salience(STOP)
    assert not controller.needs_held_out(state)


def test_a_teacher_that_is_gone_is_not_dropped_again() -> None:
    controller, _, state = scene()
    state.step = DISTILL_STOP
    assert controller.decide(state, lambda: None) == Decision()


def test_gates_come_with_the_teacher_and_are_recorded() -> None:
    controller, modules, state = scene()
    decision = Decision(add_gates=True, take_teacher=True)
    surgery = controller.apply(decision, modules, state)
    new = {n for n, p in modules.named_parameters() if n.startswith(("gates.", "projection."))}
    assert {"gates.log_alpha", "gates.multipliers"} < surgery.added
    assert surgery.added == new
    assert surgery.teacher_changed
    assert surgery.structure_after == state.structure


@pytest.mark.parametrize("family", ["bert", "distilbert", "t5-gated", "llama", "gemma"])
def test_the_cut_model_computes_what_the_gates_of_its_blocks_say(family: str) -> None:
    controller, modules, state = scene(family)
    controller.apply(Decision(add_gates=True, take_teacher=True), modules, state)
    gates = modules.gates
    assert gates is not None
    spread(gates)
    plan = controller.plan(gates)
    batch = tiny_batch(head_kind=controller.model_map.head_kind)
    apply_masks(modules.student, controller.model_map, in_full(gates, plan))
    modules.eval()
    head = controller.model_map.head_kind
    masked = call_model(modules.student, head, batch).logits.detach()

    surgery = controller.apply(Decision(one_shot=True), modules, state)

    found = call_model(modules.student, head, batch).logits
    assert (found - masked).abs().max() <= 1e-5
    assert modules.gates is None
    assert {"gates.log_alpha", "gates.multipliers"} <= surgery.removed
    assert surgery.structure_after == plan.structure
    names = {name for name, _ in modules.named_parameters(remove_duplicate=False)}
    assert surgery.added <= names
    teacher = modules.teacher
    assert teacher is not None
    assert call_model(teacher, head, batch).logits.shape == found.shape


def in_full(gates: Gates, plan) -> BlockMasks:
    """The masks of the uncut model: 0 where a block goes, its gate where it stays."""
    masks = BlockMasks(gates.structure)
    left = kept_masks(gates.values(), plan.kept, plan.structure)
    for name, kept in plan.kept.units.items():
        masks.units[name] = torch.zeros(len(masks.units[name]))
        masks.units[name][kept] = left.units[name].float()
    masks.sub_blocks = {name: value.float() for name, value in left.sub_blocks.items()}
    masks.hidden = torch.zeros(gates.structure.hidden_size)
    masks.hidden[plan.kept.hidden] = left.hidden.float()
    return masks


def gates_at(controller: GateController, structure: Structure, log_alpha: float) -> Gates:
    return Gates(controller.model_map, structure, log_alpha)


def test_the_plan_fills_the_budget_with_the_most_likely_blocks() -> None:
    controller, _, state = scene(density=0.6)
    gates = gates_at(controller, state.structure, 0.0)
    spread(gates)
    plan = controller.plan(gates)
    budget = 0.6 * state.structure.num_params()
    assert budget - 33 < plan.structure.num_params() <= budget
    chances = gates.open_probabilities()
    ffn = state.structure.sub_blocks[1].name
    kept = plan.kept.units[ffn]
    left = sorted(set(range(24)) - set(kept.tolist()))
    if left and len(kept):
        assert chances.units[ffn][kept].min() >= chances.units[ffn][left].max()


def test_a_closed_sub_block_goes_before_units_that_are_likelier() -> None:
    controller, _, state = scene(density=0.9)
    structure = state.structure
    gates = gates_at(controller, structure, 4.0)
    victim = structure.sub_blocks[3].name
    position = sum(s.num_units for s in structure.sub_blocks) + 3
    with torch.no_grad():
        gates.log_alpha[position] = -5.0
    assert float(split_gates(gates.log_alpha.detach(), structure).sub_blocks[victim]) == -5.0
    plan = controller.plan(gates)
    assert plan.kept.units[victim].numel() < 24
    others = {n: len(i) for n, i in plan.kept.units.items() if n != victim}
    assert others == {s.name: s.num_units for s in structure.sub_blocks if s.name != victim}


def test_a_closed_gate_whose_block_stays_is_nearly_silent() -> None:
    controller, _, state = scene(density=0.9)
    gates = gates_at(controller, state.structure, -6.0)
    plan = controller.plan(gates)
    masks = kept_masks(gates.values(), plan.kept, plan.structure)
    assert masks.hidden.unique().tolist() == [MIN_GATE]
    assert all(mask.unique().tolist() in ([MIN_GATE], []) for mask in masks.units.values())


def test_floors_and_aligned_widths_hold() -> None:
    floors = Floors(min_heads=1, min_neurons=4, min_hidden=8, round_to=4)
    controller, _, state = scene(density=0.5, floors=floors)
    gates = gates_at(controller, state.structure, 0.0)
    spread(gates)
    plan = controller.plan(gates)
    assert plan.structure.num_params() <= 0.5 * state.structure.num_params()
    for sub_block in plan.structure.sub_blocks:
        assert sub_block.num_units >= (1 if sub_block.kind == "attention" else 4)
        assert sub_block.num_units * sub_block.unit_width % 4 == 0
    assert plan.structure.hidden_size % 4 == 0
