"""The configuration of an experiment: schema, loading, timetable. Imports no torch."""

from apt_core.config.arms import Ablation, Arm, ArmSwitches, arm_switches
from apt_core.config.data import DataConfig
from apt_core.config.dataset import DatasetSpec
from apt_core.config.duration import Duration
from apt_core.config.experiment import ExperimentConfig
from apt_core.config.load import (
    config_from_json,
    config_to_json,
    load_config,
    seed_flag_overrides,
)
from apt_core.config.method import DistillationConfig, PruningConfig, TuningConfig
from apt_core.config.model import AdapterConfig, ModelConfig
from apt_core.config.plan import PruneTimes, TrainingPlan, plan_training
from apt_core.config.runtime import (
    EvaluationConfig,
    GridBlock,
    HardwareConfig,
    MetricNames,
    OrchestrationConfig,
    TrackingConfig,
)
from apt_core.config.training import TrainingConfig

__all__ = [
    "Ablation",
    "AdapterConfig",
    "Arm",
    "ArmSwitches",
    "DataConfig",
    "DatasetSpec",
    "DistillationConfig",
    "Duration",
    "EvaluationConfig",
    "ExperimentConfig",
    "GridBlock",
    "HardwareConfig",
    "MetricNames",
    "ModelConfig",
    "OrchestrationConfig",
    "PruneTimes",
    "PruningConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TrainingPlan",
    "TuningConfig",
    "arm_switches",
    "config_from_json",
    "config_to_json",
    "load_config",
    "plan_training",
    "seed_flag_overrides",
]
