"""The state of a run survives the checkpoint's JSON."""

import json
from dataclasses import fields

from apt_core.report import EvalPoint
from apt_core.trainer.state import TrainerState
from tests.tiny import tiny_model

NOT_IN_JSON = {"total_steps", "structure", "original", "teacher_structure"}
"""From the configuration, or kept in the manifest by the checkpointer."""


def fresh():
    loaded, structure = tiny_model()
    return TrainerState(100, structure, loaded.structure)


def used():
    state = fresh()
    state.step = 7
    state.train_time_s = 1.5
    state.eval_time_s = 0.5
    state.peak_memory_gib = 2.0
    state.peak_memory_by_phase_gib = {"tuning": 2.0}
    state.num_trainable_params_peak = 99
    state.num_restarts = 2
    state.chosen_step = 6
    state.chosen_metric = 0.8
    state.teacher_metric = 0.7
    state.history = [EvalPoint(5, 1.0, 0.2, 0.9, 0.1)]
    state.surgeries = [{"step": 3, "heads": [1, 2], "ranks": {"a": 4}}]
    state.step_times = {"tuning": [0.1, 0.2]}
    return state


def test_everything_comes_back_and_the_restart_is_counted():
    state, restored = used(), fresh()
    restored.load_json(json.loads(json.dumps(state.to_json())))
    state.num_restarts += 1
    assert restored.to_json() == state.to_json()
    assert isinstance(restored.history[0], EvalPoint)


def test_every_field_that_changes_is_saved():
    names = {field.name for field in fields(TrainerState)}
    assert set(used().to_json()) == names - NOT_IN_JSON


def test_saved_values_differ_from_fresh_ones_so_that_these_tests_can_fail():
    assert all(used().to_json()[name] != value for name, value in fresh().to_json().items())


def test_sparsity_is_measured_against_the_unpruned_model():
    state = fresh()
    assert state.sparsity == 0.0
    half = {s.name: s.num_units // 2 for s in state.structure.sub_blocks}
    state.structure = state.structure.with_units(half, state.structure.hidden_size)
    assert state.sparsity == 1 - state.structure.num_params() / state.original.num_params()
    assert 0.4 < state.sparsity < 0.5


def test_there_is_a_teacher_as_long_as_its_structure_is_known():
    state = fresh()
    assert not state.has_teacher
    state.teacher_structure = state.structure
    assert state.has_teacher
