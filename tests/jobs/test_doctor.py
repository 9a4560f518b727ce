from pathlib import Path

import pytest

from apt_core.config import load_config
from jobs.doctor import Verdict, _amount, _devices, _version, doctor


def test_a_version_that_was_not_tested_is_a_warning_and_a_missing_package_a_failure() -> None:
    assert _version("pydantic", "2.").verdict is Verdict.OK
    assert _version("pydantic", "1.").verdict is Verdict.WARN
    missing = _version("no-such-package", "1.")
    assert missing.verdict is Verdict.FAIL
    assert missing.todo


def test_amounts_are_judged_by_two_thresholds() -> None:
    verdicts = [_amount("memory", gib, 4.0, 2.0, "close").verdict for gib in (4.0, 2.0, 1.9)]
    assert verdicts == [Verdict.OK, Verdict.WARN, Verdict.FAIL]


def test_doctor_shows_every_check_and_fails_when_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    sets = [f"orchestration.results_dir={tmp_path}"]
    doctor(sets=sets)
    out = capsys.readouterr().out
    for name in ("python", "torch", "ray", "free disk", "results_dir", "tracking", "recipes"):
        assert name in out
    assert doctor(sets=[*sets, "tracking.uri=http://127.0.0.1:9"]) == 1
    assert "fail" in capsys.readouterr().out


def test_a_results_folder_that_cannot_be_made_is_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "file").touch()
    assert doctor(sets=[f"orchestration.results_dir={tmp_path / 'file' / 'runs'}"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "(Not a directory)" in out
    assert "set it to a folder that you may write to" in out


@pytest.mark.parametrize(("lacking", "verdict"), [(True, Verdict.WARN), (False, Verdict.OK)])
def test_a_precision_that_the_processor_must_emulate_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, lacking: bool, verdict: Verdict
) -> None:
    monkeypatch.setattr("jobs.doctor.lacks_bf16_units", lambda: lacking)
    (found,) = _devices(load_config([], ["hardware.precision=bf16"]))
    assert found.verdict is verdict
    assert ("hardware.precision=fp32" in found.todo) == lacking
