"""Counted operations against PyTorch's own counter; bytes and bounds by hand."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.bench.flops import (
    Bound,
    HeadLayer,
    Lesson,
    Network,
    Rates,
    Rows,
    forward_bytes,
    forward_flops,
    step_bytes,
    step_flops,
)
from apt_core.bench.networks import network_of
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.models.calls import call_model
from apt_core.models.loading import build_model
from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.surgery import prune_model
from tests.tiny import default_head, tiny_batch, tiny_config

FAMILIES = ("roberta", "bert", "t5", "t5-gated", "llama", "qwen3")
ROWS, TOKENS, TARGETS = 4, 9, 5
EVERYTHING = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "intermediate_dense"})
"""Keys too: without an adapter the first layer's keys have no gradient, which saves one product of
activations that a fused attention computes all the same."""


class Scene:
    """A tiny model with eager attention, whose products the counter sees."""

    def __init__(
        self, family: str, *, all_learn: bool = False, adapted: frozenset[str] = EVERYTHING
    ) -> None:
        torch.manual_seed(0)
        config = tiny_config(family)
        config._attn_implementation = "eager"
        self.head = default_head(family)
        self.loaded = build_model(config, self.head)
        self.model, self.map = self.loaded.model, self.loaded.model_map
        ranks = {} if all_learn else dict.fromkeys(self.map.sites(adapted), 3)
        if not all_learn:
            freeze_all_but(self.model, self.map.head)
        inject_adapters(self.model, self.map, ranks=ranks, scaling=2.0)
        self.structure = self.loaded.structure.with_ranks(ranks)
        self.all_learn = all_learn
        self.rows = Rows(ROWS, TOKENS, TARGETS if self.head == "seq2seq_lm" else 0)
        self.batch = tiny_batch(rows=ROWS, length=TOKENS, head_kind=self.head)

    def prune(self) -> None:
        """A headless layer, a layer without neurons, unequal others, a narrower model."""
        units = {s.name: torch.arange(s.num_units) for s in self.structure.sub_blocks}
        names = list(units)
        units[names[-2]] = torch.arange(0)
        units[names[1]] = torch.arange(5)
        units[names[2]] = torch.arange(1)
        units[names[3]] = torch.arange(0)
        surgery = prune_model(
            self.model, self.map, self.structure, KeptBlocks(units, torch.arange(11))
        )
        self.structure = surgery.structure_after

    @property
    def network(self) -> Network:
        return network_of(
            self.model, self.structure, self.head, self.rows, all_learn=self.all_learn
        )

    def counted(self, *, backward: bool) -> int:
        with FlopCounterMode(display=False) as counter:
            loss = call_model(self.model, self.head, self.batch).loss
            if backward:
                loss.backward()
        return counter.get_total_flops()


@pytest.mark.parametrize("is_pruned", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_and_step_are_what_pytorch_counts(family: str, is_pruned: bool) -> None:
    scene = Scene(family)
    if is_pruned:
        scene.prune()
    assert scene.counted(backward=False) == forward_flops(scene.network, scene.rows)
    assert scene.counted(backward=True) == step_flops(scene.network, scene.rows)


@pytest.mark.parametrize("family", ["roberta", "t5", "llama"])
def test_where_every_weight_learns_each_matrix_has_two_gradients(family: str) -> None:
    scene = Scene(family, all_learn=True)
    assert scene.counted(backward=True) == step_flops(scene.network, scene.rows)


@pytest.mark.parametrize("family", ["roberta", "t5", "llama"])
def test_a_teacher_adds_its_forward_pass_and_the_projection(family: str) -> None:
    scene = Scene(family)
    settings = DistillSettings(num_teacher_layers=1, projection_rank=2, first_step=0, last_step=9)
    distiller = SelfDistiller(scene.map, scene.structure, settings)
    modules = TrainedModules(scene.model)
    distiller.take_teacher(modules)
    teacher = scene.network
    with FlopCounterMode(display=False) as counter:
        distiller.loss(modules, scene.batch, 3).total.backward()
    lesson = Lesson(teacher, num_layers=len(scene.map.stacks), rank=2)
    expected = step_flops(scene.network, scene.rows, lesson)
    assert counter.get_total_flops() == expected


def test_frozen_keys_of_the_first_layer_are_the_only_difference() -> None:
    scene = Scene("roberta", adapted=frozenset({"q_proj", "v_proj"}))
    gradient_of_keys = 2 * ROWS * 4 * TOKENS * TOKENS * 4
    counted = scene.counted(backward=True)
    assert step_flops(scene.network, scene.rows) - counted == gradient_of_keys


BLOCK = SubBlock("a", "ffn", 10, 1, 2, 1, 3, sites={"in": 1, "out": 1})
NETWORK = Network(
    Structure(4, (BLOCK,), {"in": 2}), (HeadLayer(8, 1, True), HeadLayer(20, 7, False))
)


def test_bytes_by_hand() -> None:
    # 10 neurons x (2 x 4 + 1) + 3 x 4 = 102; the branch 2 x (4 + 10) = 28; the head 28.
    assert NETWORK.num_weights == 158
    assert NETWORK.num_trained == 28 + 8
    assert replace(NETWORK, all_learn=True).num_trained == 102 + 36
    assert forward_bytes(NETWORK, 2) == 316
    assert step_bytes(NETWORK, 2) == 2 * 316 + 32 * 36
    lesson = Lesson(NETWORK, 1, 1)
    assert step_bytes(NETWORK, 2, lesson) == step_bytes(NETWORK, 2) + 316


def test_the_bound_is_the_longer_of_the_two() -> None:
    rates = Rates(flops_per_s=100.0, bytes_per_s=10.0)
    assert Bound.of(500, 20, rates) == Bound(500, 20, 5.0, "matrix")
    assert Bound.of(100, 20, rates) == Bound(100, 20, 2.0, "memory")
