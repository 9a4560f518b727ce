"""Timetables lead into their phase, and stay there for as long as they are asked to."""

import pytest

from apt_core.bench.phases import (
    CONTROL,
    DISTILLING,
    PHASES,
    PLAIN,
    PRUNING,
    RETRAINING,
    TAUGHT,
    TUNING,
    Phase,
    timetable,
)


def steps(text: object) -> int:
    amount, unit = str(text).split()
    assert unit == "steps"
    return int(amount)


@pytest.mark.parametrize("settle", [2, 20])
@pytest.mark.parametrize("num_steps", [1, 2, 23])
@pytest.mark.parametrize("phase", [*PHASES, PLAIN], ids=lambda phase: phase.name)
def test_every_measured_step_is_in_its_phase(phase: Phase, num_steps: int, settle: int) -> None:
    times = timetable(phase, num_steps, settle=settle, has_teacher=True)
    found = times.settings
    start, stop = steps(found["pruning.start"]), steps(found["pruning.stop"])
    window, drop = steps(found["pruning.window"]), steps(found["distillation.stop"])
    num_events = found["pruning.num_events"]
    first_event = start + (stop - start) // num_events
    first = times.lead  # steps done when the first measured one begins
    last = times.lead + num_steps  # steps done when the last measured one is over
    assert last < found["training.max_steps"]
    assert found["pruning.mask_step"] * window >= 1
    assert found["pruning.mask_step"] <= 1
    teacher_at = max(1, (stop if found["distillation.start_event"] else first_event) - window + 1)
    reads_salience = start <= first and last < stop
    is_pruned = first >= first_event
    has_teacher = teacher_at <= first and last < drop
    assert reads_salience == phase.reads_salience
    assert is_pruned == phase.is_pruned
    assert has_teacher == phase.distils
    if phase.reads_salience:  # masks decay in every measured step: the window is open
        assert first_event - window <= first
        assert last < first_event
    if not phase.is_pruned:
        assert last < first_event
    else:
        assert first >= settle


def test_an_arm_without_a_teacher_waits_for_none() -> None:
    found = timetable(PRUNING, 5, settle=2, has_teacher=False).settings
    assert found["distillation.start_event"] == 0


def test_aims_after_the_cuts_hold_at_their_density_only() -> None:
    assert RETRAINING.aim_at(0.4, RETRAINING.time_aim) == 0.50
    assert RETRAINING.aim_at(0.4, RETRAINING.memory_aim) == 0.65
    assert RETRAINING.aim_at(0.5, RETRAINING.time_aim) is None
    assert TAUGHT.aim_at(0.5, TAUGHT.time_aim) == 1.55
    assert CONTROL.aim_at(0.4, CONTROL.time_aim) is None


def test_the_aims_are_those_that_were_set() -> None:
    aims = [phase.time_aim for phase in (TUNING, PRUNING, TAUGHT, DISTILLING, RETRAINING)]
    assert aims == [1.08, 1.12, 1.55, 0.90, 0.50]
