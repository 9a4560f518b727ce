"""A run is found by its folder or by the beginning of its id, if it is finished."""

from pathlib import Path

import pytest

from apt_core.errors import ConfigError
from orchestrator.execution.status import TrialState, write_status
from orchestrator.trials import find_trial


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Sweep one with finished abc1 and abx2 and unfinished e3; sweep two with abc1 again."""
    for sweep, run_id in (("one", "abc1"), ("one", "abx2"), ("two", "abc1")):
        folder = tmp_path / sweep / "trials" / run_id
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    write_status(tmp_path / "one" / "trials" / "e3", TrialState.RUNNING)
    return tmp_path


def test_by_its_folder_or_one_inside_it(results: Path) -> None:
    trial = results / "one" / "trials" / "abx2"
    (trial / "export").mkdir()
    assert find_trial(str(trial), results) == trial
    assert find_trial(str(trial / "export"), results) == trial


def test_by_the_folder_of_a_sweep_with_one_finished_run(results: Path) -> None:
    assert find_trial(str(results / "two"), results) == results / "two" / "trials" / "abc1"
    with pytest.raises(ConfigError, match="2 runs: abc1, abx2"):
        find_trial(str(results / "one"), results)


def test_by_the_beginning_of_its_id_and_the_same_id_twice_is_one_run(results: Path) -> None:
    assert find_trial("abx", results).name == "abx2"
    assert find_trial("abc", results).name == "abc1"
    with pytest.raises(ConfigError, match="'ab' means 2 runs: abc1, abx2; give one"):
        find_trial("ab", results)


@pytest.mark.parametrize("run", ["zzz", ""])
def test_an_unknown_one_is_refused(results: Path, run: str) -> None:
    with pytest.raises(ConfigError, match=r"no run under .* --results-dir"):
        find_trial(run or "nothing/here", results)


def test_an_unfinished_one_is_refused_with_its_state(results: Path) -> None:
    with pytest.raises(ConfigError, match="not finished but RUNNING"):
        find_trial("e3", results)
    with pytest.raises(ConfigError, match=r"no finished run.*RUNNING"):
        find_trial(str(results / "one" / "trials" / "e3"), results)
