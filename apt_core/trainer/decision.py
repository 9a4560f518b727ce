"""What happens after a step: a frozen value that workers can compare."""

import hashlib
from dataclasses import dataclass

import torch

from apt_core.errors import DecisionMismatchError
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.policy import PrunePlan
from apt_core.trainer.distributed import all_gather_flat, collective_device
from apt_core.tuner.policy import RankPlan


@dataclass(frozen=True)
class Decision:
    """What happens after this step: a frozen plan, the same on every worker."""

    mask: PrunePlan | None = None
    """Move the masks one step toward these blocks; shapes stay."""
    prune: PrunePlan | None = None
    one_shot: bool = False
    """Measure the plain modules, by calibration batches or learned gates, and cut what they say:
    the plan is made when they are at hand."""
    add_gates: bool = False
    """From now on the blocks have gates, which learn."""
    tune: RankPlan | None = None
    take_teacher: bool = False
    drop_teacher: bool = False

    @property
    def changes_shape(self) -> bool:
        """Whether the engine has to be rebuilt."""
        return (
            self.prune is not None
            or self.one_shot
            or self.add_gates
            or self.tune is not None
            or self.take_teacher
            or self.drop_teacher
        )

    def digest(self) -> str:
        """A short hash of everything decided: workers compare it before they operate."""
        text = repr((self.take_teacher, self.drop_teacher, self.one_shot, self.add_gates))
        for plan in (self.mask, self.prune):
            text += "" if plan is None else _kept_text(plan.kept)
        text += "" if self.tune is None else repr(sorted(self.tune.ranks.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_agreement(decision: Decision, step: int) -> None:
    """Collective: all workers have decided the same.

    Args:
        decision: this worker's decision.
        step: for the message.

    Raises:
        DecisionMismatchError: they have not.
    """
    number = torch.tensor([int(decision.digest()[:15], 16)], device=collective_device())
    if not bool((all_gather_flat(number) == number).all()):
        raise DecisionMismatchError(
            f"step {step}: the workers decided differently; this is a bug, please report it"
        )


def _kept_text(kept: KeptBlocks) -> str:
    units = {name: indices.tolist() for name, indices in sorted(kept.units.items())}
    return repr((units, kept.hidden.tolist()))
