"""Export a pruned model to a folder, and load it again: sliced safetensors and the structure."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig

from apt_core.adapters.inject import inject_adapters
from apt_core.adapters.merge import merge_adapters
from apt_core.errors import CheckpointError
from apt_core.models.loading import build_model
from apt_core.models.reshape import reshape_model
from apt_core.models.structure import Structure

WEIGHTS = "model.safetensors"
STRUCTURE = "structure.json"


def export_model(
    model: nn.Module, config: Any, structure: Structure, folder: Path, *, tokenizer: Any = None
) -> Path:
    """Write a merged model as safetensors with its configuration and structure.

    Args:
        model: the merged, sliced task model.
        config: its Hugging Face configuration (of the unpruned shape).
        structure: the shape after pruning.
        folder: where to; made when missing.
        tokenizer: saved beside the model when given.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    description = structure.with_ranks({}).to_json()
    (folder / STRUCTURE).write_text(json.dumps(description, indent=1), encoding="utf-8")
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def load_pruned(folder: str | Path) -> nn.Module:
    """Load an exported model, ready for inference.

    Args:
        folder: what `export_model` has written.

    Returns:
        The task model in evaluation mode, made of stock layers.

    Raises:
        CheckpointError: a file is missing or does not fit the structure.
    """
    folder = Path(folder)
    for name in ("config.json", STRUCTURE, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no exported model: {name} is missing")
    config = AutoConfig.from_pretrained(folder)
    structure = Structure.from_json(json.loads((folder / STRUCTURE).read_text(encoding="utf-8")))
    with torch.random.fork_rng(devices=[]):  # the throw-away weights must not move the stream
        loaded = build_model(config)
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=1.0)
    reshape_model(loaded.model, loaded.model_map, loaded.structure, structure)
    model = merge_adapters(loaded.model)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit its structure: {error}") from error
    return model.eval()
