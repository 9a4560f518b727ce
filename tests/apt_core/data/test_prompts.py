"""Prompts: the templates of the kinds, and what is cut first."""

import pytest

from apt_core.data.prompts import Prompt, default_prompt, kept_tokens, render, template_of


def test_every_kind_has_its_template() -> None:
    assert default_prompt("classification", "sst2", ["sentence"]) == "sst2 sentence: {sentence}"
    assert default_prompt("regression", "stsb", ["a", "b"]) == "stsb a: {a} b: {b}"
    assert default_prompt("qa", "x", ["q", "c"]) == "question: {q} context: {c}"
    assert default_prompt("summarization", "x", ["article"]) == "summarize: {article}"


def test_an_instruction_without_input_gets_the_shorter_template_of_alpaca() -> None:
    row = {"instruction": "Say hi.", "input": "to Ann"}
    both = template_of("instruction", "alpaca", row, None)
    assert "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:" in both
    one = template_of("instruction", "alpaca", {**row, "input": " "}, None)
    assert "Input" not in one
    assert one.endswith("### Instruction:\n{instruction}\n\n### Response:")
    assert template_of("instruction", "alpaca", {"instruction": "x"}, None) == one


def test_the_tasks_own_template_is_taken_for_every_row() -> None:
    row = {"instruction": "x", "input": ""}
    assert template_of("instruction", "a", row, "{instruction}|{input}") == "{instruction}|{input}"


def test_values_are_filled_in_and_their_places_are_known() -> None:
    prompt = render("A {one} B {two} C", {"one": "xx", "two": "yyyy"})
    assert prompt == Prompt("A xx B yyyy C", ((7, 11), (2, 4)))


def test_braces_in_a_value_are_no_placeholders() -> None:
    assert render("{one}", {"one": "{two} {"}).text == "{two} {"


def test_the_column_that_is_cut_first_comes_first() -> None:
    prompt = render("{one} {two}", {"one": "xx", "two": "yyyy"}, cut_first="one")
    assert [prompt.text[start:stop] for start, stop in prompt.cuttable] == ["xx", "yyyy"]


# Tokens are single characters; the values are "bcd" and "fg", and a special token stands in front.
PROMPT = Prompt("abcdefgh", ((1, 4), (5, 7)))
OFFSETS = [(0, 0), *((i, i + 1) for i in range(8))]


@pytest.mark.parametrize(
    ("max_tokens", "kept"),
    [
        (9, "abcdefgh"),
        (8, "abcefgh"),
        (6, "aefgh"),
        (5, "aefh"),
        (4, "aeh"),
    ],
)
def test_values_lose_their_ends_and_the_template_stays(max_tokens: int, kept: str) -> None:
    places = kept_tokens(PROMPT, OFFSETS, max_tokens)
    assert places is not None
    assert len(places) == max_tokens
    assert "".join(PROMPT.text[slice(*OFFSETS[place])] for place in places) == kept


def test_a_template_that_is_too_long_by_itself_is_told() -> None:
    assert kept_tokens(PROMPT, OFFSETS, 3) is None
