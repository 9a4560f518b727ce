"""Section `model`."""

import pytest

from apt_core.config import ModelConfig
from apt_core.errors import ConfigError


def test_own_architectures_add_to_the_builtin_ones() -> None:
    model = ModelConfig(model_type="mine", architectures={"mine": "/models/mine"})
    assert model.path == "/models/mine"
    assert model.architectures["roberta"] == "FacebookAI/roberta-base"
    assert model.architectures["toy"] == "embedded:toy-roberta"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("toy", "embedded:toy-roberta"),
        ("toy_t5", "embedded:toy-t5"),
        ("toy_llama", "embedded:toy-llama"),
    ],
)
def test_the_embedded_models_need_no_declaration(name: str, path: str) -> None:
    assert ModelConfig(model_type=name).path == path


def test_the_path_is_expanded_and_the_table_stays_as_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    model = ModelConfig(architectures={"roberta": "${PLACE}/roberta"})
    assert model.path == "/somewhere/roberta"
    assert model.architectures["roberta"] == "${PLACE}/roberta"


def test_an_unset_variable_is_told_with_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    model = ModelConfig(architectures={"roberta": "${NOWHERE}/roberta"})
    with pytest.raises(ConfigError, match=r"^model\.architectures\.roberta: .* NOWHERE is not set"):
        _ = model.path
