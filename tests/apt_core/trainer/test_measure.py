"""What is logged about the shape agrees with the modules themselves."""

import json
from dataclasses import replace

import pytest
import torch

from apt_core.distiller.self_distiller import Loss
from apt_core.models.surgery_record import KeptBlocks, Surgery
from apt_core.pruner.policy import PrunePlan
from apt_core.pruner.surgery import prune_model
from apt_core.report import Efficiency
from apt_core.trainer.engine import StepOutcome
from apt_core.trainer.measure import (
    median_step_times,
    shape_metrics,
    step_metrics,
    surgery_entry,
    warnings_of,
)
from apt_core.trainer.state import TrainerState
from tests.apt_core.test_report import REPORT
from tests.tiny import tiny_model


def pruned(family):
    """Two heads gone in layer 0, all heads in layer 1, ten neurons everywhere, four dimensions."""
    loaded, structure = tiny_model(family)
    units = {}
    for s in structure.sub_blocks:
        keep = {"0.attention": 2, "1.attention": 0}.get(s.name[-11:], s.num_units)
        units[s.name] = torch.arange(s.num_units - 10 if s.kind == "ffn" else keep)
    kept = KeptBlocks(units, torch.arange(12))
    surgery = prune_model(loaded.model, loaded.model_map, structure, kept)
    state = TrainerState(100, surgery.structure_after, loaded.structure, step=40)
    return loaded, state, surgery


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_shape_metrics_count_what_is_really_there(family):
    loaded, state, _ = pruned(family)
    assert len(state.structure.ranks) == 7  # query and value of layer 1 are gone
    metrics = shape_metrics(state)
    adapters = [p for n, p in loaded.model.named_parameters() if "lora_" in n]
    assert metrics["model/adapter_params"] == sum(p.numel() for p in adapters)
    assert metrics["model/num_heads"] == 2 + 0 + 4
    assert metrics["model/num_neurons"] == 3 * 14
    assert metrics["model/hidden_size"] == 12
    assert metrics["model/sparsity"] + metrics["model/density"] == pytest.approx(1.0)
    assert metrics["model/sparsity"] == state.sparsity > 0


def test_the_mean_rank_is_that_of_the_adapters_that_are_left():
    _, state, _ = pruned("roberta")
    first, second, *_ = state.structure.ranks
    state.structure = state.structure.with_ranks({first: 2, second: 7})
    assert shape_metrics(state)["model/rank_mean"] == 4.5


def test_a_model_without_adapters_has_rank_0():
    loaded, _ = tiny_model()
    metrics = shape_metrics(TrainerState(1, loaded.structure, loaded.structure))
    assert metrics["model/rank_mean"] == metrics["model/adapter_params"] == 0


def test_an_entry_tells_a_surgery_layer_by_layer_and_is_json():
    _, state, surgery = pruned("roberta")
    entry = surgery_entry(state, surgery, 0.25)
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["step"], entry["seconds"], entry["hidden_size"]) == (40, 0.25, 12)
    assert entry["heads"] == [2, 0, 4]
    assert entry["neurons"] == [14, 14, 14]
    assert entry["pruned"]
    assert entry["grown"] == 0
    assert not entry["teacher_changed"]
    assert entry["sparsity"] == state.sparsity
    assert "border" not in entry


def test_an_entry_holds_the_shape_before_and_why_it_was_cut():
    _, state, surgery = pruned("roberta")
    border = {"head": {"num": 12, "num_kept": 6}}
    plan = PrunePlan(surgery.kept, surgery.structure_after, 0.5, border=border)
    entry = surgery_entry(state, surgery, 0.25, plan)
    before = entry["before"]
    assert before["heads"] == [4, 4, 4]
    assert before["neurons"] == [24, 24, 24]
    assert before["hidden_size"] == 16
    assert before["ranks"] == dict(surgery.structure_before.ranks)
    assert len(before["ranks"]) == 9
    assert entry["border"] == border


def test_an_entry_counts_the_adapters_that_grew():
    _, structure = tiny_model()
    state = TrainerState(100, structure, structure)
    surgery = Surgery(structure, structure, rank_changes={"a": (2, 4), "b": (2, 3)})
    entry = surgery_entry(state, surgery, 0.0)
    assert entry["grown"] == 2
    assert not entry["pruned"]


def test_a_target_in_another_unit_is_held_against_what_it_counts():
    report = replace(REPORT, efficiency=Efficiency(1, 2, 3, 4, 0.25), warnings=())
    assert warnings_of(replace(report, sparsity=0.605)) == ()
    macs = replace(report, cost_unit="MACs", cost=40.0, dense_cost=100.0)
    assert warnings_of(macs) == ()
    missed = replace(macs, cost=45.0)
    assert warnings_of(missed) == ("sparsity in MACs 0.550 misses its target 0.600",)


def test_step_times_are_medians_by_phase_and_empty_phases_have_none():
    _, structure = tiny_model()
    state = TrainerState(1, structure, structure)
    state.step_times = {"tuning": [5.0, 1.0, 2.0], "pruning": []}
    assert median_step_times(state) == {"tuning": 2.0}


def test_both_losses_are_logged_as_means_over_the_micro_batches():
    losses = [
        Loss(torch.tensor(3.0), torch.tensor(2.0), torch.tensor(4.0), 0.5),
        Loss(torch.tensor(5.0), torch.tensor(4.0), torch.tensor(6.0), 0.5),
    ]
    metrics = step_metrics(losses, StepOutcome(0.7, 1.0, overflowed=False), 0.1)
    assert metrics["train/loss"] == 4.0
    assert metrics["train/loss_task"] == 3.0
    assert metrics["train/loss_distill"] == 5.0
    assert metrics["train/mu"] == 0.5
    assert metrics["train/grad_norm"] == 0.7
    assert metrics["train/learning_rate"] == 0.1


def test_further_numbers_of_the_loss_are_logged_as_means_too():
    one, outcome = torch.tensor(1.0), StepOutcome(0.7, 1.0, overflowed=False)
    losses = [Loss(one, one, one, 0.0, {"penalty": torch.tensor(v)}) for v in (2.0, 4.0)]
    assert step_metrics(losses, outcome, 0.1)["train/penalty"] == 3.0
    assert "train/penalty" not in step_metrics([Loss(one, one, one, 0.0)], outcome, 0.1)
