"""A look at a model's files before anything starts: are they there, are they whole, how big.

Reads `config.json` and the headers of safetensors files with the standard library; no torch.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apt_core.errors import UnsupportedModelError
from apt_core.models.families import FAMILIES, choose_head, family_named
from orchestrator.tokenizer_files import check_tokenizer

EMBEDDED = "embedded:"
HEADER_LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HUB_FAMILIES = {
    "FacebookAI/roberta-base": "roberta",
    "google-bert/bert-base-uncased": "bert",
    "google/t5-base-lm-adapt": "t5",
    "meta-llama/Llama-2-7b-hf": "llama",
}
"""Families of the hub ids that are built in: known without a download."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")


@dataclass(frozen=True)
class ModelFacts:
    """Sizes that are known without loading the model."""

    num_params: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int


def locate_model(path: str) -> Path | None:
    """The folder of an embedded or local model; None for a hub id, whose files may not be here yet.

    Args:
        path: `model.architectures` entry with variables expanded.

    Returns:
        The folder, which need not exist, or None.
    """
    if path.startswith(EMBEDDED):
        from apt_core.data.embedded import embedded_model_path

        return embedded_model_path(path.removeprefix(EMBEDDED))
    folder = Path(path).expanduser()
    if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1:
        return folder
    return folder if folder.is_dir() else None


def check_model(path: str, field: str) -> ModelFacts | None:
    """Check that a model's folder holds a configuration, a tokenizer and whole weights.

    Args:
        path: `model.architectures` entry with variables expanded.
        field: Its field path, for messages.

    Returns:
        The model's sizes; None for a hub id, which is fetched when training starts.

    Raises:
        UnsupportedModelError: If a file is missing, unreadable or cut short.
    """
    folder = locate_model(path)
    if folder is None:
        return None
    if not folder.is_dir():
        raise UnsupportedModelError(
            f"{field}: the model folder {folder} does not exist; correct the path, or give a hub "
            "id such as FacebookAI/roberta-base"
        )
    config = _read_config(folder, field)
    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise UnsupportedModelError(
            f"{field}: no tokenizer in {folder} (looked for {', '.join(TOKENIZER_FILES)}); save "
            "the model's tokenizer into the same folder"
        )
    if isinstance(config.get("vocab_size"), int):
        check_tokenizer(folder, config["vocab_size"], field)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in _weight_files(folder, field):
        shapes |= read_shapes(file, field)
    return _facts(config, sum(math.prod(shape) for shape in shapes.values()))


def check_task(path: str, field: str, task_kind: str) -> None:
    """Check that a model's family is known and can do a kind of task.

    Args:
        path: `model.architectures` entry with variables expanded.
        field: Its field path, for messages.
        task_kind: What is to be learned.

    Raises:
        UnsupportedModelError: If the family is unknown or cannot do it; a hub id that is not built
            in is checked when it has been fetched.
    """
    config = _family_config(path, field)
    if config is None:
        return
    family = str(config.get("model_type", ""))
    try:
        spec = family_named(family, str(config.get("feed_forward_proj") or ""))
        choose_head(spec, family, task_kind)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{field}: {error}") from None


def check_decoder(path: str, field: str, arm: str) -> None:
    """Check that a model writes and has no encoder, for arms that know no others.

    Args:
        path: `model.architectures` entry with variables expanded.
        field: Its field path, for messages.
        arm: The arm that asks for it.

    Raises:
        UnsupportedModelError: If it has an encoder; a hub id that is not built in, or a family that
            is not known, is refused elsewhere.
    """
    config = _family_config(path, field)
    family = "" if config is None else str(config.get("model_type", ""))
    if family in FAMILIES and not FAMILIES[family].is_decoder:
        raise UnsupportedModelError(
            f"arm: {arm} is for decoders such as llama, and {field} is of family {family!r}, which "
            "has an encoder; choose another model or another arm"
        )


def _family_config(path: str, field: str) -> Mapping[str, Any] | None:
    """What names the family: the folder's configuration, or ours of a hub id; None: not known."""
    folder = locate_model(path)
    if folder is not None:
        return _read_config(folder, field) if folder.is_dir() else None
    return {"model_type": HUB_FAMILIES[path]} if path in HUB_FAMILIES else None


def read_shapes(file: Path, field: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file's tensors, checked against the file's length.

    The format: 8 bytes with the length of the header (little endian), the header (JSON: name ->
    dtype, shape, data_offsets), then the data; the largest offset is the data's length.

    Args:
        file: The file.
        field: Field path for messages.

    Returns:
        Tensor name -> shape.

    Raises:
        UnsupportedModelError: If the file is not safetensors or ends too early.
    """
    size = os.path.getsize(file)
    with file.open("rb") as stream:
        prefix = stream.read(HEADER_LENGTH_BYTES)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == HEADER_LENGTH_BYTES else size
        if length > min(MAX_HEADER_BYTES, size - HEADER_LENGTH_BYTES):
            raise _damaged(file, field, f"is cut short or not safetensors ({size:,} bytes)")
        header = _parse_header(stream.read(length), file, field)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    data = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    needed = HEADER_LENGTH_BYTES + length + data
    if needed != size:
        raise _damaged(file, field, f"has {size:,} bytes, but its header describes {needed:,}")
    return {name: tuple(entry["shape"]) for name, entry in tensors.items()}


def _parse_header(data: bytes, file: Path, field: str) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except ValueError as error:
        raise _damaged(file, field, "has an unreadable header") from error
    if not isinstance(header, dict):
        raise _damaged(file, field, "has an unreadable header")
    return header


def _damaged(file: Path, field: str, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{field}: {file} {what}; copy or download it again")


def _read_config(folder: Path, field: str) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnsupportedModelError(
            f"{field}: no config.json in {folder}; give the folder that save_pretrained wrote"
        ) from None
    except ValueError as error:
        raise UnsupportedModelError(
            f"{field}: {folder / 'config.json'} is not JSON ({error}); copy it again"
        ) from error
    return config if isinstance(config, dict) else {}


def _weight_files(folder: Path, field: str) -> list[Path]:
    """The one weight file, or the shards that the index names."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not (folder / INDEX).exists():
        raise UnsupportedModelError(
            f"{field}: neither {WEIGHTS} nor {INDEX} in {folder}; convert the weights with "
            "save_pretrained(..., safe_serialization=True)"
        )
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    files = sorted({folder / name for name in index["weight_map"].values()})
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise UnsupportedModelError(
            f"{field}: {folder} lacks the weight file {missing[0]} that its index names; copy or "
            "download it again"
        )
    return files


def _facts(config: Mapping[str, Any], num_params: int) -> ModelFacts:
    """Sizes under the names that the families use; 0 where a configuration does not say."""

    def first(*names: str) -> int:
        return next((int(config[name]) for name in names if config.get(name)), 0)

    return ModelFacts(
        num_params=num_params,
        hidden_size=first("hidden_size", "d_model", "dim"),
        num_layers=first("num_hidden_layers", "num_layers", "n_layers")
        + first("num_decoder_layers"),
        num_heads=first("num_attention_heads", "num_heads", "n_heads"),
        intermediate_size=first("intermediate_size", "d_ff", "hidden_dim"),
    )
