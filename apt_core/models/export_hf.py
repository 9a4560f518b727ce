"""The format ``hf``: a folder that transformers loads, with the code of its pruned classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from apt_core.models.export import Exported
from apt_core.models.loading import AUTO_CLASSES, quietly
from apt_core.models.modeling_apt import MODELS
from apt_core.models.pruned_config import pruned_config
from apt_core.models.spec import HeadKind


def write_hf(exported: Exported, folder: Path, *, labels: Sequence[str] = ()) -> None:
    """Write the model as its family's pruned class: safetensors, configuration, code.

    Args:
        exported: the merged, sliced model.
        folder: where to; made when missing.
        labels: names of the classes, where they have names.
    """
    config = pruned_config(exported.config, exported.head_kind, exported.structure)
    name_labels(config, labels)
    with torch.random.fork_rng(devices=[]):
        model = _pruned_class(exported.head_kind, config)(config)
    model.load_state_dict(exported.model.state_dict())
    save_model(model, exported, folder)


def name_labels(config: Any, labels: Sequence[str]) -> None:
    """Let pipelines answer with the classes' names."""
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}


def save_model(model: Any, exported: Exported, folder: Path) -> None:
    """Save a model of transformers with the generation settings of what it was made from.

    Args:
        model: what to save.
        exported: what it was made from.
        folder: where to.
    """
    model.config.dtype = torch.float32
    settings = getattr(exported.model, "generation_config", None)
    if settings is not None:
        model.generation_config = settings
    quietly(model.eval().save_pretrained, folder)


def auto_class(head_kind: HeadKind) -> str:
    """Name of the Auto class of transformers that loads models with this head."""
    return str(AUTO_CLASSES[head_kind].__name__)


def _pruned_class(head_kind: HeadKind, config: Any) -> Any:
    models = MODELS[auto_class(head_kind)]
    return next(model for model in models if model.config_class is type(config))
