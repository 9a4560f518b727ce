"""The controller of arms whose blocks have learned gates: add them, and cut by them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from apt_core.baselines.gates import MIN_GATE, Gates
from apt_core.baselines.l0_gates import GateValues
from apt_core.distiller.self_distiller import SelfDistiller
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery, combine, nothing_done
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.fill import fill_budget
from apt_core.pruner.fold import fold_masks
from apt_core.pruner.masks import BlockMasks, apply_masks
from apt_core.pruner.policy import PrunePlan
from apt_core.pruner.search import BlockSalience, Floors, search_blocks
from apt_core.pruner.surgery import prune_model, structure_after
from apt_core.trainer.controller import QuietController, ReadSalience
from apt_core.trainer.decision import Decision, check_agreement
from apt_core.trainer.state import TrainerState


@dataclass(frozen=True)
class GateTimes:
    """After which steps what happens."""

    start: int
    """The student is copied as teacher, and its blocks get gates."""
    stop: int
    """Blocks are cut, and what the gates of the others say goes into the weights."""
    distill_stop: int
    """The teacher is dropped."""


class GateController(QuietController):
    """Tunes, learns gates beside the weights, cuts by them, tunes again (CoFi, section 3).

    Blocks are ranked by how likely their gates are open, and as many stay as fit the budget, so the
    arm meets it exactly whatever the expected sparsity was. Closed gates rank last. Masks are not
    moved here: the distiller draws them anew in every step.

    Args:
        model_map: where the student's parts are.
        times: when it happens.
        distiller: takes and drops the teacher.
        make_gates: gives fresh gates for a structure.
        budget: parameters of the layers that may stay.
        density: the same relative to the unpruned layers.
        floors: what must stay.
    """

    def __init__(
        self,
        model_map: ModelMap,
        times: GateTimes,
        *,
        distiller: SelfDistiller,
        make_gates: Callable[[Structure], Gates],
        budget: float,
        density: float,
        floors: Floors,
    ) -> None:
        self.model_map = model_map
        self.times = times
        self.distiller = distiller
        self.make_gates = make_gates
        self.budget = budget
        self.density = density
        self.floors = floors

    def decide(
        self, state: TrainerState, read_salience: ReadSalience, held_out: float | None = None
    ) -> Decision:
        """What to do after ``state.step`` steps: the timetable says it alone."""
        step, times = state.step, self.times
        return Decision(
            one_shot=step == times.stop,
            add_gates=step == times.start,
            take_teacher=step == times.start,
            drop_teacher=state.has_teacher and step == times.distill_stop,
        )

    def apply(self, decision: Decision, modules: TrainedModules, state: TrainerState) -> Surgery:
        """Carry it out.

        Args:
            decision: what to do.
            modules: plain modules with full parameters, changed in place.
            state: the run's state; read only.

        Returns:
            One record of all that was done.

        Raises:
            DecisionMismatchError: the workers' gates differ.
        """
        surgery = nothing_done(state.structure)
        if decision.drop_teacher:
            surgery = combine(surgery, self.distiller.drop_teacher(modules))
        if decision.take_teacher:
            surgery = combine(surgery, self.distiller.take_teacher(modules))
        if decision.add_gates:
            modules.gates = self.make_gates(state.structure)
            added = frozenset(f"gates.{name}" for name, _ in modules.gates.named_parameters())
            surgery = combine(surgery, Surgery(state.structure, state.structure, added=added))
        if decision.one_shot and modules.gates is not None:
            plan = self.plan(modules.gates)
            check_agreement(Decision(prune=plan), state.step)
            surgery = combine(surgery, self._cut(plan, modules, modules.gates))
        return surgery

    def plan(self, gates: Gates) -> PrunePlan:
        """The blocks that stay.

        Args:
            gates: those of a plain model.

        Returns:
            The plan; it never holds more parameters than the budget.
        """
        structure = gates.structure
        chances = _chances(gates.open_probabilities(), structure)
        kept = search_blocks(structure, _as_salience(chances, structure), self.budget, self.floors)
        if self.floors.round_to == 1:  # one more would break aligned widths
            kept = fill_budget(structure, kept, chances, self.budget)
        return PrunePlan(kept, structure_after(structure, kept, self.model_map), self.density)

    def _cut(self, plan: PrunePlan, modules: TrainedModules, gates: Gates) -> Surgery:
        apply_masks(modules.student, self.model_map, None)
        surgery = prune_model(
            modules.student, self.model_map, gates.structure, plan.kept, prefix=STUDENT
        )
        if modules.projection is not None:
            surgery = combine(surgery, modules.projection.slice(surgery))
        masks = kept_masks(gates.values(), plan.kept, plan.structure)
        folded = fold_masks(modules.student, self.model_map, plan.structure, masks, prefix=STUDENT)
        names = frozenset(f"gates.{name}" for name, _ in gates.named_parameters())
        modules.gates = None
        dropped = Surgery(plan.structure, plan.structure, removed=names)
        return combine(combine(surgery, folded), dropped)


def kept_masks(values: GateValues, kept: KeptBlocks, structure: Structure) -> BlockMasks:
    """What the gates of kept blocks multiply with.

    A closed gate whose block stays nevertheless, as the exact budget has room for it, is set to
    `MIN_GATE`.

    Args:
        values: of all gates before the cut.
        kept: the blocks that stay.
        structure: the shape after it.

    Returns:
        Masks of the cut model, none of them 0.
    """
    masks = BlockMasks(structure)
    alive = [s.name for s in structure.sub_blocks if s.num_units > 0]
    for name in alive:
        masks.units[name] = _open(values.units[name][kept.units[name]])
        masks.sub_blocks[name] = _open(values.sub_blocks[name])
    masks.hidden = _open(values.hidden[kept.hidden])
    return masks


def _open(values: Tensor) -> Tensor:
    return values.clamp(min=MIN_GATE)


def _chances(is_open: GateValues, structure: Structure) -> BlockSalience:
    """How likely every block is in use: a unit needs the gate of its sub-block as well."""
    names = [s.name for s in structure.sub_blocks]
    units = {name: is_open.units[name] * is_open.sub_blocks[name] for name in names}
    return BlockSalience(units, is_open.hidden)


def _as_salience(chances: BlockSalience, structure: Structure) -> BlockSalience:
    """The search divides by what a block costs, so it comes in here."""
    units = {
        s.name: chances.units[s.name] * max(structure.unit_cost(s), 1) for s in structure.sub_blocks
    }
    return BlockSalience(units, chances.hidden * max(structure.hidden_cost(), 1))
