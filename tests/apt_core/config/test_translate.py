"""Validation errors as problems."""

from typing import Any

import pytest
from pydantic import ValidationError

from apt_core.config import ExperimentConfig
from apt_core.config.translate import dotted, field_paths, problems_of


def problems(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as error:
        ExperimentConfig.model_validate(data)
    return [str(problem) for problem in problems_of(error.value, ExperimentConfig)]


def test_locations_are_dotted_and_indexed() -> None:
    assert dotted(("orchestration", "grid", 0, "arm", 1)) == "orchestration.grid[0].arm[1]"
    assert dotted(()) == ""


def test_paths_of_nested_sections_follow_their_section() -> None:
    paths = field_paths(ExperimentConfig)
    assert paths.index("model.adapter") < paths.index("model.adapter.apply_to_ffn")
    assert "arm" in paths


def test_each_error_becomes_one_problem_in_our_words() -> None:
    found = problems({"training": {"seed": "1", "eps": 0, "sede": 1}, "data": {"dataset": 1}})
    assert found[0].startswith("data.dataset: must be text (got 1)")
    assert (
        found[1]
        == 'training.seed: must be a whole number (got "1"); write a whole number without quotes'
    )
    assert found[2] == "training.eps: must be above 0 (got 0); write a value above 0"
    assert found[3].startswith("training.sede: unknown key; did you mean seed?")
    assert len(found) == 4


def test_broken_rules_become_their_own_problems() -> None:
    found = problems({"arm": "ft", "ablation": "w/o_Ds", "tuning": {"max_rank": 1}})
    assert [line.partition(":")[0] for line in found] == ["ablation", "tuning.max_rank"]


def test_keys_must_be_text() -> None:
    (line, *_) = problems({"data": {"datasets": {3: {}}}})
    assert line == "data.datasets[3]: must be text (got 3); put it in quotes"


def test_an_error_without_a_translation_keeps_its_message() -> None:
    (line,) = problems({1: "x"})  # type: ignore[dict-item]
    assert line == "[1]: Keys should be strings (got 1); correct it"
