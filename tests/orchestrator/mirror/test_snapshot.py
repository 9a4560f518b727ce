"""What of a trial is worth a copy, and that it stands still while it is copied."""

import json
import shutil
from pathlib import Path

import pytest

from apt_core.trainer.build_export import RECORD
from orchestrator.execution.status import RESULT_FILE, TrialState, write_status
from orchestrator.mirror import snapshot as module
from orchestrator.mirror.snapshot import STAGE, files_of, newest_step, snapshot, stamp_of


def add_checkpoint(run_dir: Path, step: int) -> Path:
    folder = run_dir / "checkpoints" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(bytes([step]) * 10)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_the_newest_step_is_the_greatest_number() -> None:
    names = ["checkpoints/step-00000009/manifest.json", "checkpoints/step-00000010/manifest.json"]
    assert newest_step(names) == 10
    assert newest_step(["checkpoints/step-00000011/weights.safetensors", "config.json"]) == -1


def test_what_is_half_written_hidden_or_the_trackers_stays_here(tmp_path: Path) -> None:
    add_checkpoint(tmp_path, 3)
    for name in (".lock", "tracking.json", "config.json", "checkpoints/partial-00000004/w", ".x/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [
        "checkpoints/step-00000003/manifest.json",
        "checkpoints/step-00000003/weights.safetensors",
        "config.json",
    ]
    assert files_of(tmp_path / "missing") == []


def test_the_stamp_follows_checkpoints_and_the_end(tmp_path: Path) -> None:
    stamps = [stamp_of(tmp_path)]
    write_status(tmp_path, TrialState.RUNNING)
    stamps.append(stamp_of(tmp_path))
    assert stamps == ["", ""]
    for step in (9, 10):
        add_checkpoint(tmp_path, step)
        stamps.append(stamp_of(tmp_path))
    for state in (TrialState.KILLED, TrialState.RUNNING, TrialState.FAILED):
        write_status(tmp_path, state)
        stamps.append(stamp_of(tmp_path))
    assert stamps[5] == stamps[3]  # running again: nothing new
    (tmp_path / RESULT_FILE).write_text("{}")
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "export-hf").mkdir()
    stamps.append(stamp_of(tmp_path))  # an export that is not whole: nothing new
    (tmp_path / "export-hf" / RECORD).write_text("{}")
    stamps.append(stamp_of(tmp_path))
    assert stamps[8] == stamps[7]
    assert len(set(stamps)) == len(stamps) - 3


def test_what_is_written_meanwhile_does_not_show(tmp_path: Path) -> None:
    add_checkpoint(tmp_path, 1)
    log = tmp_path / "metrics.jsonl"
    log.write_text("one\n")
    with snapshot(tmp_path) as files:
        with log.open("a") as file:
            file.write("two\n")
        shutil.rmtree(tmp_path / "checkpoints")
        add_checkpoint(tmp_path, 2)
        assert {name: path.read_bytes() for name, path in files.items()} == {
            "checkpoints/step-00000001/manifest.json": b"{}",
            "checkpoints/step-00000001/weights.safetensors": b"\1" * 10,
            "metrics.jsonl": b"one\n",
        }
    assert not (tmp_path / STAGE).exists()


def test_a_checkpoint_that_goes_in_between_is_not_copied_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_checkpoint(tmp_path, 1)
    listed: list[list[str]] = []

    def files_then_new_ones(run_dir: Path) -> list[str]:
        listed.append(files_of(run_dir))
        if len(listed) == 1:
            shutil.rmtree(tmp_path / "checkpoints" / "step-00000001")
            add_checkpoint(tmp_path, 2)
        return listed[-1]

    monkeypatch.setattr(module, "files_of", files_then_new_ones)
    with snapshot(tmp_path) as files:
        assert newest_step(files) == 2
        assert {name.split("/")[1] for name in files} == {"step-00000002"}
    monkeypatch.setattr(module, "files_of", lambda run_dir: ["never/there"])
    with pytest.raises(FileNotFoundError), snapshot(tmp_path):
        pass
    assert not (tmp_path / STAGE).exists()


def test_a_checkpoint_on_its_way_out_is_not_copied_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = add_checkpoint(tmp_path, 1)
    add_checkpoint(tmp_path, 2)
    (going / "weights.safetensors").unlink()  # what `rmtree` has come to when it is listed
    calls: list[Path] = []

    def list_while_it_goes(run_dir: Path) -> list[str]:
        names = files_of(run_dir)
        calls.append(run_dir)
        if len(calls) == 1:
            monkeypatch.setattr(module, "_hold", hold_then_drop)
        return names

    def hold_then_drop(run_dir: Path, name: str, stage: Path) -> Path:
        held = hold(run_dir, name, stage)
        if newest_step([name]) == 2:
            shutil.rmtree(going, ignore_errors=True)
        return held

    hold = module._hold
    monkeypatch.setattr(module, "files_of", list_while_it_goes)
    with snapshot(tmp_path) as files:
        assert {name.split("/")[1] for name in files} == {"step-00000002"}


def test_a_stage_that_was_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / STAGE).mkdir()
    (tmp_path / STAGE / "config.json").write_text(json.dumps("old"))
    (tmp_path / "config.json").write_text(json.dumps("new"))
    with snapshot(tmp_path) as files:
        assert json.loads(files["config.json"].read_text()) == "new"
