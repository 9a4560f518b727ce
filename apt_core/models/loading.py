"""Load a pretrained task model and its tokenizer, from a folder, the hub, or the package itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as hf_logging

from apt_core.data.embedded import embedded_model_path
from apt_core.errors import UnsupportedModelError
from apt_core.models.arch import ModelMap, bind, read_structure
from apt_core.models.families import FAMILIES
from apt_core.models.structure import Structure

EMBEDDED = "embedded:"


@dataclass(frozen=True)
class LoadedModel:
    """A task model with everything that is known about its shape."""

    model: nn.Module
    config: Any
    """The Hugging Face configuration."""
    model_map: ModelMap
    structure: Structure


def load_tokenizer(path: str, *, revision: str | None, trust_remote_code: bool) -> Any:
    """The tokenizer that belongs to a model.

    Args:
        path: folder, hub id, or ``embedded:NAME``.
        revision: hub revision.
        trust_remote_code: whether code from the hub may run.

    Returns:
        A fast tokenizer.

    Raises:
        UnsupportedModelError: it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(
            resolve_model_path(path), revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(_cannot_load("tokenizer", path, error)) from error


def load_model(
    path: str,
    *,
    num_labels: int,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dropout: float | None = None,
) -> LoadedModel:
    """A pretrained sequence classifier in fp32, its head freshly initialised where it has none.

    Args:
        path: folder, hub id, or ``embedded:NAME``.
        num_labels: classes.
        revision: hub revision.
        trust_remote_code: whether code from the hub may run.
        dropout: replaces every dropout rate of the model; None keeps them.

    Returns:
        The model and its description.

    Raises:
        UnsupportedModelError: it cannot be loaded, or its family is not known.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(
            resolve_model_path(path), num_labels=num_labels, **options
        )
        config.dtype = torch.float32  # whatever is stored: models built from it must match this one
        _set_dropout(config, dropout)
        check_family(config.model_type)
        # Only safetensors are read: a pickle from outside may run code.
        model = _quietly(
            AutoModelForSequenceClassification.from_pretrained,
            resolve_model_path(path),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            **options,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UnsupportedModelError(_cannot_load("model", path, error)) from error
    except RuntimeError as error:
        misfit = ValueError(f"its weights do not fit its config.json with {num_labels} classes")
        raise UnsupportedModelError(_cannot_load("model", path, misfit)) from error
    return describe(model, config)


def describe(model: nn.Module, config: Any) -> LoadedModel:
    """Bind the family's description to a model.

    Args:
        model: an unpruned task model.
        config: its Hugging Face configuration.

    Returns:
        The model with map and structure.
    """
    spec = FAMILIES[config.model_type]
    head_dim = config.hidden_size // config.num_attention_heads
    model_map = bind(spec, model, head_dim=head_dim)
    return LoadedModel(model, config, model_map, read_structure(model, model_map))


def build_model(config: Any) -> LoadedModel:
    """An unpruned task model of random weights, in fp32, from a Hugging Face configuration."""
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    return describe(model, config)


def resolve_model_path(path: str) -> str:
    """The folder of ``embedded:NAME``; every other path as it is."""
    if path.startswith(EMBEDDED):
        return str(embedded_model_path(path.removeprefix(EMBEDDED)))
    return path


def check_family(model_type: str) -> None:
    """Refuse a family that nobody has described.

    Args:
        model_type: ``config.model_type`` of transformers.

    Raises:
        UnsupportedModelError: with the families that are known.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModelError(
            f"model family {model_type!r} is not supported; supported: {', '.join(FAMILIES)}"
        )


def _set_dropout(config: Any, dropout: float | None) -> None:
    if dropout is None:
        return
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        if hasattr(config, name):
            setattr(config, name, dropout)


def _quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a loader without its report of head weights that are, rightly, not in the checkpoint."""
    verbosity, had_bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        return function(*args, **kwargs)
    finally:
        hf_logging.set_verbosity(verbosity)
        if had_bar:
            hf_logging.enable_progress_bar()


def _cannot_load(what: str, path: str, error: Exception) -> str:
    hint = "" if Path(path).exists() else "; it is no local folder, so it was looked up on the hub"
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    return f"model.architectures: cannot load the {what} {path!r}{hint}: {first_line}"
