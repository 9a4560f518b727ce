import json
import sys
from pathlib import Path

import pytest

from apt_core.errors import ConfigError, UserError
from jobs.cluster_options import connect, find, folder_of, sweep_folder
from orchestrator.execution import job_address
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from tests.jobs.fake_job_server import FakeJobServer

ID = submission_id("mine", "0" * 16, 1)


def sweep_at(folder: Path) -> Path:
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps({"run_ids": []}))
    return folder


def test_an_address_without_a_server_is_refused_before_ray_is_imported() -> None:
    with pytest.raises(ConfigError, match=r"no Ray job server at http://127.0.0.1:9"):
        connect("http://127.0.0.1:9")


def test_a_missing_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_address, "check_job_server", lambda address: None)
    monkeypatch.setitem(sys.modules, "orchestrator.execution.job_server", None)
    with pytest.raises(UserError, match=r"\.\[cluster\]"):
        connect(None)


def test_a_sweep_is_found_by_its_folder_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep_at(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    job = JobRecord(ID, JobState.RUNNING, str(folder))
    server = FakeJobServer(records={ID: job})
    assert sweep_folder("mine") == folder
    assert sweep_folder("other") is None
    assert sweep_folder(None) is None
    for grid in ("mine", str(folder), ID, None):
        assert find(server, grid) == job  # type: ignore[arg-type]


def test_a_jobs_folder_counts_only_where_it_can_be_seen(tmp_path: Path) -> None:
    folder = sweep_at(tmp_path / "mine")
    assert folder_of(JobRecord(ID, JobState.RUNNING, str(folder))) == folder
    assert folder_of(JobRecord(ID, JobState.RUNNING, "/on/the/cluster")) is None
    assert folder_of(JobRecord(ID, JobState.RUNNING)) is None
