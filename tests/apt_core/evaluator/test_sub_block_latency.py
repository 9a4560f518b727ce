"""Reference sub-blocks have the widths of the real ones, and a clock's readings reach the table."""

import pytest
import torch

from apt_core.adapters.linear import APTLinear
from apt_core.evaluator import turns
from apt_core.evaluator.sub_block_latency import (
    LatencySettings,
    ReferenceSubBlock,
    measure_latencies,
)
from apt_core.models.structure import Structure, SubBlock
from tests.tiny import tiny_model

SETTINGS = LatencySettings(
    batch_size=2,
    tokens={"source": 5, "target": 3},
    warmup=1,
    repeats=3,
    device=torch.device("cpu"),
)


@pytest.mark.parametrize("family", ["roberta", "t5", "t5-gated", "llama", "qwen3"])
def test_a_reference_sub_block_multiplies_as_much_as_the_real_one(family: str) -> None:
    loaded, structure = tiny_model(family)
    for sub_map, s in zip(loaded.model_map.sub_blocks, structure.sub_blocks, strict=True):
        made = ReferenceSubBlock(s, s.num_units, structure.hidden_size)
        found = sorted((r.in_features, r.out_features) for r in (*made.readers, made.writer))
        real = [loaded.model.get_submodule(p.path) for p in sub_map.projections]
        assert all(isinstance(layer, APTLinear) for layer in real)
        assert found == sorted((layer.in_features, layer.out_features) for layer in real)
        own, memory = (torch.randn(2, SETTINGS.tokens[name], 16) for name in (s.stream, s.memory))
        assert made(own, memory).shape == own.shape


def test_what_the_clock_says_reaches_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    # Time stands still but for the calls: a neuron takes a second, each of 4 dimensions another.
    clock = [0.0]

    def forward(self: ReferenceSubBlock, own: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        clock[0] += self.num_units + own.shape[-1] / 4
        return own

    monkeypatch.setattr(ReferenceSubBlock, "forward", forward)
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])
    blocks = (
        SubBlock("a", "ffn", 3, 1, 2, 0, 1),
        SubBlock("b", "ffn", 8, 1, 2, 0, 1),
        SubBlock("c", "ffn", 4, 1, 3, 0, 1),
    )
    cost = measure_latencies(Structure(16, blocks), SETTINGS)
    plain, gated = (cost.tables[kind] for kind in sorted(cost.tables))
    assert (plain.units, plain.hidden) == ((1, 2, 4, 6, 8), (4, 8, 12, 16))
    assert gated.units == (1, 2, 3, 4)
    assert plain.at(6, 12) == pytest.approx(1000 * 9)
    assert cost.total(Structure(16, blocks)) == pytest.approx(1000 * (3 + 8 + 4 + 3 * 4))


def test_measuring_does_not_move_the_random_stream() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    measure_latencies(Structure(8, (SubBlock("a", "attention", 2, 4, 16, 0, 1),)), SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)
