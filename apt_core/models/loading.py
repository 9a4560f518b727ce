"""Load a pretrained task model and its tokenizer, from a folder, the hub, or the package itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging as hf_logging

from apt_core.data.embedded import embedded_model_path
from apt_core.errors import UnsupportedModelError
from apt_core.models.arch import HeadGeometry, ModelMap, bind, read_structure
from apt_core.models.families import choose_head, family_named
from apt_core.models.spec import ArchSpec, HeadKind
from apt_core.models.structure import Structure

EMBEDDED = "embedded:"
AUTO_CLASSES: Mapping[HeadKind, Any] = {
    "sequence_classification": AutoModelForSequenceClassification,
    "question_answering": AutoModelForQuestionAnswering,
    "seq2seq_lm": AutoModelForSeq2SeqLM,
    "causal_lm": AutoModelForCausalLM,
}
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout_rate",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
    "qa_dropout",
)
"""Names of dropout rates in the configurations of all families."""


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
    task_kind: str = "classification",
    num_labels: int = 0,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dropout: float | None = None,
) -> LoadedModel:
    """A pretrained task model in fp32, its head freshly initialised where it has none.

    Args:
        path: folder, hub id, or ``embedded:NAME``.
        task_kind: what is to be learned; decides the head.
        num_labels: classes; 1 for a score, unused by models that write text.
        revision: hub revision.
        trust_remote_code: whether code from the hub may run.
        dropout: replaces every dropout rate of the model; None keeps them.

    Returns:
        The model and its description.

    Raises:
        UnsupportedModelError: it cannot be loaded, its family is not known, or cannot do the task.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config, head_kind = _task_config(path, task_kind, num_labels, dropout, options=options)
        # Only safetensors are read: a pickle from outside may run code.
        model = quietly(
            AUTO_CLASSES[head_kind].from_pretrained,
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
    return describe(model, config, head_kind)


def random_model(
    path: str,
    *,
    task_kind: str = "classification",
    num_labels: int = 0,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dropout: float | None = None,
) -> LoadedModel:
    """A task model of the shape that a ``config.json`` says, with random weights, in fp32.

    Arguments as for `load_model`; neither weights nor a tokenizer need be there.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config, head_kind = _task_config(path, task_kind, num_labels, dropout, options=options)
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(_cannot_load("config.json", path, error)) from error
    return build_model(config, head_kind)


def _task_config(
    path: str,
    task_kind: str,
    num_labels: int,
    dropout: float | None,
    *,
    options: Mapping[str, Any],
) -> tuple[Any, HeadKind]:
    """A model's configuration, made fit for the task, and the head that the task needs."""
    config = AutoConfig.from_pretrained(resolve_model_path(path), **options)
    config.dtype = torch.float32  # whatever is stored: models built from it must match this one
    _set_dropout(config, dropout)
    head_kind = choose_head(family_of(config), config.model_type, task_kind)
    if head_kind == "sequence_classification":
        config.num_labels = num_labels
    elif head_kind == "question_answering":
        config.num_labels = 2  # a start and an end
    return config, head_kind


def describe(model: nn.Module, config: Any, head_kind: HeadKind) -> LoadedModel:
    """Bind the family's description to a model.

    Args:
        model: an unpruned task model.
        config: its Hugging Face configuration.
        head_kind: what the model predicts.

    Returns:
        The model with map and structure.
    """
    model_map = bind(family_of(config), model, head_kind, head_geometry(config))
    return LoadedModel(model, config, model_map, read_structure(model, model_map))


def head_geometry(config: Any) -> HeadGeometry:
    """How attention is cut into heads; the names are those that all configurations answer to."""
    num_heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    num_groups = getattr(config, "num_key_value_heads", None) or num_heads
    return HeadGeometry(head_dim, num_heads // num_groups)


def build_model(config: Any, head_kind: HeadKind = "sequence_classification") -> LoadedModel:
    """An unpruned task model of random weights, in fp32, from a Hugging Face configuration."""
    model = AUTO_CLASSES[head_kind].from_config(config, dtype=torch.float32)
    return describe(model, config, head_kind)


def resolve_model_path(path: str) -> str:
    """The folder of ``embedded:NAME``; every other path as it is."""
    if path.startswith(EMBEDDED):
        return str(embedded_model_path(path.removeprefix(EMBEDDED)))
    return path


def family_of(config: Any) -> ArchSpec:
    """The layout of a configuration's family."""
    return family_named(config.model_type, getattr(config, "feed_forward_proj", None) or "")


def _set_dropout(config: Any, dropout: float | None) -> None:
    if dropout is None:
        return
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a loader or writer of transformers without its progress bar and its reports.

    Head weights, for example, are rightly not in a checkpoint that is only pretrained.

    Args:
        function: what to call.
        *args: its arguments.
        **kwargs: its named arguments.

    Returns:
        What it returns.
    """
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
