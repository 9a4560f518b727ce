import io
import json
from pathlib import Path

from rich.console import Console

from orchestrator.execution.status import TrialState, write_status
from orchestrator.execution.trial import TrialSpec
from orchestrator.progress import SweepProgress, TrialProgress, duration_text, progress_line


def spec(run_dir: Path) -> TrialSpec:
    return TrialSpec("a", "apt 0.6", run_dir, 100, {}, "")


def write(run_dir: Path, *lines: tuple[int, int, dict[str, float]], mode: str = "a") -> None:
    with (run_dir / "metrics.jsonl").open(mode) as file:
        for step, time_ms, values in lines:
            file.write(json.dumps({"step": step, "time_ms": time_ms, "values": values}) + "\n")


def test_eta_follows_the_mean_speed(tmp_path: Path) -> None:
    row = TrialProgress(spec(tmp_path))
    write_status(tmp_path, TrialState.RUNNING)
    write(tmp_path, (10, 0, {"train/loss": 1.0}), (30, 4_000, {"train/loss": 0.5}))
    row.refresh()
    # 20 steps in 4 s: 0.2 s a step, 70 steps left
    assert row.eta_s == 14.0
    assert row.values["loss"] == 0.5


def test_a_half_written_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    row = TrialProgress(spec(tmp_path))
    write(tmp_path, (10, 0, {}))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "time')
    row.refresh()
    assert row.step == 10
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('_ms": 5, "values": {}}\n')
    row.refresh()
    assert row.step == 20


def test_a_log_that_was_cut_back_is_read_again(tmp_path: Path) -> None:
    row = TrialProgress(spec(tmp_path))
    write(tmp_path, (10, 0, {}), (20, 1, {}), (30, 2, {}))
    row.refresh()
    write(tmp_path, (10, 0, {}), mode="w")
    row.refresh()
    assert row.step == 10


def test_time_before_this_launch_does_not_slow_the_estimate(tmp_path: Path) -> None:
    row = TrialProgress(spec(tmp_path))
    write_status(tmp_path, TrialState.RUNNING)
    write(tmp_path, (10, 0, {}))
    row.skip_history()
    hour = 3_600_000
    write(tmp_path, (20, hour, {}), (30, hour + 1_000, {}))
    row.refresh()
    assert row.eta_s == 7.0


def test_without_a_terminal_a_trial_writes_lines_when_something_happens(tmp_path: Path) -> None:
    out = io.StringIO()
    with SweepProgress([spec(tmp_path)], Console(file=out, width=200)) as progress:
        progress.refresh()
        assert out.getvalue() == ""  # pending: nothing to say
        write_status(tmp_path, TrialState.RUNNING)
        progress.refresh()
        progress.refresh()
        write(tmp_path, (5, 0, {"train/loss": 0.25}))
        progress.refresh()  # a step alone is no news before the time is up
        write(tmp_path, (10, 1_000, {"eval/metric": 0.75, "model/sparsity": 0.1}))
        progress.refresh()
    assert out.getvalue().splitlines() == [
        "apt 0.6: running, step 0/100",
        "apt 0.6: running, step 10/100, sparsity 0.1000, metric 0.7500, loss 0.2500, 18 s left",
    ]


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    with SweepProgress([spec(tmp_path)], console) as progress:
        progress.refresh()
    assert "trial" in out.getvalue()
    assert "0/100" in out.getvalue()


def test_an_unknown_length_is_a_question_mark(tmp_path: Path) -> None:
    row = TrialProgress(TrialSpec("a", "apt", tmp_path, 0, {}, ""))
    assert progress_line(row) == "apt: pending, step 0/?"


def test_durations_are_written_for_people() -> None:
    assert duration_text(44.6) == "45 s"
    assert duration_text(185) == "3 min 05 s"
    assert duration_text(7_650) == "2 h 07 min"
