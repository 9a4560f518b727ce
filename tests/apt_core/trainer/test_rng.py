"""The random streams of one worker: equal where models are built, different where dropout is."""

import torch

from apt_core.trainer.rng import load_rng_state, rng_state, seed_everything, seed_worker


def test_the_same_seed_builds_the_same_model():
    seed_everything(3)
    first = torch.rand(4)
    seed_everything(3)
    assert torch.equal(torch.rand(4), first)
    seed_everything(4)
    assert not torch.equal(torch.rand(4), first)


def test_workers_and_seeds_have_streams_of_their_own():
    streams = set()
    for seed in range(5):
        for rank in range(4):
            seed_worker(seed, rank)
            streams.add(tuple(torch.rand(2).tolist()))
    assert len(streams) == 20


def test_a_stream_goes_on_where_its_state_was_read():
    seed_worker(1, 0)
    torch.rand(7)
    state = rng_state()
    expected = torch.rand(5)
    torch.rand(11)
    load_rng_state(state)
    assert torch.equal(torch.rand(5), expected)


def test_reading_the_state_does_not_move_the_stream():
    seed_worker(1, 0)
    expected = torch.rand(3)
    seed_worker(1, 0)
    rng_state()
    assert torch.equal(torch.rand(3), expected)


def test_a_state_is_a_copy_and_not_a_view():
    state = rng_state()
    before = state["cpu"].clone()
    torch.rand(5)
    assert torch.equal(state["cpu"], before)
