import json
import struct
from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.errors import UnsupportedModelError
from orchestrator.model_files import (
    HUB_FAMILIES,
    check_decoder,
    check_model,
    check_task,
    locate_model,
    read_shapes,
)
from tests.jobs.conftest import write_model, write_safetensors


def test_sizes_come_from_configuration_and_header(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    facts = check_model(str(tmp_path / "model"), "field")
    assert facts is not None
    assert (facts.num_params, facts.hidden_size, facts.num_layers) == (1000, 768, 12)


def test_a_hub_id_is_left_to_the_hub() -> None:
    assert check_model("FacebookAI/roberta-base", "field") is None
    assert locate_model("./here") == Path("here")
    assert locate_model("/a/b") == Path("/a/b")


def test_the_embedded_model_is_whole() -> None:
    facts = check_model("embedded:toy-roberta", "field")
    assert facts is not None
    assert 1_000_000 < facts.num_params < 3_000_000


@pytest.mark.parametrize("keep", [0, 5, 8, 40, -1])
def test_weights_that_end_too_early_are_told(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "w.safetensors"
    write_safetensors(file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UnsupportedModelError, match=r"field: .*w\.safetensors"):
        read_shapes(file, "field")


def test_something_else_than_safetensors_is_told(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(struct.pack("<Q", 4) + b"nope" + bytes(100))
    with pytest.raises(UnsupportedModelError, match="unreadable header"):
        read_shapes(file, "field")


def test_real_safetensors_files_are_understood(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5)}, tmp_path / "w.safetensors")
    assert read_shapes(tmp_path / "w.safetensors", "") == {"a": (2, 3), "b": (5,)}


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UnsupportedModelError, match="does not exist"):
        check_model(str(folder), "field")
    write_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match="convert the weights"):
        check_model(str(folder), "field")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"weight": "part-1.safetensors"}})
    )
    with pytest.raises(UnsupportedModelError, match=r"lacks the weight file part-1"):
        check_model(str(folder), "field")
    write_safetensors(folder / "part-1.safetensors", 7)
    facts = check_model(str(folder), "field")
    assert facts is not None
    assert facts.num_params == 7
    (folder / "config.json").unlink()
    with pytest.raises(UnsupportedModelError, match=r"no config\.json"):
        check_model(str(folder), "field")


def test_the_family_of_every_built_in_hub_id_is_known() -> None:
    paths = load_config().model.architectures.values()
    assert {path for path in paths if locate_model(path) is None} == HUB_FAMILIES.keys()


def test_an_encoder_is_refused_for_a_task_of_texts_before_it_is_fetched() -> None:
    check_task("FacebookAI/roberta-base", "field", "qa")
    with pytest.raises(UnsupportedModelError, match=r"field: .*'roberta' cannot do .*'summarizat"):
        check_task("FacebookAI/roberta-base", "field", "summarization")
    check_task("google/t5-base-lm-adapt", "field", "summarization")


def test_an_arm_for_decoders_refuses_whatever_has_an_encoder(tmp_path: Path) -> None:
    check_decoder("meta-llama/Llama-2-7b-hf", "field", "llm_pruner")
    check_decoder("somebody/unknown-model", "field", "llm_pruner")
    for path in ("FacebookAI/roberta-base", "google/t5-base-lm-adapt", "embedded:toy-t5"):
        with pytest.raises(UnsupportedModelError, match="arm: llm_pruner is for decoders"):
            check_decoder(path, "field", "llm_pruner")
    check_decoder("embedded:toy-llama", "field", "llm_pruner")


def test_a_family_is_read_from_a_folder_and_left_open_for_an_unknown_hub_id(
    tmp_path: Path,
) -> None:
    write_model(tmp_path / "model")
    with pytest.raises(UnsupportedModelError, match="cannot do"):
        check_task(str(tmp_path / "model"), "field", "instruction")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UnsupportedModelError, match="field: model family 'gpt2' is not supported"):
        check_task(str(tmp_path / "model"), "field", "classification")
    check_task("somebody/unknown-model", "field", "instruction")
    check_task(str(tmp_path / "absent"), "field", "instruction")
