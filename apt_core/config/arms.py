"""The arms of the comparison as switches: other code asks for a switch, never for a name."""

from dataclasses import dataclass, replace
from typing import Literal

Arm = Literal["ft", "lora", "prune_distill", "lora_prune_distill", "apt"]
Ablation = Literal["full", "w/o_Ap", "w/o_AT", "w/o_Ds"]
PruningMethod = Literal["gradual", "one_shot", "l0_gates"]


@dataclass(frozen=True)
class ArmSwitches:
    """What one arm does."""

    train_all_weights: bool
    """Every weight learns, not only adapters and the task head."""
    adapters: bool
    """Adapters are injected into the attention projections."""
    ffn_adapters: bool
    """Adapters are injected into feed-forward layers too (if `model.adapter.apply_to_ffn`)."""
    prune: bool
    """A_P: blocks are removed."""
    grow_ranks: bool
    """A_T: adapter ranks grow."""
    distill: bool
    """D_S: the student learns from its own past."""
    pruning_method: PruningMethod = "gradual"
    """How blocks are removed, where any are: at events whose masks decay (APT), or all at
    `pruning.stop` by what calibration batches say, or by what L0 gates have learned until then."""

    @property
    def has_events(self) -> bool:
        """Whether the shapes ever change at an event."""
        return self.prune or self.grow_ranks

    @property
    def measures_salience(self) -> bool:
        """Whether salience is averaged while the model trains."""
        return self.has_events and self.pruning_method == "gradual"

    @property
    def may_refresh_teacher(self) -> bool:
        """Whether a better student may replace the teacher: where windows of decay open."""
        return self.distill and self.pruning_method == "gradual"


_FT = ArmSwitches(
    train_all_weights=True,
    adapters=False,
    ffn_adapters=False,
    prune=False,
    grow_ranks=False,
    distill=False,
)
_LORA = replace(_FT, train_all_weights=False, adapters=True)
_COFI = replace(_FT, prune=True, distill=True, pruning_method="l0_gates")
_APT = replace(_LORA, ffn_adapters=True, prune=True, grow_ranks=True, distill=True)

_SWITCHES: dict[tuple[Arm, Ablation], ArmSwitches] = {
    ("ft", "full"): _FT,
    ("lora", "full"): _LORA,
    ("prune_distill", "full"): _COFI,
    ("lora_prune_distill", "full"): replace(_COFI, train_all_weights=False, adapters=True),
    ("apt", "full"): _APT,
    ("apt", "w/o_Ap"): replace(_APT, prune=False),
    ("apt", "w/o_AT"): replace(_APT, grow_ranks=False),
    ("apt", "w/o_Ds"): replace(_APT, distill=False),
}


def arm_switches(arm: Arm, ablation: Ablation = "full") -> ArmSwitches:
    """The switches of an arm. Each ablation turns exactly one part of APT off.

    A pair that does not exist (an ablated ``ft``) is a `KeyError`; the schema refuses it earlier.

    Args:
        arm: Method to run.
        ablation: Part of APT to leave out; only `apt` may leave one out.

    Returns:
        The switches.
    """
    return _SWITCHES[arm, ablation]
