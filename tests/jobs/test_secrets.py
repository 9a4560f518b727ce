"""Secrets of the environment stay there: no file, payload, tag, package or message repeats them."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from apt_core.config import config_to_json
from apt_core.files import write_json
from jobs.launch import only_driver_of, record_members
from jobs.tracked import sweep_info, trial_info
from orchestrator.execution.job_package import entrypoint, for_cluster, package
from orchestrator.execution.job_server import JOB_ENV
from orchestrator.execution.status import CONFIG_FILE
from orchestrator.execution.worker import run_payload
from tests.jobs.test_planning import plan_of
from tests.tiny_run import tiny_experiment

MARK = "hunter2-marker"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": MARK,
    "HF_TOKEN": MARK,
    "MLFLOW_AUTH_ADMIN_PASSWORD": MARK,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": MARK,
    "MLFLOW_TRACKING_PASSWORD": MARK,
    "MLFLOW_TRACKING_TOKEN": MARK,
    "MLFLOW_TRACKING_URI": f"http://me:{MARK}@127.0.0.1:9",
    "PGPASSWORD": MARK,
    "RAY_AUTH_TOKEN": MARK,
}

CHANGED_BY_A_WORKER = {
    "DS_ACCELERATOR": "cpu",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name, value in CHANGED_BY_A_WORKER.items():
        monkeypatch.setenv(name, value)


def files_with_the_mark(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if MARK.encode() in path.read_bytes()]


def test_neither_folder_nor_payload_nor_tags_of_a_sweep_hold_them(project: Path) -> None:
    plan = plan_of(project)
    with only_driver_of(plan):
        record_members(plan)
    assert files_with_the_mark(project / "runs") == []
    parent = sweep_info(plan)
    said = [
        config_to_json(plan.config),
        [spec.payload("001", project / "stop") for spec in plan.specs],
        [asdict(trial_info(trial, parent)) for trial in plan.trials],
    ]
    text = json.dumps(said, default=str)
    assert plan.specs[0].run_id in text
    assert MARK not in text


def test_neither_package_nor_command_nor_environment_of_a_job_hold_them(project: Path) -> None:
    config = for_cluster(plan_of(project).config, project)
    with package(config, with_code=False) as folder:
        assert files_with_the_mark(folder) == []
    assert MARK not in json.dumps([entrypoint(with_code=False), JOB_ENV])


def test_no_file_of_a_training_holds_them(tmp_path: Path) -> None:
    config = tiny_experiment(tmp_path, "arm=lora", "training.max_steps=2")
    run_dir = tmp_path / "run"
    write_json(run_dir / CONFIG_FILE, config_to_json(config))
    payload = {
        "run_id": "a",
        "run_dir": str(run_dir),
        "command": "aptune train",
        "entry": "apt_core.trainer.build:run_training",
        "launch_id": "001",
        "workers": {},
    }
    run_payload(payload, rank=0)
    assert (run_dir / "result.json").is_file()
    assert files_with_the_mark(run_dir) == []
