"""Export a pruned model to a folder, and load it again: sliced safetensors and the structure."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, GenerationConfig

from apt_core.adapters.inject import inject_adapters
from apt_core.adapters.merge import merge_adapters
from apt_core.errors import CheckpointError
from apt_core.models.loading import build_model
from apt_core.models.reshape import reshape_model
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure

WEIGHTS = "model.safetensors"
STRUCTURE = "structure.json"
GENERATION = "generation_config.json"


def export_model(
    model: nn.Module,
    config: Any,
    structure: Structure,
    folder: Path,
    *,
    head_kind: HeadKind = "sequence_classification",
    tokenizer: Any = None,
) -> Path:
    """Write a merged model as safetensors with its configuration and structure.

    Args:
        model: the merged, sliced task model.
        config: its Hugging Face configuration (of the unpruned shape).
        structure: the shape after pruning.
        folder: where to; made when missing.
        head_kind: what the model predicts.
        tokenizer: saved beside the model when given.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        generation.save_pretrained(folder)
    description = {"head_kind": head_kind, **structure.with_ranks({}).to_json()}
    (folder / STRUCTURE).write_text(json.dumps(description, indent=1), encoding="utf-8")
    save_file(_unique_tensors(model), folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def _unique_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors by name; of a shared one only the first name."""
    shared = shared_names(model)
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if name not in shared
    }


def shared_names(model: nn.Module) -> frozenset[str]:
    """Names of parameters that stand under another name before: tied embeddings, shared tables."""
    first = {name for name, _ in model.named_parameters()}
    return frozenset(
        name for name, _ in model.named_parameters(remove_duplicate=False) if name not in first
    )


@dataclass(frozen=True)
class Exported:
    """What an exported folder holds."""

    model: nn.Module
    """The task model in evaluation mode, made of stock layers."""
    config: Any
    """The Hugging Face configuration of the unpruned model."""
    structure: Structure
    head_kind: HeadKind


def load_pruned(folder: str | Path) -> nn.Module:
    """Load an exported model, ready for inference.

    Args:
        folder: what `export_model` has written.

    Returns:
        The task model in evaluation mode, made of stock layers.

    Raises:
        CheckpointError: a file is missing or does not fit the structure.
    """
    return open_export(folder).model


def open_export(folder: str | Path) -> Exported:
    """Load an exported model with everything that is known about it.

    Args:
        folder: what `export_model` has written.

    Returns:
        Model, configuration, structure and head.

    Raises:
        CheckpointError: a file is missing or does not fit the structure.
    """
    folder = Path(folder)
    for name in ("config.json", STRUCTURE, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no exported model: {name} is missing")
    config = AutoConfig.from_pretrained(folder)
    description = json.loads((folder / STRUCTURE).read_text(encoding="utf-8"))
    structure = Structure.from_json(description)
    head_kind = description.get("head_kind", "sequence_classification")
    with torch.random.fork_rng(devices=[]):  # the throw-away weights must not move the stream
        loaded = build_model(config, head_kind)
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=1.0)
    reshape_model(loaded.model, loaded.model_map, loaded.structure, structure)
    model = merge_adapters(loaded.model)
    _load_weights(model, folder / WEIGHTS)
    if (folder / GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return Exported(model.eval(), config, structure, head_kind)


def _load_weights(model: nn.Module, file: Path) -> None:
    try:
        state = load_file(file)
        misfit = model.load_state_dict(state, strict=False)
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{file} does not fit its structure: {error}") from error
    missing = set(misfit.missing_keys) - shared_names(model)
    if missing or misfit.unexpected_keys:
        names = sorted(missing | set(misfit.unexpected_keys))
        raise CheckpointError(f"{file} does not fit its structure: {', '.join(names[:5])}")
