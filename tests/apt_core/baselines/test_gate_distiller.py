"""What a gated student's loss is made of, and on what its draws depend."""

import pytest
import torch
from torch import Tensor

from apt_core.baselines.gate_distiller import GateDistiller
from apt_core.baselines.gates import Gates
from apt_core.baselines.l0_gates import (
    expected_params,
    lagrangian,
    num_gates,
    open_probability,
    split_gates,
)
from apt_core.distiller.self_distiller import Batch, Loss
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, nothing_done
from apt_core.models.trained_modules import TrainedModules
from tests.tiny import tiny_model


class Recorder:
    """An inner distiller that keeps the mask it sees, and what it is told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[Tensor | None] = []
        self.told: list[object] = []

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        mask = modules.student.get_submodule(self.path).output_mask
        assert mask is None or isinstance(mask, Tensor)
        self.seen.append(None if mask is None else mask.detach().clone())
        task = torch.tensor(2.0)
        return Loss(task, task, torch.zeros(()), 0.25, {"inner": task})

    def remap(self, surgery: Surgery) -> None:
        self.told.append(surgery)

    def restore(self, structure: Structure) -> None:
        self.told.append(structure)


def scene(seed: int = 3, warmup: int = 4):
    loaded, structure = tiny_model("bert")
    modules = TrainedModules(loaded.model)
    modules.gates = Gates(loaded.model_map, structure, 0.5)
    recorder = Recorder(loaded.model_map.sub_blocks[0].writer.path)
    distiller = GateDistiller(
        recorder,
        num_params=structure.num_params(),
        start=10,
        warmup=warmup,
        target=0.6,
        seed=seed,
    )
    return distiller, recorder, modules, structure


def test_without_gates_the_loss_is_the_other_distillers() -> None:
    distiller, recorder, modules, _ = scene()
    modules.gates = None
    loss = distiller.loss(modules, {}, 3)
    assert float(loss.total) == 2.0
    assert set(loss.more) == {"inner"}
    assert recorder.seen == [None]


def test_the_penalty_comes_on_top_and_is_logged_with_the_expected_sparsity() -> None:
    distiller, _, modules, structure = scene()
    gates = modules.gates
    assert gates is not None
    with torch.no_grad():
        gates.multipliers.copy_(torch.tensor([-0.5, 2.0]))
    loss = distiller.loss(modules, {}, 11)
    is_open = torch.full((num_gates(structure),), float(open_probability(torch.tensor([0.5]))[0]))
    left = expected_params(structure, split_gates(is_open, structure))
    sparsity = 1 - left / structure.num_params()
    # One step of four behind the start: a quarter of 0.6 is asked for.
    penalty = lagrangian(sparsity, 0.15, torch.tensor([-0.5, 2.0]))
    assert float(loss.total.detach()) == pytest.approx(2.0 + float(penalty), rel=1e-5)
    assert float(loss.more["expected_sparsity"]) == pytest.approx(float(sparsity), rel=1e-5)
    assert float(loss.more["penalty"]) == pytest.approx(float(penalty), rel=1e-5)
    assert (float(loss.task), loss.mu, float(loss.more["inner"])) == (2.0, 0.25, 2.0)
    loss.total.backward()
    assert gates.log_alpha.grad is not None
    assert gates.multipliers.grad is not None


def draws(seed: int, steps: list[int]) -> list[Tensor]:
    distiller, recorder, modules, _ = scene(seed)
    for step in steps:
        distiller.loss(modules, {}, step)
    return [mask for mask in recorder.seen if mask is not None]


def test_a_draw_depends_on_seed_step_and_number_of_the_micro_batch_only() -> None:
    first = draws(3, [12, 12, 13, 13])
    resumed = draws(3, [13, 13])
    assert torch.equal(first[2], resumed[0])
    assert torch.equal(first[3], resumed[1])
    different = [*first, *draws(4, [12])]
    for i, one in enumerate(different):
        assert not any(torch.equal(one, other) for other in different[:i])


def test_surgery_and_restoring_reach_the_other_distiller() -> None:
    distiller, recorder, _, structure = scene()
    surgery = nothing_done(structure)
    distiller.remap(surgery)
    distiller.restore(structure)
    assert recorder.told == [surgery, structure]
