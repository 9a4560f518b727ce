"""A phase as a whole: its memory is the sum of parts that other tests count, its time by hand."""

from dataclasses import replace

import pytest

from apt_core.bench.flops import Rates, Rows, forward_flops, step_bytes, step_flops
from apt_core.capacity.kept import CPU, Habits, Pass, sub_block_load
from apt_core.capacity.loss import Head, Teaching
from apt_core.capacity.memory import PLAIN, Division, Params
from apt_core.capacity.phase import (
    Embeddings,
    PlannedPhase,
    Setup,
    Speed,
    phase_memory,
    phase_time,
)
from tests.reference.encoder_layer import HIDDEN, network

HABITS = Habits("layer", "gelu", False, False, False)
NETWORK = network(3)
PARAMS = Params(frozen=1000, trained=200)
PHASE = PlannedPhase("tuning", "", NETWORK, PARAMS, HABITS, Head(3, 96))
SETUP = Setup(Rows(16, 12), 4, CPU, Division(PLAIN))
HOW = Pass(SETUP.rows, 4, CPU)
TOKENS = 16 * 12
LOGITS = 16 * 3 * 4


def kept_by_layers() -> int:
    structure = NETWORK.structure
    loads = [sub_block_load(s, structure, HABITS, HOW) for s in structure.sub_blocks]
    return sum(load.kept for load in loads)


def test_at_the_fullest_moment_all_layers_wait_for_their_backward() -> None:
    memory = phase_memory(PHASE, SETUP)
    # The head is through: what it kept is gone or about to be.
    assert kept_by_layers() <= memory.activations <= kept_by_layers() + LOGITS
    assert memory.working > 0
    assert (memory.weights, memory.optimizer) == (4 * 1200, 8 * 200)


def test_checkpointing_keeps_the_inputs_of_the_layers_and_one_layer_at_a_time() -> None:
    memory = phase_memory(replace(PHASE, recomputes=True), SETUP)
    one_layer = kept_by_layers() / 3
    inputs = 3 * TOKENS * HIDDEN * 4
    total = memory.activations + memory.working
    whole = phase_memory(PHASE, SETUP)
    assert total < whole.activations + whole.working
    assert inputs + one_layer < total < inputs + 2 * one_layer


def test_a_teacher_adds_weights_and_activations() -> None:
    taught = replace(
        PHASE,
        params=replace(PARAMS, teacher=1000),
        teaching=Teaching(NETWORK, 2, 4, normalises=False),
    )
    plain, more = phase_memory(PHASE, SETUP), phase_memory(taught, SETUP)
    assert more.teacher == 4000
    assert more.activations > plain.activations


def test_tables_that_learn_have_gradients_and_tied_ones_are_there_twice_for_a_moment() -> None:
    small = replace(SETUP, rows=Rows(1, 1))
    learned = replace(PHASE, embeddings=Embeddings(trained=10**6))
    assert phase_memory(learned, small).gradients >= 4 * 10**6
    tied = replace(
        PHASE, embeddings=Embeddings(tied=10**6), head=replace(PHASE.head, gradients=4 * 10**6)
    )
    memory = phase_memory(tied, small)
    assert memory.gradients >= 4 * 10**6
    assert memory.working == 4 * 10**6


def test_micro_batches_leave_gradients_behind() -> None:
    one, three = (phase_memory(PHASE, replace(SETUP, num_micro_batches=n)) for n in (1, 3))
    assert three.gradients - one.gradients == pytest.approx(4 * 200, abs=4 * 200)
    assert three.gradients >= 4 * 200


def test_time_is_the_longer_of_work_and_bytes_over_the_efficiency() -> None:
    flops, num_bytes = step_flops(NETWORK, SETUP.rows), step_bytes(NETWORK, 4)
    by_matrix = Speed(Rates(flops / 2.0, num_bytes / 1.0), 1.0, efficiency=0.5)
    time = phase_time(PHASE, SETUP, by_matrix)
    assert (time.compute_s, time.limited_by) == (pytest.approx(4.0), "matrix")
    by_memory = replace(by_matrix, rates=Rates(flops / 2.0, num_bytes / 3.0))
    time = phase_time(PHASE, SETUP, by_memory)
    assert (time.compute_s, time.limited_by) == (pytest.approx(6.0), "memory")
    assert time.communication_s == 0


def test_work_grows_with_micro_batches_and_with_recomputation() -> None:
    flops = step_flops(NETWORK, SETUP.rows)
    speed = Speed(Rates(float(flops), 1e18), 1.0)
    twice = phase_time(PHASE, replace(SETUP, num_micro_batches=2), speed)
    assert twice.compute_s == pytest.approx(2.0)
    again = phase_time(replace(PHASE, recomputes=True), SETUP, speed)
    layers = forward_flops(replace(NETWORK, head=()), SETUP.rows)
    assert again.compute_s == pytest.approx(1 + layers / flops)


def test_links_are_paid_for_after_the_work() -> None:
    speed = Speed(Rates(1e18, 1e18), link_bytes_per_s=100.0, efficiency=0.5)
    time = phase_time(PHASE, replace(SETUP, division=Division(0, 2)), speed)
    # 2 x 200 values of 4 bytes, half of them to the other worker, at 50 bytes per second.
    assert time.communication_s == pytest.approx(2 * 200 * 4 / 2 / 50)
    assert time.total_s == pytest.approx(time.compute_s + time.communication_s)
