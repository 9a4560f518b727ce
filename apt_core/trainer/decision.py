"""What happens after a step: a frozen value that workers can compare."""

import hashlib
from dataclasses import dataclass

from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.policy import PrunePlan
from apt_core.tuner.policy import RankPlan


@dataclass(frozen=True)
class Decision:
    """What happens after this step: a frozen plan, the same on every worker."""

    mask: PrunePlan | None = None
    """Move the masks one step toward these blocks; shapes stay."""
    prune: PrunePlan | None = None
    tune: RankPlan | None = None
    take_teacher: bool = False
    drop_teacher: bool = False

    @property
    def changes_shape(self) -> bool:
        """Whether the engine has to be rebuilt."""
        return (
            self.prune is not None
            or self.tune is not None
            or self.take_teacher
            or self.drop_teacher
        )

    def digest(self) -> str:
        """A short hash of everything decided: workers compare it before they operate."""
        text = repr((self.take_teacher, self.drop_teacher))
        for plan in (self.mask, self.prune):
            text += "" if plan is None else _kept_text(plan.kept)
        text += "" if self.tune is None else repr(sorted(self.tune.ranks.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kept_text(kept: KeptBlocks) -> str:
    units = {name: indices.tolist() for name, indices in sorted(kept.units.items())}
    return repr((units, kept.hidden.tolist()))
