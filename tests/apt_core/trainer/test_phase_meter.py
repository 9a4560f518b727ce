"""Step times and peak memory are charged to the phase they belong to."""

import pytest

from apt_core.trainer import phase_meter
from apt_core.trainer.phase_meter import MAX_STEP_TIMES, PhaseMeter
from apt_core.trainer.state import TrainerState
from tests.tiny import tiny_model


class Memory:
    """A process whose peak we set by hand."""

    def __init__(self):
        self.now = self.peak = 1.0
        self.num_resets = 0

    def use(self, gib):
        self.now = gib
        self.peak = max(self.peak, gib)

    def reset(self):
        self.peak = self.now
        self.num_resets += 1


@pytest.fixture
def memory(monkeypatch):
    memory = Memory()
    monkeypatch.setattr(phase_meter, "peak_memory_gib", lambda: memory.peak)
    monkeypatch.setattr(phase_meter, "reset_peak_memory", memory.reset)
    return memory


def make_meter(step=0):
    loaded, structure = tiny_model()
    state = TrainerState(100, structure, loaded.structure, step=step)
    return PhaseMeter(state, lambda step: "tuning" if step <= 2 else "retraining"), state


def run_step(meter, memory, gib):
    meter.enter()
    memory.use(gib)
    meter.state.step += 1


def test_a_large_first_phase_is_not_charged_to_the_small_one_after_it(memory):
    meter, state = make_meter()
    for gib in (3.0, 2.0, 1.5, 1.25):
        run_step(meter, memory, gib)
    meter.note_memory()
    # The third step begins at the 2.0 GiB that the second one left.
    assert state.peak_memory_by_phase_gib == {"tuning": 3.0, "retraining": 2.0}
    assert state.peak_memory_gib == 3.0
    assert memory.num_resets == 1


def test_surgery_after_the_last_step_of_a_phase_belongs_to_that_phase(memory):
    meter, state = make_meter()
    for gib in (1.5, 1.5):
        run_step(meter, memory, gib)
    memory.use(4.0)
    memory.use(1.0)
    run_step(meter, memory, 1.1)
    meter.note_memory()
    assert state.peak_memory_by_phase_gib == {"tuning": 4.0, "retraining": pytest.approx(1.1)}


def test_what_happens_before_the_first_step_belongs_to_the_first_phase(memory):
    meter, state = make_meter()
    memory.use(5.0)
    run_step(meter, memory, 1.0)
    meter.note_memory()
    assert state.peak_memory_by_phase_gib == {"tuning": 5.0}


def test_a_restart_keeps_the_larger_peak(memory):
    meter, state = make_meter(step=1)
    state.peak_memory_by_phase_gib = {"tuning": 2.5}
    state.peak_memory_gib = 2.5
    run_step(meter, memory, 1.25)
    assert meter.note_memory() == 1.25
    assert state.peak_memory_by_phase_gib == {"tuning": 2.5}
    assert state.peak_memory_gib == 2.5


def test_times_count_by_phase_and_surgery_counts_in_the_sum_only():
    meter, state = make_meter()
    for seconds, is_surgery in ((1.0, False), (5.0, True), (0.5, False)):
        state.step += 1
        meter.count_time(seconds, is_surgery=is_surgery)
    assert state.step_times == {"tuning": [1.0], "retraining": [0.5]}
    assert state.train_time_s == 6.5


def test_a_long_phase_keeps_a_bounded_number_of_step_times():
    meter, state = make_meter(step=3)
    for _ in range(MAX_STEP_TIMES + 3):
        meter.count_time(1.0, is_surgery=False)
    assert len(state.step_times["retraining"]) == MAX_STEP_TIMES
    assert state.train_time_s == MAX_STEP_TIMES + 3
