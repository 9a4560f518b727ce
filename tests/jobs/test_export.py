"""`aptune export` as a user meets it: what it finds, what it says, what it refuses."""

from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.config.load import config_to_json
from apt_core.errors import ConfigError
from apt_core.evaluator.export_check import Comparison
from apt_core.evaluator.export_speed import SpeedPoint
from apt_core.files import write_json
from apt_core.trainer.build_export import ExportRecord
from jobs import export as command
from jobs.common import exit_code_of
from jobs.export import Format, app, export
from orchestrator.execution.status import CONFIG_FILE, RESULT_FILE

RECORD = ExportRecord(
    to="hf",
    run_id="abc",
    device="CPU",
    check=Comparison(2.5e-7, 3.0, 1e-5, 32),
    speed=(SpeedPoint(1, 2.0, 1.0), SpeedPoint(32, 2.0, 5.0)),
    warnings=("not faster than the unpruned model at batch size 1 on CPU",),
    versions={},
)


def trial(results: Path) -> Path:
    folder = results / "sweep" / "trials" / "abc123"
    write_json(folder / RESULT_FILE, {})
    return folder


def test_it_says_what_was_verified_and_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def ship(*given: object) -> ExportRecord:
        asked.append(given)
        return RECORD

    monkeypatch.setattr(command, "_ship", ship)
    folder = trial(tmp_path)
    assert export("abc", Format.UNIFORM, None, tmp_path) == 0
    assert asked == [(folder, Format.UNIFORM, folder / "export-uniform")]
    said = capsys.readouterr().out
    assert "to 2.5e-07 on 32 rows" in said
    assert "batch 32: 2.00 ms, unpruned 5.00 ms, speed-up 2.50" in said
    assert "WARNING: not faster than the unpruned model at batch size 1" in said
    assert str(folder / "export-uniform") in said


def test_an_unreadable_run_is_the_users_error(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    with pytest.raises(ConfigError, match=r"RUN: .*abc123 cannot be read.*config\.json"):
        export("abc", Format.HF, None, tmp_path)
    write_json(folder / CONFIG_FILE, config_to_json(load_config([], [])))
    with pytest.raises(ConfigError, match="cannot be read"):  # an empty result
        export("abc", Format.HF, None, tmp_path)


@pytest.mark.parametrize(
    "arguments", [["nothing-there"], ["abc", "--to", "gguf"], []], ids=["run", "format", "none"]
)
def test_wrong_input_exits_with_2_and_one_message(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*arguments, "--results-dir", str(tmp_path)]
    assert exit_code_of(lambda: app(given, standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said


def test_the_help_tells_the_formats_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: app(["--help"], standalone_mode=False)) == 0
    said = " ".join(capsys.readouterr().out.replace("|", " ").split())
    for part in ("uniform: padded", "onnx: encoders", "fresh process"):
        assert part in said
