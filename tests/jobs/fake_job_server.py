"""A job server in memory, for what the commands do with one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.execution.job_package import CONFIG_NAME
from orchestrator.execution.job_records import JobRecord, JobState


@dataclass
class FakeJobServer:
    """What `JobServer` does, without a cluster."""

    records: dict[str, JobRecord] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    faster: list[JobRecord] = field(default_factory=list)
    """What others submit just before us."""
    last_state: JobState = JobState.SUCCEEDED
    output: str = "a line\n"

    def jobs(self) -> list[JobRecord]:
        return list(self.records.values())

    def job(self, submission_id: str) -> JobRecord:
        return self.records[submission_id]

    def submit(
        self, submission_id: str, entrypoint: str, *, working_dir: Path, folder: str
    ) -> bool:
        if self.faster:
            record = self.faster.pop()
            self.records[record.submission_id] = record
        if submission_id in self.records:
            return False
        self.records[submission_id] = JobRecord(submission_id, JobState.RUNNING, folder)
        self.configs[submission_id] = yaml.safe_load((working_dir / CONFIG_NAME).read_text())
        self.commands[submission_id] = entrypoint
        return True

    def end(self, submission_id: str, state: JobState, message: str = "") -> None:
        self.records[submission_id] = replace(
            self.records[submission_id], state=state, message=message
        )

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)

    def wait(self, submission_id: str, **options: Any) -> JobRecord:
        if not self.records[submission_id].state.has_ended:
            state = JobState.STOPPED if submission_id in self.stopped else self.last_state
            self.end(submission_id, state, "went wrong\nin detail")
        return self.records[submission_id]

    def logs(self, submission_id: str) -> str:
        return self.output

    def follow(self, submission_id: str, write: Callable[[str], Any]) -> None:
        write(self.output)


def connected(monkeypatch: pytest.MonkeyPatch, *modules: Any) -> FakeJobServer:
    """A server that the given command modules are connected to, whatever the address."""
    server = FakeJobServer()
    for module in modules:
        monkeypatch.setattr(module, "connect", lambda address: server)
    return server
