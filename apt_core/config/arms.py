"""The arms of the comparison as switches: other code asks for a switch, never for a name."""

from dataclasses import dataclass, replace
from typing import Literal

Arm = Literal["ft", "lora", "llm_pruner", "apt"]
Ablation = Literal["full", "w/o_Ap", "w/o_AT", "w/o_Ds"]
PruningMethod = Literal["gradual", "one_shot", "before_training"]


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
    `pruning.stop` or before the first step, by what calibration batches say."""
    adapt_all_linears: bool = False
    """Every projection of every layer gets an adapter, whatever `model.adapter` says."""
    decoder_only: bool = False
    """Only for models that write and have no encoder."""

    @property
    def has_events(self) -> bool:
        """Whether the shapes ever change."""
        return self.prune or self.grow_ranks

    @property
    def measures_salience(self) -> bool:
        """Whether salience is averaged while the model trains."""
        return self.has_events and self.pruning_method == "gradual"


_FT = ArmSwitches(
    train_all_weights=True,
    adapters=False,
    ffn_adapters=False,
    prune=False,
    grow_ranks=False,
    distill=False,
)
_LORA = replace(_FT, train_all_weights=False, adapters=True)
_LLM_PRUNER = replace(
    _LORA,
    prune=True,
    pruning_method="before_training",
    adapt_all_linears=True,
    decoder_only=True,
)
_APT = replace(_LORA, ffn_adapters=True, prune=True, grow_ranks=True, distill=True)

_SWITCHES: dict[tuple[Arm, Ablation], ArmSwitches] = {
    ("ft", "full"): _FT,
    ("lora", "full"): _LORA,
    ("llm_pruner", "full"): _LLM_PRUNER,
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
