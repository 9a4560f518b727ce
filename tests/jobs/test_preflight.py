import os
from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.errors import DataError, UserError
from jobs.preflight import (
    Place,
    Problems,
    check_surroundings,
    hub_train_rows,
    ray_address,
)


def failing(message: str) -> None:
    raise DataError(message)


def test_problems_are_collected_and_repeated_ones_told_once() -> None:
    problems = Problems()
    assert problems.check(len, "abc") == 3
    for message in ("one", "two", "one"):
        assert problems.check(failing, message) is None
    with pytest.raises(UserError) as caught:
        problems.raise_if_any()
    assert str(caught.value) == "one\ntwo"


def test_no_problem_raises_nothing() -> None:
    Problems().raise_if_any()


def test_a_defect_of_ours_is_not_collected() -> None:
    with pytest.raises(ZeroDivisionError):
        Problems().check(divmod, 1, 0)


def test_the_address_comes_from_the_configuration_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_address(load_config()) is None
    monkeypatch.setenv("RAY_ADDRESS", "there:6379")
    assert ray_address(load_config()) == "there:6379"
    assert ray_address(load_config([], ["orchestration.address=here:1"])) == "here:1"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_results_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    problems = Problems()
    config = load_config([], [f"orchestration.results_dir={tmp_path / 'runs'}"])
    check_surroundings(config, problems, Place.HERE)
    with pytest.raises(UserError, match=r"orchestration\.results_dir"):
        problems.raise_if_any()


def test_results_do_not_go_into_rays_copy_of_a_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "working_dir_files" / "_ray_pkg_0"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    for results_dir, is_refused in (("runs", True), (str(tmp_path / "runs"), False)):
        problems = Problems()
        config = load_config([], [f"orchestration.results_dir={results_dir}"])
        check_surroundings(config, problems, Place.HERE)
        if is_refused:
            with pytest.raises(UserError, match=r"orchestration\.results_dir.*which Ray deletes"):
                problems.raise_if_any()
        else:
            problems.raise_if_any()


def test_a_results_folder_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    problems = Problems()
    config = load_config([], [f"orchestration.results_dir={tmp_path / 'file' / 'runs'}"])
    check_surroundings(config, problems, Place.HERE)
    with pytest.raises(UserError, match=r"cannot create .*runs \(Not a directory\)"):
        problems.raise_if_any()


def test_looking_at_a_results_folder_creates_nothing(tmp_path: Path) -> None:
    problems = Problems()
    config = load_config([], [f"orchestration.results_dir={tmp_path / 'new' / 'runs'}"])
    check_surroundings(config, problems, Place.HERE)
    problems.raise_if_any()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new" / "runs" / "kept").mkdir(parents=True)
    check_surroundings(config, problems, Place.HERE)
    assert (tmp_path / "new" / "runs" / "kept").is_dir()


def test_where_nobody_can_make_a_folder_this_is_told() -> None:
    problems = Problems()
    config = load_config([], ["orchestration.results_dir=/proc/aptune"])
    check_surroundings(config, problems, Place.HERE)
    with pytest.raises(UserError, match=r"results_dir: cannot create /proc/aptune"):
        problems.raise_if_any()


def test_a_private_cluster_without_a_token_is_told_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    config = load_config(
        [], [f"orchestration.results_dir={tmp_path / 'runs'}", "tracking.enabled=false"]
    )
    problems = Problems()
    check_surroundings(config, problems, Place.CLUSTER)
    with pytest.raises(UserError, match="unset RAY_AUTH_MODE"):
        problems.raise_if_any()
    problems = Problems()
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # somebody else's: they decide who may come
    check_surroundings(config, problems, Place.CLUSTER)
    problems.raise_if_any()


def test_sizes_of_the_hubs_glue_are_known_under_both_spellings() -> None:
    assert hub_train_rows(load_config().data.spec) == 67_349
    other = load_config([], ["data.datasets.sst2={path: glue/sst2, subset: null}"])
    assert hub_train_rows(other.data.spec) == 67_349
    own = load_config([], ["data.datasets.sst2={path: me/sst2, subset: null}"])
    assert hub_train_rows(own.data.spec) is None
