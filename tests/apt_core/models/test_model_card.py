"""The page that travels with an export."""

from dataclasses import replace
from pathlib import Path

import yaml

from apt_core.models.model_card import CardFacts, write_card
from apt_core.models.structure import Structure, SubBlock

STRUCTURE = Structure(
    11,
    (
        SubBlock("layer.0.attention", "attention", 2, 8, 4, 0, 1, 0, 2),
        SubBlock("layer.0.ffn", "ffn", 0, 1, 2, 0, 1),
    ),
)
FACTS = CardFacts(
    to="hf",
    head_kind="causal_lm",
    auto_class="AutoModelForCausalLM",
    title="llama on alpaca, 30% smaller",
    base_model="someone/llama",
    is_on_hub=True,
    dataset="alpaca",
    results={"rouge": 0.123456, "parameters": "1,234"},
    check="Compared on 32 rows.",
    speed=[(32, 2.0, 5.0)],
    device="CPU",
    warnings=("not faster at batch size 1",),
)


def test_it_says_what_there_is(tmp_path: Path) -> None:
    text = write_card(tmp_path, FACTS, STRUCTURE).read_text()
    assert text.isascii()
    for part in (
        "# llama on alpaca, 30% smaller",
        "> **Warning:** not faster at batch size 1",
        "AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)",
        "import apt_core.models.auto",
        "| rouge | 0.1235 |",
        "| parameters | 1,234 |",
        "Compared on 32 rows.",
        "| 32 | 2.00 | 5.00 | 2.50 |",
        "| layer.0.attention | heads | 4 |",
        "| layer.0.ffn | neurons | 0 |",
        "`someone/llama` and `alpaca`: their licences apply",
    ):
        assert part in text


def test_its_front_matter_is_yaml_and_names_the_base_model_where_it_is_public(
    tmp_path: Path,
) -> None:
    _, front, _ = write_card(tmp_path, FACTS, STRUCTURE).read_text().split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == "someone/llama"
    private = replace(FACTS, is_on_hub=False, base_model="mine")
    _, front, _ = write_card(tmp_path, private, STRUCTURE).read_text().split("---\n", 2)
    assert "base_model" not in yaml.safe_load(front)


def test_every_format_has_its_recipe(tmp_path: Path) -> None:
    uniform = write_card(tmp_path, replace(FACTS, to="uniform"), STRUCTURE).read_text()
    assert "trust_remote_code" not in uniform
    onnx = replace(FACTS, to="onnx", head_kind="sequence_classification")
    text = write_card(tmp_path, onnx, STRUCTURE).read_text()
    assert 'session.run(None, {"input_ids": ids' in text
    assert "library_name" not in text
