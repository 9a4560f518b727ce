"""A tiny project on disk: a dataset and a model folder as the command line sees them."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

NUM_ROWS = 64
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 768, 12, 12, 3072


def write_split(folder: Path, split: str, columns: Mapping[str, Sequence[object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), folder / f"{split}.parquet")


def write_dataset(folder: Path) -> None:
    columns: dict[str, Sequence[object]] = {
        "sentence": ["good", "bad"] * (NUM_ROWS // 2),
        "label": [1, 0] * (NUM_ROWS // 2),
    }
    write_split(folder, "train", columns)
    write_split(folder, "validation", columns)


def write_safetensors(path: Path, num_values: int = 1000) -> None:
    tensor = {"dtype": "F32", "shape": [num_values], "data_offsets": [0, 4 * num_values]}
    header = json.dumps({"weight": tensor}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * num_values))


def write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    sizes = {
        "model_type": "roberta",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
    }
    (folder / "config.json").write_text(json.dumps(sizes))
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with ``data``, ``model`` and a valid ``config.yaml`` over both."""
    write_dataset(tmp_path / "data")
    write_model(tmp_path / "model")
    config = {
        "name": "small",
        "model": {"model_type": "mine", "architectures": {"mine": str(tmp_path / "model")}},
        "data": {
            "dataset": "mine",
            "datasets": {
                "mine": {
                    "path": str(tmp_path / "data"),
                    "text_columns": ["sentence"],
                    "labels": ["negative", "positive"],
                }
            },
        },
        "training": {"batch_size": 8, "num_epochs": None, "max_steps": 100},
        "pruning": {"start": 10, "stop": 50, "num_events": 4, "window": 5, "mask_step": 0.2},
        "orchestration": {
            "results_dir": str(tmp_path / "runs"),
            "grid": [{"arm": ["ft", "lora"]}, {"arm": "apt", "sparsity": [0.4, 0.6]}],
        },
        "tracking": {"enabled": False},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path
