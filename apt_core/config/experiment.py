"""`ExperimentConfig`: the whole of one experiment, every section and the rules between them."""

from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from apt_core.config.arms import Ablation, Arm, ArmSwitches, arm_switches
from apt_core.config.base import FolderName, Section
from apt_core.config.data import DataConfig
from apt_core.config.method import DistillationConfig, PruningConfig, TuningConfig
from apt_core.config.mode import Mode
from apt_core.config.model import ModelConfig
from apt_core.config.result_key import result_key
from apt_core.config.rules import broken_rules
from apt_core.config.runtime import (
    EvaluationConfig,
    HardwareConfig,
    OrchestrationConfig,
    TrackingConfig,
)
from apt_core.config.training import TrainingConfig

HALF_PRECISION_MULTIPLE = 8
"""What `data.pad_to_multiple_of: null` stands for in bf16 and fp16."""
RULES_BROKEN = "rules_broken"
"""Type of the validation error that carries every broken rule in its context."""


class ExperimentConfig(Section):
    """One experiment: what to train, how, on what, and where the results go."""

    name: FolderName = "aptune"
    """Name of the experiment: a folder under `orchestration.results_dir`."""
    mode: Mode = "paper"
    """A name for the report: `paper`, or `official` for what the authors' code ran. `official` only
    with all settings of the recipe `official`; what they do, they do one by one in both modes."""
    arm: Arm = "apt"
    """Method: full fine-tuning (`ft`), LoRA (`lora`), LoRA that is cut once at `pruning.stop` by
    mask tuning and retrained (`lora_prune`), CoFi's L0 gates and distillation with full weights
    (`prune_distill`) or with adapters (`lora_prune_distill`), LLM-Pruner (`llm_pruner`: decoders
    such as LLaMA are cut once before training by first-order Taylor importance, then all linears
    get LoRA), or APT (`apt`); and as controls APT that ranks blocks by random numbers (`random`) or
    by the mean size of their weights (`magnitude`)."""
    ablation: Ablation = "full"
    """Part of APT to leave out: pruning (`w/o_Ap`), rank growth (`w/o_AT`), distillation
    (`w/o_Ds`), several of them (`w/o_Ap+Ds`), or a smaller one; `full`: none. See
    "Ablations of APT" below."""
    model: ModelConfig = ModelConfig()
    """The pretrained network."""
    data: DataConfig = DataConfig()
    """The dataset."""
    training: TrainingConfig = TrainingConfig()
    """Optimizer, length and rhythm."""
    pruning: PruningConfig = PruningConfig()
    """What is removed, and when."""
    tuning: TuningConfig = TuningConfig()
    """How adapters grow."""
    distillation: DistillationConfig = DistillationConfig()
    """How the student learns from its own past."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How quality and efficiency are measured."""
    hardware: HardwareConfig = HardwareConfig()
    """What one training runs on."""
    orchestration: OrchestrationConfig = OrchestrationConfig()
    """The sweep and the Ray cluster."""
    tracking: TrackingConfig = TrackingConfig()
    """MLflow."""

    @model_validator(mode="after")
    def _obey_rules(self) -> "ExperimentConfig":
        problems = broken_rules(self)
        if problems:
            lines = "\n".join(str(problem) for problem in problems)
            context = {"lines": lines, "problems": problems}
            raise PydanticCustomError(RULES_BROKEN, "{lines}", context)
        return self

    @property
    def switches(self) -> ArmSwitches:
        """What the chosen arm does."""
        return arm_switches(self.arm, self.ablation)

    @property
    def metric_name(self) -> str:
        """The main metric of the chosen dataset."""
        spec = self.data.spec
        return spec.metric or str(getattr(self.evaluation.metrics, spec.task))

    @property
    def micro_batch_size(self) -> int:
        """Examples per forward pass and worker."""
        training = self.training
        return training.micro_batch_size or training.batch_size // self.hardware.num_workers

    @property
    def pad_to_multiple_of(self) -> int:
        """What the widths of batches are rounded up to a multiple of."""
        is_wide = self.hardware.precision == "fp32"
        return self.data.pad_to_multiple_of or (1 if is_wide else HALF_PRECISION_MULTIPLE)

    def result_key(self) -> dict[str, Any]:
        """What of the configuration changes the result, in one spelling: equal for equal runs."""
        return result_key(self)
