"""A trial is found by a path or by the beginning of its id."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apt_core.errors import DataError
from orchestrator.execution.status import TrialState, write_status
from orchestrator.trials import find_finished_run, find_run, find_runs


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Sweep one with finished abc1 and abx2 and unfinished e3; sweep two with abc1 again."""
    for sweep, run_id in (("one", "abc1"), ("one", "abx2"), ("two", "abc1")):
        folder = tmp_path / sweep / "trials" / run_id
        (folder / "export").mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    write_status(tmp_path / "one" / "trials" / "e3", TrialState.RUNNING)
    return tmp_path


@pytest.mark.parametrize("find", [find_run, find_finished_run])
def test_by_its_folder_something_in_it_its_id_or_the_beginning_of_that(
    results: Path, find: Callable[[str, Path], Path]
) -> None:
    trial = results / "one" / "trials" / "abx2"
    for name in (str(trial), str(trial / "export"), str(trial / "result.json"), "abx2", "abx"):
        assert find(name, results) == trial


def test_a_sweep_is_all_its_runs_and_therefore_not_one(results: Path) -> None:
    assert [path.name for path in find_runs(str(results / "one"), results)] == [
        "abc1",
        "abx2",
        "e3",
    ]
    with pytest.raises(DataError, match=r"a sweep of 3 runs; give one of them: .*abc1, .*abx2"):
        find_run(str(results / "one"), results)


def test_a_sweep_is_its_finished_run_if_it_holds_one(results: Path) -> None:
    assert find_finished_run(str(results / "two"), results) == results / "two" / "trials" / "abc1"
    with pytest.raises(DataError, match=r"holds 2 runs; give one of them: .*abc1, .*abx2"):
        find_finished_run(str(results / "one"), results)


def test_the_same_id_in_two_sweeps_is_one_run_and_the_finished_one_counts(results: Path) -> None:
    assert find_run("abc", results).name == "abc1"
    write_status(results / "two" / "trials" / "abx2", TrialState.RUNNING)
    assert find_run("abx", results) == results / "one" / "trials" / "abx2"


def test_a_whole_id_means_itself_though_others_begin_so(results: Path) -> None:
    write_status(results / "one" / "trials" / "abc12", TrialState.RUNNING)
    assert find_run("abc1", results).name == "abc1"


@pytest.mark.parametrize("name", ["zzz", "", "nothing/here"])
def test_what_means_nothing_is_refused(results: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"no folder of a trial .*--results-dir"):
        find_run(name, results / "two" / "trials")


def test_what_means_several_runs_is_refused(results: Path) -> None:
    with pytest.raises(DataError, match=r"'ab' is the beginning of 2 runs; give one of them"):
        find_run("ab", results)


def test_an_unfinished_one_is_refused_with_its_state_where_a_finished_one_is_needed(
    results: Path,
) -> None:
    assert find_run("e3", results).name == "e3"
    for name in ("e3", str(results / "one" / "trials" / "e3")):
        with pytest.raises(DataError, match="is not finished: e3 is RUNNING"):
            find_finished_run(name, results)
