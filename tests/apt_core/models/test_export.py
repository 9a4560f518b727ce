"""What an export holds, what loading gives back, and which folders are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from apt_core.adapters.merge import merge_adapters
from apt_core.errors import CheckpointError
from apt_core.models.export import STRUCTURE, WEIGHTS, export_model, load_pruned
from apt_core.models.loading import load_model
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model
from tests.tiny import tiny_batch, tiny_model
from tests.tiny_run import write_model


def pruned_export(folder: Path) -> tuple[nn.Module, Structure]:
    loaded, structure = tiny_model()
    units = {s.name: torch.arange(0, s.num_units, 2) for s in structure.sub_blocks}
    kept = KeptBlocks(units, torch.arange(11))
    after = prune_model(loaded.model, loaded.model_map, structure, kept).structure_after
    model = merge_adapters(loaded.model).eval()
    assert export_model(model, loaded.config, after, folder) == folder
    return model, after


def test_an_export_is_the_merged_weights_and_the_structure_without_adapters(tmp_path: Path) -> None:
    model, structure = pruned_export(tmp_path / "deep" / "export")
    folder = tmp_path / "deep" / "export"
    saved = load_file(folder / WEIGHTS)
    expected = model.state_dict()
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in saved)
    described = Structure.from_json(json.loads((folder / STRUCTURE).read_text(encoding="utf-8")))
    assert described == structure.with_ranks({})
    assert structure.ranks


def test_loading_gives_a_stock_model_and_leaves_the_random_stream_alone(tmp_path: Path) -> None:
    model, _ = pruned_export(tmp_path)
    state = torch.get_rng_state()
    reloaded = load_pruned(str(tmp_path))
    assert torch.equal(torch.get_rng_state(), state)
    assert not reloaded.training
    batch = tiny_batch(labels=False)
    assert torch.equal(reloaded(**batch).logits, model(**batch).logits)
    assert [type(m) for m in reloaded.modules()] == [type(m) for m in model.modules()]


def test_a_model_that_was_stored_in_half_precision_is_exported_whole(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    plain = load_model(str(tmp_path / "model"), num_labels=2)
    plain.model.half().save_pretrained(tmp_path / "half")
    loaded = load_model(str(tmp_path / "half"), num_labels=2)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.mul_(1.0 + 1e-5)  # training leaves values that fp16 cannot hold
    export_model(loaded.model, loaded.config, loaded.structure, tmp_path / "export")
    reloaded = load_pruned(tmp_path / "export").state_dict()
    expected = loaded.model.state_dict()
    assert {t.dtype for t in reloaded.values()} == {torch.float32}
    assert all(torch.equal(reloaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["config.json", STRUCTURE, WEIGHTS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    pruned_export(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is missing"):
        load_pruned(tmp_path)


def test_weights_of_another_shape_or_torn_ones_are_refused(tmp_path: Path) -> None:
    pruned_export(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    save_file({**weights, "classifier.dense.weight": torch.zeros(2, 2)}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"classifier\.dense\.weight"):
        load_pruned(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"does not fit its structure"):
        load_pruned(tmp_path)
