import pytest

from apt_core.errors import UserError
from jobs import logs as module
from jobs.logs import logs
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from tests.jobs.fake_job_server import connected


@pytest.mark.parametrize("follow", [False, True])
def test_the_log_of_the_newest_job_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], follow: bool
) -> None:
    server = connected(monkeypatch, module)
    with pytest.raises(UserError, match="has no sweep"):
        logs()
    identity = submission_id("mine", "0" * 16, 1)
    server.records[identity] = JobRecord(identity, JobState.RUNNING)
    assert logs("mine", follow=follow) == 0
    assert capsys.readouterr().out == "a line\n"
