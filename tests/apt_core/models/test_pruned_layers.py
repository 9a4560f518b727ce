"""What stands in the place of parts that are gone; and T5's biases by hooks."""

import torch
from torch import nn
from transformers import DynamicCache

from apt_core.models.pruned_layers import (
    TABLE,
    Bypass,
    share_position_table,
    with_zero_bias,
    without_bias,
)


def test_a_bypass_hands_the_chosen_input_through() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert Bypass("input")(a, b) is a
    assert Bypass("input", input_position=1)(a, b) is b
    assert Bypass("input")(hidden_states=a, attention_mask=b) is a
    chosen, *others = Bypass("input", num_outputs=3)(a, attention_mask=b)
    assert chosen is a
    assert others == [None, None]


def test_a_bypass_that_gives_nothing_adds_nothing() -> None:
    x = torch.randn(2, 3, 4)
    zero, weights = Bypass("zero", num_outputs=2)(hidden_states=x)
    assert weights is None
    torch.testing.assert_close(x + zero, x, atol=0, rtol=0)


def test_a_bypass_keeps_the_length_of_its_layer_in_the_cache() -> None:
    cache = DynamicCache()
    bypass = Bypass("zero", num_outputs=2, cache_layer=0)
    bypass(hidden_states=torch.zeros(2, 5, 4), past_key_values=cache)
    bypass(hidden_states=torch.zeros(2, 1, 4), past_key_values=cache)
    assert cache.get_seq_length(0) == 6


def test_a_shared_table_is_the_same_parameter_in_another_layer() -> None:
    attention, shared = nn.Module(), nn.Embedding(8, 4)
    share_position_table(attention, shared)
    own = getattr(attention, TABLE)
    assert own is not shared
    assert own.weight is shared.weight
    assert attention.has_relative_attention_bias


def test_hooks_replace_the_bias_that_another_layer_hands_on() -> None:
    module, x = nn.Identity(), torch.ones(2, 3, 4)
    args, named = without_bias(module, (x,), {"position_bias": x, "mask": None})
    assert args == (x,)
    assert named == {"position_bias": None, "mask": None}
    _, named = with_zero_bias(module, (), {"hidden_states": x, "position_bias": x})
    assert named["position_bias"].shape == (1, 1, 1, 1)
    assert not named["position_bias"].any()
