"""The controls: what their scores are, and that they follow surgery and come back."""

import pytest
import torch

from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.search import Floors, search_blocks
from apt_core.pruner.surgery import prune_model
from apt_core.salience.collector import CollectorSettings
from apt_core.salience.controls import MagnitudeCollector, RandomCollector
from tests.tiny import tiny_batch, tiny_model

PREFIX = "student."
SETTINGS = CollectorSettings(measure_blocks=False)
FAMILIES = ("roberta", "t5-gated", "llama")


def full_parameters(model):
    parameters = dict(model.named_parameters())
    return lambda names: {name: parameters[name.removeprefix(PREFIX)] for name in names}


def measured(collector, model):
    batch = tiny_batch(head_kind=collector.model_map.head_kind)
    with collector.recording(batch):
        model(**batch).loss.backward()
    return collector.measure(full_parameters(model), 1.0)


def magnitude_of(loaded, structure):
    return MagnitudeCollector(
        loaded.model, loaded.model_map, structure, prefix=PREFIX, settings=SETTINGS
    )


def random_of(loaded, structure, seed=1):
    return RandomCollector(
        loaded.model, loaded.model_map, structure, prefix=PREFIX, settings=SETTINGS, seed=seed
    )


def weights_freed(loaded, sub_block, unit):
    """Every weight that one unit owns, one projection after the other."""
    for reader in sub_block.readers:
        rows = slice(unit * reader.unit_width, (unit + 1) * reader.unit_width)
        yield loaded.model.get_submodule(reader.path).merged_weight()[rows]
    writer = sub_block.writer
    columns = slice(unit * writer.unit_width, (unit + 1) * writer.unit_width)
    yield loaded.model.get_submodule(writer.path).merged_weight()[:, columns]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_density_of_the_magnitude_control_is_the_mean_weight_of_its_block(family):
    loaded, structure = tiny_model(family)
    blocks = measured(magnitude_of(loaded, structure), loaded.model).blocks
    hidden = torch.zeros(structure.hidden_size, dtype=torch.float64)
    for sub_block, shape in zip(loaded.model_map.sub_blocks, structure.sub_blocks, strict=True):
        for unit in range(shape.num_units):
            owned = torch.cat(
                [w.double().flatten() for w in weights_freed(loaded, sub_block, unit)]
            )
            assert owned.numel() == structure.unit_cost(shape)
            density = float(blocks.units[shape.name][unit]) / structure.unit_cost(shape)
            assert density == pytest.approx(float(owned.abs().mean()), rel=1e-5)
        for reader in sub_block.readers:
            weight = loaded.model.get_submodule(reader.path).merged_weight().double()
            hidden += weight.abs().sum(dim=0)
        weight = loaded.model.get_submodule(sub_block.writer.path).merged_weight().double()
        hidden += weight.abs().sum(dim=1)
    torch.testing.assert_close(blocks.hidden.double(), hidden, rtol=1e-5, atol=1e-5)


def test_the_importance_of_adapters_is_that_of_every_other_arm():
    loaded, structure = tiny_model("roberta")
    for collector in (magnitude_of(loaded, structure), random_of(loaded, structure)):
        adapters = measured(collector, loaded.model).adapters
        assert set(adapters) == set(structure.ranks)
        assert min(adapters.values()) > 0


def test_the_densities_of_the_random_control_do_not_know_kinds_of_blocks():
    loaded, structure = tiny_model("roberta", num_layers=6)
    blocks = measured(random_of(loaded, structure), loaded.model).blocks
    for shape in structure.sub_blocks:
        density = blocks.units[shape.name] / structure.unit_cost(shape)
        assert ((density >= 0) & (density < 1)).all()
    neurons = torch.cat(
        [blocks.units[s.name] / structure.unit_cost(s) for s in structure.of_kind("ffn")]
    )
    heads = torch.cat(
        [blocks.units[s.name] / structure.unit_cost(s) for s in structure.of_kind("attention")]
    )
    # Uniform: 0.5 on average; 24 heads have a standard error of 0.06, 144 neurons one of 0.024.
    assert float(heads.mean()) == pytest.approx(0.5, abs=0.2)
    assert float(neurons.mean()) == pytest.approx(0.5, abs=0.08)
    assert float((blocks.hidden / structure.hidden_cost()).max()) < 1


def test_the_random_control_draws_once():
    loaded, structure = tiny_model("roberta")
    collector = random_of(loaded, structure)
    first = measured(collector, loaded.model)
    collector.commit(first)
    for _ in range(20):
        collector.commit(measured(collector, loaded.model))
    now = collector.snapshot().blocks
    assert torch.equal(now.hidden, first.blocks.hidden)
    assert all(torch.equal(now.units[n], v) for n, v in first.blocks.units.items())


def test_the_seed_alone_decides_the_draw():
    loaded, structure = tiny_model("roberta", seed=0)
    other, _ = tiny_model("roberta", seed=5)
    one = measured(random_of(loaded, structure, seed=1), loaded.model).blocks
    same = measured(random_of(other, structure, seed=1), other.model).blocks
    different = measured(random_of(loaded, structure, seed=2), loaded.model).blocks
    assert torch.equal(one.hidden, same.hidden)
    assert not torch.equal(one.hidden, different.hidden)


def test_blocks_keep_their_numbers_after_a_cut_and_after_a_restart():
    loaded, structure = tiny_model("roberta")
    collector = random_of(loaded, structure)
    collector.commit(measured(collector, loaded.model))
    before = collector.snapshot().blocks
    budget = 0.6 * structure.num_params()
    kept: KeptBlocks = search_blocks(structure, before, budget, Floors(min_hidden=4))
    surgery = prune_model(loaded.model, loaded.model_map, structure, kept, prefix=PREFIX)
    collector.remap(surgery)
    collector.commit(measured(collector, loaded.model))
    after = collector.snapshot().blocks
    assert torch.equal(after.hidden, before.hidden[kept.hidden])
    for name, units in kept.units.items():
        assert torch.equal(after.units[name], before.units[name][units])

    restored = random_of(loaded, surgery.structure_after)
    restored.load_state(collector.state())
    assert torch.equal(measured(restored, loaded.model).blocks.hidden, after.hidden)
