"""What injection replaces, shares and leaves alone."""

import copy

import pytest
import torch
from torch import nn

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm
from apt_core.models.loading import LoadedModel, build_model
from tests.tiny import ADAPTED, tiny_batch, tiny_config


def fresh(family: str = "roberta") -> LoadedModel:
    torch.manual_seed(0)
    return build_model(tiny_config(family))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_output_stays_and_so_do_the_weights(family: str) -> None:
    loaded = fresh(family)
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    before = model(**batch).logits
    parameters = dict(model.named_parameters())
    ranks = dict.fromkeys(loaded.model_map.sites(ADAPTED), 3)
    inject_adapters(model, loaded.model_map, ranks=ranks, scaling=2.0)
    assert torch.equal(model(**batch).logits, before)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in parameters.items())
    assert {name.rpartition(".")[0] for name in after.keys() - parameters.keys()} == set(ranks)


def test_every_projection_and_every_residual_norm_is_replaced() -> None:
    loaded = fresh()
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=2.0)
    layers = loaded.model.get_submodule("roberta.encoder.layer")
    kinds = [type(m) for m in loaded.model.get_submodule("roberta").modules()]
    assert kinds.count(APTLinear) == 3 * 6
    assert kinds.count(MaskedLayerNorm) == 3 * 2 + 1
    assert not {nn.Linear, nn.LayerNorm} & set(kinds)
    # The head is no part of the stream and stays as it is.
    assert type(loaded.model.get_submodule("classifier.dense")) is nn.Linear
    assert all(module.rank == 0 for module in layers.modules() if isinstance(module, APTLinear))


def test_ranks_go_where_they_are_asked_for() -> None:
    loaded = fresh()
    site = "roberta.encoder.layer.1.output.dense"
    inject_adapters(loaded.model, loaded.model_map, ranks={site: 5}, scaling=0.25)
    ranks = {n: m.rank for n, m in loaded.model.named_modules() if isinstance(m, APTLinear)}
    assert {name for name, rank in ranks.items() if rank} == {site}
    assert loaded.model.get_submodule(site).lora_a.shape == (5, 24)
    assert loaded.model.get_submodule(site).scaling == 0.25


def test_new_layers_take_over_the_mode() -> None:
    loaded = fresh()
    loaded.model.eval()
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=2.0)
    assert not any(module.training for module in loaded.model.modules())


def test_only_the_named_modules_stay_trainable() -> None:
    loaded = fresh("bert")
    freeze_all_but(loaded.model, loaded.model_map.head)
    trainable = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert trainable == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    }


def test_adapters_put_into_a_frozen_model_are_trainable() -> None:
    loaded = fresh()
    frozen = copy.deepcopy(loaded.model)
    freeze_all_but(frozen, ())
    ranks = dict.fromkeys(loaded.model_map.sites(frozenset({"q_proj"})), 2)
    inject_adapters(frozen, loaded.model_map, ranks=ranks, scaling=2.0)
    trainable = {n for n, p in frozen.named_parameters() if p.requires_grad}
    assert trainable == {f"{site}.{leaf}" for site in ranks for leaf in ("lora_a", "lora_b")}
