"""LLM-Pruner, from configuration."""

from apt_core.baselines.local_cut import cut_layers
from apt_core.baselines.taylor_pruner import TaylorPruner
from apt_core.config import ExperimentConfig
from apt_core.errors import UnsupportedModelError
from apt_core.models.loading import LoadedModel
from apt_core.pruner.search import Floors
from apt_core.trainer.calibration import Calibration


def build_taylor_pruner(
    config: ExperimentConfig, loaded: LoadedModel, calibration: Calibration
) -> TaylorPruner:
    """Who cuts before the first step in arm `llm_pruner`."""
    pruning, model_map = config.pruning, loaded.model_map
    if not model_map.spec.is_decoder:
        raise UnsupportedModelError(
            f"arm: {config.arm} is for decoders such as llama, and model {config.model.model_type} "
            "has an encoder; choose another model or another arm"
        )
    (stack,) = model_map.stacks
    return TaylorPruner(
        model_map,
        loaded.structure,
        layers=cut_layers(
            len(stack.layers), pruning.protect_first_layers, pruning.protect_last_layers
        ),
        calibration=calibration,
        density=1.0 - pruning.target_sparsity,
        floors=Floors(
            min_heads=pruning.min_heads, min_neurons=pruning.min_neurons, round_to=pruning.round_to
        ),
        # Whoever trades time for memory in the backward pass does so here too.
        at_once=1 if config.hardware.gradient_checkpointing else None,
    )
