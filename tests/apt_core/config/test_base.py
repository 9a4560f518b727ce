"""What every section shares: frozen, strict, and ${ENV} in paths."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from apt_core.config.base import expand_env, expand_path
from apt_core.config.training import TrainingConfig
from apt_core.errors import ConfigError


def test_a_section_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainingConfig().seed = 3


def test_whole_numbers_serve_as_floats_and_text_does_not() -> None:
    assert TrainingConfig(learning_rate=1).learning_rate == 1.0
    with pytest.raises(ValidationError, match="valid number"):
        TrainingConfig(learning_rate="1")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="valid integer"):
        TrainingConfig(batch_size=True)


def test_a_list_serves_as_a_tuple_with_strict_elements() -> None:
    assert TrainingConfig.model_validate({"betas": [0.5, 0.6]}).betas == (0.5, 0.6)
    with pytest.raises(ValidationError, match="valid number"):
        TrainingConfig.model_validate({"betas": ["0.5", 0.6]})


def test_variables_and_home_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("TWO", "two")
    assert expand_env("/a/${ONE}/${TWO}${ONE}", "field") == "/a/1/two1"
    assert expand_env("$ONE {TWO}", "field") == "$ONE {TWO}"
    assert expand_path("~/x/${TWO}", "field") == Path.home() / "x" / "two"


def test_an_unset_variable_is_named_with_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    message = r'^a\.b: environment variable NOWHERE is not set \(got "\$\{NOWHERE\}/x"\); export'
    with pytest.raises(ConfigError, match=message):
        expand_env("${NOWHERE}/x", "a.b")
