"""The parts of arms that prune by mask tuning, from configuration."""

from apt_core.baselines.mask_rescaler import MaskRescaler
from apt_core.baselines.mask_tuner import MaskTuner
from apt_core.config import ExperimentConfig
from apt_core.models.loading import LoadedModel
from apt_core.models.spec import GENERATIVE
from apt_core.trainer.build_parts import build_floors
from apt_core.trainer.calibration import Calibration


def build_mask_tuner(
    config: ExperimentConfig, loaded: LoadedModel, calibration: Calibration
) -> MaskTuner:
    """Who measures and cuts the tuned model.

    Args:
        config: the run's configuration.
        loaded: the model, unpruned.
        calibration: what to measure with.

    Returns:
        The tuner of masks; with a rescaler where the configuration or the family asks for one.
    """
    wanted = config.pruning.rescale
    rescales = loaded.model_map.head_kind not in GENERATIVE if wanted is None else wanted
    return MaskTuner(
        loaded.model_map,
        loaded.structure,
        calibration=calibration,
        density=1.0 - config.pruning.target_sparsity,
        floors=build_floors(config),
        rescaler=MaskRescaler(loaded.model_map, half=calibration.half) if rescales else None,
    )
