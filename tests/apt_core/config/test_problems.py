"""How a problem reads."""

import pytest

from apt_core.config.problems import Problem, closest, did_you_mean, raise_problems, shown
from apt_core.errors import ConfigError


def test_a_problem_is_one_line_with_path_fault_value_and_remedy() -> None:
    problem = Problem("a.b", "is wrong", "mend it", [1, "x"])
    assert str(problem) == 'a.b: is wrong (got [1, "x"]); mend it'
    assert str(Problem("a.b", "is wrong", "mend it")) == "a.b: is wrong; mend it"
    assert str(Problem("a.b", "is wrong", "mend it", None)) == "a.b: is wrong (got null); mend it"


def test_long_values_are_shortened() -> None:
    assert len(shown("x" * 500)) == 80
    assert shown("x" * 500).endswith("...")


@pytest.mark.parametrize(
    ("word", "match"),
    [("lerning_rate", "learning_rate"), ("W/O_ap", "w/o_Ap"), ("zebra", None)],
)
def test_the_closest_known_word_is_found(word: str, match: str | None) -> None:
    assert closest(word, ["seed", "learning_rate", "w/o_Ap"]) == match


def test_a_remedy_lists_what_is_possible() -> None:
    assert did_you_mean("ftt", ["ft", "apt"]) == "did you mean ft? choose one of ft, apt"
    assert did_you_mean("zzz", ["ft", "apt"]) == "choose one of ft, apt"


def test_a_complaint_rests_on_fields_around_and_inside_its_own() -> None:
    problem = Problem("a.b", "x", "y", involves=("c.d",))
    assert problem.rests_on(["a"])
    assert problem.rests_on(["c.d.e"])
    assert not problem.rests_on(["a.bb", "c.x"])


def test_all_problems_are_raised_together_and_each_once() -> None:
    problems = [Problem("a", "x", "y"), Problem("b", "x", "y"), Problem("a", "x", "y")]
    with pytest.raises(ConfigError) as error:
        raise_problems(problems)
    assert str(error.value) == "a: x; y\nb: x; y"
    raise_problems([])
