from pathlib import Path

from orchestrator.execution.folders import new_numbered_dir


def test_every_launch_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    names = [new_numbered_dir(tmp_path / "ray").name for _ in range(3)]
    assert names == ["001", "002", "003"]
