"""The arms of the comparison as switches: other code asks for a switch, never for a name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Arm = Literal[
    "ft",
    "lora",
    "lora_prune",
    "prune_distill",
    "lora_prune_distill",
    "llm_pruner",
    "apt",
    "random",
    "magnitude",
]
Ablation = Literal[
    "full",
    "w/o_Ap",
    "w/o_AT",
    "w/o_Ds",
    "w/o_Ap+AT",
    "w/o_Ap+Ds",
    "w/o_AT+Ds",
    "w/o_Ap+AT+Ds",
    "w/o_salience",
    "w/o_kurtosis",
    "w/o_layer_loss",
    "ft_teacher",
    "lora_teacher",
    "paper:w/o_Ap",
    "paper:w/o_AT",
    "paper:w/o_Ds",
]
PruningMethod = Literal["gradual", "one_shot", "l0_gates", "before_training"]
BlockScore = Literal["salience", "random", "magnitude"]
Teacher = Literal["self", "ft", "lora"]


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
    `pruning.stop` or before the first step by what calibration batches say, or by what L0 gates
    have learned until then."""
    block_score: BlockScore = "salience"
    """What blocks are ranked by: their salience; or, as controls that every salience must beat,
    random numbers or the size of their weights."""
    choose_adapters: bool = True
    """The important half of the adapters grows; off: all alike."""
    outlier_term: bool = True
    """Salience may count outliers (`pruning.use_kurtosis`)."""
    layer_loss: bool = True
    """Distillation compares hidden states too (`distillation.layer_weight`)."""
    teacher: Teacher = "self"
    """Who teaches, where anyone does: the model's own past, or from the first step a finished run
    of another arm (`distillation.teacher_path`)."""
    train_head: bool = True
    """The task head learns (if `training.train_head`)."""
    adapt_all_linears: bool = False
    """Every projection of every layer gets an adapter, whatever `model.adapter` says."""
    decoder_only: bool = False
    """Only for models that write and have no encoder."""

    @property
    def has_events(self) -> bool:
        """Whether the run has a timetable: of changes of shape, or of its teacher."""
        return self.prune or self.grow_ranks or self.distill

    @property
    def measures_salience(self) -> bool:
        """Whether salience is averaged while the model trains."""
        return (self.prune or self.grow_ranks) and self.pruning_method == "gradual"

    @property
    def may_refresh_teacher(self) -> bool:
        """Whether a better student may replace the teacher: where windows of decay open."""
        return self.distill and self.pruning_method == "gradual" and self.teacher == "self"


_FT = ArmSwitches(
    train_all_weights=True,
    adapters=False,
    ffn_adapters=False,
    prune=False,
    grow_ranks=False,
    distill=False,
)
_LORA = replace(_FT, train_all_weights=False, adapters=True)
_LORA_PRUNE = replace(_LORA, prune=True, pruning_method="one_shot")
_COFI = replace(_FT, prune=True, distill=True, pruning_method="l0_gates")
_LLM_PRUNER = replace(
    _LORA,
    prune=True,
    pruning_method="before_training",
    adapt_all_linears=True,
    decoder_only=True,
)
_APT = replace(_LORA, ffn_adapters=True, prune=True, grow_ranks=True, distill=True)

_TURNED_OFF: Mapping[Ablation, Mapping[str, Any]] = {
    "full": {},
    "w/o_Ap": {"prune": False},
    "w/o_AT": {"grow_ranks": False},
    "w/o_Ds": {"distill": False},
    "w/o_Ap+AT": {"prune": False, "grow_ranks": False},
    "w/o_Ap+Ds": {"prune": False, "distill": False},
    "w/o_AT+Ds": {"grow_ranks": False, "distill": False},
    "w/o_Ap+AT+Ds": {"prune": False, "grow_ranks": False, "distill": False},
    "w/o_salience": {"choose_adapters": False},
    "w/o_kurtosis": {"outlier_term": False},
    "w/o_layer_loss": {"layer_loss": False},
    "ft_teacher": {"teacher": "ft"},
    "lora_teacher": {"teacher": "lora"},
    "paper:w/o_Ap": {"prune": False, "distill": False},
    "paper:w/o_AT": {"grow_ranks": False},
    "paper:w/o_Ds": {"distill": False, "train_head": False},
}
"""What each ablation changes of APT."""

ABLATION_MEANINGS: Mapping[Ablation, str] = {
    "full": "nothing: APT as it is",
    "w/o_Ap": "pruning; ranks still grow at its events",
    "w/o_AT": "rank growth",
    "w/o_Ds": "self-distillation",
    "w/o_Ap+AT": "pruning and rank growth: a fixed adapter that its own past teaches",
    "w/o_Ap+Ds": "pruning and self-distillation",
    "w/o_AT+Ds": "rank growth and self-distillation",
    "w/o_Ap+AT+Ds": "all three: only adapters, where APT has them",
    "w/o_salience": "the choice of the adapters that grow: all grow alike, without a rank cap",
    "w/o_kurtosis": "the outlier term of salience",
    "w/o_layer_loss": "the hidden-state loss of distillation",
    "ft_teacher": "self-teaching: a finished `ft` run teaches from the first step",
    "lora_teacher": "self-teaching: a finished `lora` run teaches from the first step",
    "paper:w/o_Ap": "as the paper has it: pruning and distillation; equals `w/o_Ap+Ds`",
    "paper:w/o_AT": "as the paper has it; equals `w/o_AT`",
    "paper:w/o_Ds": "as the authors ran it: distillation, and the task head does not learn",
}
"""What each ablation takes away, in words: for help texts and the reference."""

_EQUAL: Mapping[Ablation, Ablation] = {"paper:w/o_Ap": "w/o_Ap+Ds", "paper:w/o_AT": "w/o_AT"}

_SWITCHES: dict[tuple[Arm, Ablation], ArmSwitches] = {
    ("ft", "full"): _FT,
    ("lora", "full"): _LORA,
    ("lora_prune", "full"): _LORA_PRUNE,
    ("prune_distill", "full"): _COFI,
    ("lora_prune_distill", "full"): replace(_COFI, train_all_weights=False, adapters=True),
    ("llm_pruner", "full"): _LLM_PRUNER,
    **{("apt", name): replace(_APT, **changes) for name, changes in _TURNED_OFF.items()},
    ("random", "full"): replace(_APT, block_score="random"),
    ("magnitude", "full"): replace(_APT, block_score="magnitude"),
}


def arm_switches(arm: Arm, ablation: Ablation = "full") -> ArmSwitches:
    """The switches of an arm.

    A pair that does not exist (an ablated ``ft``) is a `KeyError`; the schema refuses it earlier.

    Args:
        arm: Method to run.
        ablation: Part of APT to leave out; only `apt` may leave one out.

    Returns:
        The switches.
    """
    return _SWITCHES[arm, ablation]


def is_known(arm: Arm, ablation: Ablation) -> bool:
    """Whether this arm can be ablated so."""
    return (arm, ablation) in _SWITCHES


def same_ablation(ablation: Ablation) -> Ablation:
    """The shortest spelling of an ablation: two that switch alike have the same."""
    return _EQUAL.get(ablation, ablation)
