import pytest
import torch

from apt_core.adapters.merge import merge_adapters
from apt_core.tuner.grow import grow_adapters
from tests.tiny import tiny_batch, tiny_model


def grown(**options):
    loaded, structure = tiny_model(rank=3)
    sites = list(structure.ranks)
    surgery = grow_adapters(
        loaded.model,
        structure,
        {sites[0]: 5, sites[1]: 3, sites[2]: 4},
        **{"init_std": None, "seed": 7, **options},
    )
    return loaded, sites, surgery


def test_growth_changes_no_output():
    loaded, structure = tiny_model(rank=3)
    loaded.model.eval()
    batch = tiny_batch(labels=False)
    before = loaded.model(**batch).logits
    grow_adapters(loaded.model, structure, dict.fromkeys(structure.ranks, 9), init_std=0.1, seed=1)
    torch.testing.assert_close(loaded.model(**batch).logits, before, atol=1e-6, rtol=0)


def test_merging_changes_no_output():
    loaded, _ = tiny_model(rank=3)
    loaded.model.eval()
    batch = tiny_batch(labels=False)
    before = loaded.model(**batch).logits
    torch.testing.assert_close(
        merge_adapters(loaded.model)(**batch).logits, before, atol=1e-5, rtol=0
    )


def test_only_sites_that_grow_are_recorded():
    _, sites, surgery = grown()
    assert surgery.rank_changes == {sites[0]: (3, 5), sites[2]: (3, 4)}
    assert surgery.structure_after.ranks[sites[1]] == 3
    assert set(surgery.edits) == {f"{sites[i]}.lora_{x}" for i in (0, 2) for x in "ab"}


def test_old_directions_stay_and_the_scaling_survives():
    loaded, structure = tiny_model(rank=3)
    site = next(iter(structure.ranks))
    layer = loaded.model.get_submodule(site)
    old_a, old_b, scaling = layer.lora_a.clone(), layer.lora_b.clone(), layer.scaling
    grow_adapters(loaded.model, structure, {site: 6}, init_std=None, seed=0)
    torch.testing.assert_close(layer.lora_a[:3], old_a)
    torch.testing.assert_close(layer.lora_b[:, :3], old_b)
    assert torch.count_nonzero(layer.lora_b[:, 3:]) == 0
    assert (layer.rank, layer.scaling) == (6, scaling)


def test_new_rows_depend_on_seed_and_site_only():
    a, sites, _ = grown()
    torch.manual_seed(99)
    b, _, _ = grown()
    c, _, _ = grown(seed=8)
    rows = [m.model.get_submodule(sites[0]).lora_a[3:] for m in (a, b, c)]
    other_site = a.model.get_submodule(sites[2]).lora_a[3:]
    torch.testing.assert_close(rows[0], rows[1], atol=0, rtol=0)
    assert not torch.allclose(rows[0], rows[2])
    assert not torch.allclose(rows[0][:1], other_site[:1, :16])


@pytest.mark.parametrize(("init_std", "expected"), [(0.5, 0.5), (None, (3 * 16) ** -0.5)])
def test_new_rows_are_gaussian_with_the_wanted_spread(init_std, expected):
    loaded, structure = tiny_model(rank=3)
    site = next(iter(structure.ranks))
    grow_adapters(loaded.model, structure, {site: 2003}, init_std=init_std, seed=3)
    rows = loaded.model.get_submodule(site).lora_a[3:].detach()
    assert rows.std().item() == pytest.approx(expected, rel=0.05)
    assert abs(rows.mean().item()) < expected / 20


@pytest.mark.parametrize("std", [None, 0.3])
def test_uniform_rows_have_the_deviation_of_gaussian_ones_within_bounds(std):
    loaded, structure = tiny_model(rank=3)
    site = next(iter(structure.ranks))
    grow_adapters(
        loaded.model, structure, {site: 2003}, init_std=std, seed=1, distribution="uniform"
    )
    layer = loaded.model.get_submodule(site)
    rows = layer.lora_a[3:].detach()
    deviation = 1 / (3 * layer.in_features) ** 0.5 if std is None else std
    # 32,000 draws: the deviation is known to 0.4%; the kurtosis of a uniform is 1.8.
    assert float(rows.std()) == pytest.approx(deviation, rel=0.02)
    assert float(rows.abs().max()) <= deviation * 3**0.5
    assert float(((rows / rows.std()) ** 4).mean()) == pytest.approx(1.8, abs=0.05)
    assert not layer.lora_b[:, 3:].any()
