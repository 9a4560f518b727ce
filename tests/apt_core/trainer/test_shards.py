"""Gathering full tensors from divided vectors and putting them back, for pretended workers."""

import pytest
import torch
from torch import Tensor, nn

from apt_core.trainer import shards
from apt_core.trainer.engine import OptimizerSnapshot
from apt_core.trainer.shards import Piece, Shard, graft, load_masters, snapshot_of, state_on_cpu

VALUES = {"a": torch.arange(5.0), "b": 10 + torch.arange(6.0).reshape(2, 3)}


def end_to_end(local: Tensor) -> Shard:
    # a: 0..5, b: 5..11, one element of padding: 12 elements on 2 workers
    pieces = (Piece("a", torch.Size([5]), 0, 5), Piece("b", torch.Size([2, 3]), 5, 6))
    return Shard(local, pieces, num_parts=2)


def striped(local: Tensor) -> Shard:
    # each worker: 3 elements of a (the last one padded), then 3 of b
    pieces = (Piece("a", torch.Size([5]), 0, 3), Piece("b", torch.Size([2, 3]), 3, 3))
    return Shard(local, pieces, num_parts=2, striped=True)


EXPECTED = {
    "end_to_end": [[0, 1, 2, 3, 4, 10], [11, 12, 13, 14, 15, -1]],
    "striped": [[0, 1, 2, 10, 11, 12], [3, 4, -1, 13, 14, 15]],
}


@pytest.mark.parametrize("layout", [end_to_end, striped])
def test_every_worker_gets_its_part_and_together_they_give_the_whole(
    monkeypatch: pytest.MonkeyPatch, layout: type
) -> None:
    locals_ = [torch.full((6,), -1.0), torch.full((6,), -1.0)]
    for worker, local in enumerate(locals_):
        monkeypatch.setattr(shards, "rank", lambda worker=worker: worker)
        layout(local).put(VALUES, local)
    assert [local.tolist() for local in locals_] == EXPECTED[layout.__name__]

    monkeypatch.setattr(shards, "all_gather_flat", lambda _: torch.stack(locals_))
    gathered = layout(locals_[0]).gather(locals_[0])
    assert gathered.keys() == VALUES.keys()
    assert all(torch.equal(gathered[name], VALUES[name]) for name in VALUES)


def test_names_that_are_not_given_keep_their_place() -> None:
    local = torch.zeros(11)
    whole = Shard(local, end_to_end(local).pieces)
    whole.put({"b": VALUES["b"]}, local)
    assert local[:5].eq(0).all()
    assert local[5:].tolist() == [10, 11, 12, 13, 14, 15]


def test_gathered_tensors_do_not_alias_the_optimizer() -> None:
    local = torch.zeros(11)
    gathered = Shard(local, end_to_end(local).pieces).gather(local)
    local += 1
    assert gathered["a"].eq(0).all()


def test_a_grafted_snapshot_comes_back_as_it_was() -> None:
    master = nn.Parameter(torch.ones(11))
    optimizer = torch.optim.AdamW([master])
    shard = Shard(master, end_to_end(master).pieces)
    moments = {name: value / 7 for name, value in VALUES.items()}
    snapshot = OptimizerSnapshot(
        exp_avg=moments,
        exp_avg_sq=VALUES,
        steps={"a": 3.0, "b": 3.0},
        loss_scaler={"cur_scale": 8.0},
    )
    graft([shard], optimizer, snapshot)
    found = snapshot_of([shard], optimizer, {"cur_scale": 8.0})
    assert found.steps == snapshot.steps
    assert found.loss_scaler == snapshot.loss_scaler
    for name, value in VALUES.items():
        assert torch.equal(found.exp_avg[name], moments[name])
        assert torch.equal(found.exp_avg_sq[name], value)
        assert found.masters[name].eq(1).all()


def test_masters_are_loaded_unrounded_into_a_rounded_module() -> None:
    module = nn.Linear(2, 1, bias=False).to(torch.bfloat16)
    exact = torch.tensor([[1 / 3, 2 / 3]])
    load_masters(module, OptimizerSnapshot(masters={"weight": exact}))
    assert torch.equal(module.weight, exact)


def test_state_on_the_cpu_copies_a_shared_tensor_once_under_both_names() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    module["b"].weight = module["a"].weight
    state = state_on_cpu(module, {id(module["a"].weight): torch.eye(2)})
    assert state.keys() == {"a.weight", "b.weight"}
    assert state["a.weight"] is state["b.weight"]
    assert torch.equal(state["a.weight"], torch.eye(2))
