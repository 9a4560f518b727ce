from pathlib import Path

import pytest

from apt_core.errors import DataError
from jobs.common import exit_code_of
from jobs.compare import app, compare, find_trials
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, write_sweep, write_trial


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_sweep(tmp_path / "runs" / "demo", demo_trials(seeds=(1, 2)))
    return tmp_path / "runs"


def test_runs_are_compared_in_the_terminal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = runs / "demo" / "trials"
    named = [
        str(trials / Trial(arm, seed=seed).run_id) for arm in ("ft", "lora") for seed in (1, 2)
    ]
    assert compare(named) == 0
    out = capsys.readouterr().out
    assert "compared to this" in out
    assert "within noise" in out or "lower" in out
    assert "peak training memory" in out


def test_a_run_is_found_by_folder_file_id_and_beginning(runs: Path) -> None:
    folder = runs / "demo" / "trials" / Trial("ft", seed=1).run_id
    other = runs / "demo" / "trials" / Trial("lora", seed=2).run_id
    for name in (str(folder), str(folder / "result.json"), folder.name):
        assert find_trials([name, str(other)], runs) == [folder, other]
    assert find_trials([str(other), "roberta-sst2-ft-full-0-s1"], runs) == [other, folder]


def test_a_sweep_stands_for_all_its_runs(runs: Path) -> None:
    assert len(find_trials([str(runs / "demo")], runs)) == 14


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nothing", "else"], "'nothing' is no folder of a trial"),
        (["roberta-sst2-ft", "x"], "is the beginning of 2 runs"),
        (["roberta-sst2-ft-full-0-s1"], "two or more different runs"),
        (["roberta-sst2-ft-full-0-s1", "roberta-sst2-ft-full-0-s1"], "two or more different"),
    ],
)
def test_a_name_that_means_no_two_runs_is_the_users_error(
    runs: Path, names: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=message):
        find_trials(names, runs)
    arguments = [*names, "--results-dir", str(runs)]
    assert exit_code_of(lambda: app(arguments, standalone_mode=False)) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_trials_without_anything_readable_are_refused(tmp_path: Path) -> None:
    folders = []
    for seed in (1, 2):
        folder = write_trial(tmp_path, Trial("ft", seed=seed), status={"state": "RUNNING"})
        (folder / "config.json").unlink()
        folders.append(str(folder))
    with pytest.raises(DataError, match="none of these folders"):
        compare(folders, tmp_path)


def test_running_and_torn_trials_are_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = runs / "demo"
    running = write_trial(sweep, Trial("apt", 0.8), status={"state": "RUNNING"}, stop_at=50)
    torn = write_trial(sweep, Trial("apt", 0.9))
    (torn / "result.json").write_text('{"torn')
    assert compare([str(running), str(torn), str(sweep / "trials" / Trial("ft").run_id)]) == 0
    out = capsys.readouterr().out
    assert "running" in out
    assert "unreadable" in out
