"""Loading from a folder: classes, types, dropout, and messages instead of tracebacks."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.utils import logging as hf_logging

from apt_core.errors import UnsupportedModelError
from apt_core.models.loading import (
    build_model,
    load_model,
    load_tokenizer,
    resolve_model_path,
)
from tests.tiny import tiny_config
from tests.tiny_run import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), dropout=0.25)


def dropout_rates(model: nn.Module) -> set[float]:
    return {m.p for m in model.modules() if isinstance(m, nn.Dropout)}


def test_a_folder_gives_model_map_and_structure_that_belong_together(folder: Path) -> None:
    loaded = load_model(str(folder), num_labels=2)
    assert loaded.structure.hidden_size == 16
    assert [s.num_units for s in loaded.structure.sub_blocks] == [4, 24] * 4
    assert len(loaded.model_map.stacks[0].layers) == 4
    assert dropout_rates(loaded.model) == {0.25}
    assert not loaded.model.training


def test_dropout_can_be_replaced_in_every_place(folder: Path) -> None:
    assert dropout_rates(load_model(str(folder), num_labels=2, dropout=0.0).model) == {0.0}
    assert dropout_rates(load_model(str(folder), num_labels=2, dropout=0.5).model) == {0.5}


def test_an_encoder_without_a_head_gets_one_of_as_many_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_model(tiny_config("bert")).model.get_submodule("bert")
    encoder.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), num_labels=5)
    assert loaded.model.get_submodule("classifier").out_features == 5
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(loaded.model.get_parameter(f"bert.{name}"), encoder.get_parameter(name))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_trained_in_fp32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    build_model(tiny_config("roberta")).model.to(dtype).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype)[6:]
    loaded = load_model(str(tmp_path), num_labels=3)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    # Its dense twin and its reloaded export are built from this configuration.
    assert {p.dtype for p in build_model(loaded.config).model.parameters()} == {torch.float32}
    assert loaded.config.dtype is torch.float32


def test_loading_leaves_the_verbosity_and_progress_bars_as_they_were(folder: Path) -> None:
    before = (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled())
    hf_logging.set_verbosity_info()
    hf_logging.enable_progress_bar()
    try:
        load_model(str(folder), num_labels=2)
        assert hf_logging.get_verbosity() == hf_logging.INFO
        assert hf_logging.is_progress_bar_enabled()
        hf_logging.disable_progress_bar()
        load_model(str(folder), num_labels=2)
        assert not hf_logging.is_progress_bar_enabled()
    finally:
        hf_logging.set_verbosity(before[0])
        (hf_logging.enable_progress_bar if before[1] else hf_logging.disable_progress_bar)()


def test_a_head_of_another_number_of_classes_is_refused_with_the_number(folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"do not fit its config\.json with 7 classes"):
        load_model(str(folder), num_labels=7)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UnsupportedModelError, match=r"cannot load the model"):
        load_model(str(tmp_path), num_labels=2)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    write_model(tmp_path)
    state = build_model(tiny_config("roberta", num_layers=4)).model.state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match=r"cannot load the model"):
        load_model(str(tmp_path), num_labels=2)


def test_an_unknown_family_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match=r"'gpt2' is not supported.*bert, roberta"):
        load_model(str(tmp_path), num_labels=2)


def test_a_folder_that_is_not_there_is_said_to_be_no_folder() -> None:
    with pytest.raises(UnsupportedModelError, match=r"cannot load the model.*no local folder"):
        load_model("no/such-model", num_labels=2)
    with pytest.raises(UnsupportedModelError, match=r"cannot load the tokenizer.*no local folder"):
        load_tokenizer("no/such-model", revision=None, trust_remote_code=False)


def test_the_tokenizer_of_a_folder_is_read(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder), revision=None, trust_remote_code=False)
    assert tokenizer("the film").input_ids == [0, 13, 14, 2]


def test_embedded_models_are_folders_and_other_paths_stay() -> None:
    assert (Path(resolve_model_path("embedded:toy-roberta")) / "config.json").is_file()
    assert resolve_model_path("FacebookAI/roberta-base") == "FacebookAI/roberta-base"
