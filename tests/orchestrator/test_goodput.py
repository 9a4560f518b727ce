from pathlib import Path

import pytest

from orchestrator.goodput import NAMES, goodput_lines, goodput_of, pieces_of, sum_up
from orchestrator.traces import Mark, Record, Span
from tests.orchestrator.test_traces import begin, end, write

LAUNCH = Record(
    (
        Span("launch", 0, 100, {}),
        Span("cluster", 0, 10),
        Span("trials", 10, 80, {"slots": 2}),
        Span("cluster", 80, 84),
        Span("report", 84, 90),
        Span("tracking", 90, 96),
    )
)
TRIAL = Record(
    (
        Span("waiting", 5, 12),
        Span("start-up", 12, 20),
        Span("worker", 20, 70),
        Span("imports", 20, 25),
        Span("set-up", 25, 30),
        Span("model", 26, 28),
        Span("training", 30, 68),
        Span("evaluation", 40, 45),
        Span("surgery", 50, 53),
        Span("wind-down", 70, 72),
    )
)


def test_every_second_of_slot_time_is_counted_once_under_its_name() -> None:
    goodput = sum_up(LAUNCH, [TRIAL])
    assert goodput is not None
    # 100 s x 2 slots; the steps are 30 to 68 without 5 s of evaluation and 3 s of surgery.
    assert (goodput.wall_s, goodput.slots, goodput.slot_s) == (100, 2, 200)
    assert goodput.spent_s == {
        "steps": 30,
        "start-up": 8,
        "imports": 5,
        "set-up": 3,
        "model": 2,
        "surgery": 3,
        "evaluation": 5,
        "wind-down": 2,
        "cluster": 28,  # 14 s, in which neither slot trains
        "report": 12,
        "tracking": 12,
        "idle": 88,  # 200 - 60 of the trial - 52 of the driver
        "other": 2,  # the worker's last 2 s
    }
    assert list(goodput.spent_s) == [name for name in NAMES if name in goodput.spent_s]
    assert goodput.share == 0.15
    assert goodput.losses[:2] == [("idle", 0.44), ("cluster", 0.14)]
    assert goodput_lines(goodput) == [
        "goodput: 15% of 2 slots x 1 min 40 s went into training steps",
        "lost to: empty slots 44%, cluster start and end 14%, report 6%, tracking 6%, "
        "process start-up 4%, the rest 11%",
    ]
    assert goodput.to_json()["goodput"] == 0.15


def test_steps_that_a_killed_attempt_had_not_saved_are_no_goodput() -> None:
    trial = Record(
        (
            Span("training", 10, 40, {"step": 0}, is_closed=False),
            Span("checkpoint", 19, 20),
            Span("checkpoint", 29, 30),
            Span("restart", 40, 50),
            Span("training", 50, 60, {"step": 20}),
        ),
        (
            Mark("committed", 20, {"step": 10}),
            Mark("committed", 30, {"step": 20}),
            Mark("committed", 60, {"step": 30}),
        ),
    )
    spent = {name: 0.0 for name in NAMES}
    for piece in pieces_of(trial):
        spent[piece.name] += piece.end_s - piece.start_s
    assert (spent["steps"], spent["repeated"], spent["restart"]) == (28, 10, 10)
    assert spent["checkpoint"] == 2


def test_a_checkpoint_that_nobody_told_of_makes_not_all_before_it_repeated() -> None:
    trial = Record(
        (
            Span("training", 10, 40, {"step": 0}, is_closed=False),
            Span("checkpoint", 29, 30),
            Span("training", 50, 60, {"step": 20}),  # committed at 39; its worker died at 40
        ),
        (Mark("committed", 30, {"step": 10}),),
    )
    pieces = [(piece.name, piece.end_s - piece.start_s) for piece in pieces_of(trial)]
    assert pieces == [("steps", 19), ("checkpoint", 1), ("repeated", 10), ("steps", 10)]


def test_an_attempt_that_saved_nothing_is_all_repeated() -> None:
    trial = Record((Span("training", 10, 40, {"step": 0}), Span("training", 50, 60, {"step": 0})))
    assert [piece.name for piece in pieces_of(trial)] == ["repeated", "steps"]


def test_launches_add_up_and_what_lies_between_them_is_not_lost() -> None:
    sweep = Record(
        (
            Span("launch", 0, 10, {}, is_closed=False),  # its driver was killed after 30 s
            Span("trials", 10, 10, {"slots": 1}, is_closed=False),
            Span("launch", 1000, 1040, {}),
            Span("trials", 1010, 1040, {"slots": 1}),
            Span("launch", 2000, 2100, {}),  # found everything finished
        )
    )
    trial = Record(
        (
            Span("training", 20, 30, {"step": 0}, is_closed=False),
            Span("checkpoint", 24, 26),
            Span("training", 1020, 1040, {"step": 5}),
        ),
        (Mark("committed", 25, {"step": 5}),),
    )
    goodput = sum_up(sweep, [trial])
    assert goodput is not None
    assert (goodput.wall_s, goodput.slot_s) == (70, 70)
    assert goodput.spent_s == {"steps": 24, "repeated": 4, "checkpoint": 2, "idle": 40}


def test_a_sweep_that_never_trained_has_no_goodput(tmp_path: Path) -> None:
    assert sum_up(Record(), []) is None
    assert sum_up(Record((Span("launch", 0, 10, {}),)), [TRIAL]) is None
    assert goodput_of(tmp_path, ["a"]) is None


def test_a_training_without_ray_has_one_slot(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "a"
    folder.mkdir(parents=True)
    trials = begin("trials", 1, args={"slots": 1}), end("trials", 9)
    write(tmp_path / "trace.json", begin("launch", 0), *trials, end("launch", 10))
    write(folder / "trace.json", begin("training", 2), end("training", 7))
    goodput = goodput_of(tmp_path, ["a", "not started"])
    assert goodput is not None
    assert goodput.share == pytest.approx(0.5)
