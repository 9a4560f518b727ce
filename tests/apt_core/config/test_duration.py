"""Reading, writing and counting durations."""

import pytest
from pydantic_core import PydanticCustomError

from apt_core.config.duration import Duration


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("200 steps", 200),
        ("1 step", 1),
        (7, 7),
        ("3 epochs", 300),
        ("0.5 epochs", 50),
        ("1 epoch", 100),
        ("40%", 400),
        (" 2.5 % ", 25),
        ("0 steps", 0),
    ],
)
def test_a_duration_counts_steps(text: object, steps: int) -> None:
    assert Duration.parse(text).steps(steps_per_epoch=100, total_steps=1000) == steps


def test_shares_that_floats_cannot_hold_do_not_lose_a_step() -> None:
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    assert Duration.parse("29%").steps(1, 100) == 29
    assert Duration.parse("7%").steps(1, 100) == 7


@pytest.mark.parametrize("text", ["200 steps", "3 epochs", "2.5%", "1234567 steps", "0.125 epochs"])
def test_a_written_duration_reads_back(text: str) -> None:
    assert str(Duration.parse(text)) == text
    assert Duration.parse(str(Duration.parse(text))) == Duration.parse(text)


def test_a_number_of_steps_equals_its_long_spelling() -> None:
    assert Duration.parse(200) == Duration.parse("200 steps") == Duration(200, "steps")


@pytest.mark.parametrize(
    "wrong", ["six weeks", "-3 epochs", 2.5, True, None, "2.5 steps", "101%", -1]
)
def test_anything_else_is_refused_with_the_possible_spellings(wrong: object) -> None:
    with pytest.raises(PydanticCustomError, match='write "200 steps", "3 epochs", "40%"'):
        Duration.parse(wrong)
