"""A training whose disk is full says so; when there is room it goes on, and nothing is lost."""

from pathlib import Path
from typing import Any

import pytest

from apt_core.config import config_to_json
from apt_core.errors import StorageError
from apt_core.files import write_json
from apt_core.trainer.build import run_training
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.commit import step_of
from orchestrator.execution.status import (
    CONFIG_FILE,
    RESULT_FILE,
    TrialState,
    finished_report,
    read_status,
)
from orchestrator.execution.trial import TrialSpec
from orchestrator.execution.worker import run_payload
from tests.reference.training_cases import ID, assert_same, outcome
from tests.small_disk import SmallDisk, small_disk
from tests.tiny_run import TOTAL_STEPS, tiny_experiment

FULL_STEP = 20
SETTINGS = ("arm=lora", "training.save_every=15 steps")


class FillAt(Callback):
    """Fills the disk in the middle of a training: when a step is logged, or when it is saved."""

    def __init__(self, disk: SmallDisk, step: int, when: str) -> None:
        self.disk = disk
        self.step = step
        self.when = when

    def on_step_end(self, state: Any, metrics: Any) -> None:
        if self.when == "logged" and state.step == self.step:
            self.disk.fill(next(self.disk.folder.rglob("metrics.jsonl")))

    def on_checkpoint(self, state: Any, path: Path) -> None:
        if self.when == "saved" and step_of(path) == self.step:
            self.disk.fill()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def undisturbed(root: Path) -> Any:
    run_training(tiny_experiment(root, *SETTINGS), run_dir=root / "whole", run_id=ID)
    return outcome(root / "whole")


@pytest.mark.parametrize(
    ("when", "step", "refused"),
    [("logged", FULL_STEP, r"metrics\.jsonl"), ("saved", TOTAL_STEPS, "")],
    ids=["metrics", "export and result"],
)
def test_a_full_disk_ends_the_training_and_room_continues_it(
    root: Path, tmp_path: Path, undisturbed: Any, when: str, step: int, refused: str
) -> None:
    config = config_to_json(tiny_experiment(root, *SETTINGS))
    with small_disk(tmp_path / "disk") as disk:
        run_dir = disk.folder / "trial"
        write_json(run_dir / CONFIG_FILE, config)
        payload = TrialSpec(ID, "a", run_dir, TOTAL_STEPS, config, "").payload("001")
        told = rf"{run_dir}.*{refused}: cannot be written: .*{disk.told}.*free space.*continues"
        with pytest.raises(StorageError, match=told):
            run_payload(payload, rank=0, callbacks=[FillAt(disk, step, when)])
        text = (run_dir / "metrics.jsonl").read_text()
        assert text.endswith("\n"), "half a line is no line"
        assert step <= len(text.splitlines()) < TOTAL_STEPS + (when == "saved")
        assert finished_report(run_dir, ID) is None
        # While it is full, the next attempt ends alike and harms nothing.
        with pytest.raises(StorageError):
            run_payload(payload, rank=0)
        disk.free()
        run_payload(payload, rank=0)
        assert_same(outcome(run_dir), undisturbed)
        assert [line for line, _ in outcome(run_dir)[1]] == list(range(1, TOTAL_STEPS + 1))
        assert read_status(run_dir).state is TrialState.FINISHED
        left = [path.name for path in run_dir.rglob("*") if "tmp" in path.name]
        assert left == []
        assert (run_dir / RESULT_FILE).is_file()
