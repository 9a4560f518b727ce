"""Two ways to run the method: as the paper has it, or as the authors' code ran it.

The published numbers come from code that differs from the paper. Each difference that changes
numbers, and that is simple to state, is a setting of its own; `official` is the name of all.
"""

from collections.abc import Mapping
from typing import Literal

Mode = Literal["paper", "official"]

OFFICIAL: Mapping[str, object] = {
    "training.train_head": False,
    "training.freeze_embeddings": True,
    "training.optimizer_on_surgery": "reset",
    "training.lr_after_event": "peak",
    "pruning.use_kurtosis": None,
    "tuning.growth": "fill",
    "tuning.importance": "signed",
    "tuning.init_distribution": "uniform",
    "distillation.teacher_layer_mapping": "closest_alive",
    "distillation.mask_padding": False,
    "distillation.start_event": 2,
}
"""Field path -> its value in the authors' code."""
