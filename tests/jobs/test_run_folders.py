from pathlib import Path

import pytest

from apt_core.errors import DataError
from jobs.run_folders import find_run, find_runs
from tests.orchestrator.reports.synthetic_sweep import Trial, write_sweep

FT = [Trial("ft", seed=seed) for seed in (1, 2)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_sweep(tmp_path / "runs" / "demo", [*FT, Trial("lora")])
    return tmp_path / "runs"


def test_a_run_is_its_folder_a_file_in_it_its_id_or_the_beginning_of_that(runs: Path) -> None:
    folder = runs / "demo" / "trials" / Trial("lora").run_id
    for name in (str(folder), str(folder / "config.json"), folder.name, "roberta-sst2-lora"):
        assert find_run(name, runs) == folder


def test_a_sweep_is_all_its_runs_and_therefore_not_one(runs: Path) -> None:
    assert len(find_runs(str(runs / "demo"), runs)) == 3
    with pytest.raises(DataError, match=r"a sweep of 3 runs; give one of them: .*ft-full-0-s1"):
        find_run(str(runs / "demo"), runs)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "is no folder of a trial"), ("roberta-sst2-ft", "the beginning of 2 run ids")],
)
def test_what_means_no_run_or_two_is_refused(runs: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_run(name, runs)
