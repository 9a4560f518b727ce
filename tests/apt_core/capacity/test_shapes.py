"""Named shapes have the published numbers of parameters."""

import pytest

from apt_core.capacity.shapes import SHAPES


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-2-70b", 68_976_648_192),
    ],
)
def test_llama_2_by_arithmetic(name: str, published: int) -> None:
    shape = SHAPES[name]
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    keys = hidden * shape["num_key_value_heads"] // shape["num_attention_heads"]
    attention = 2 * hidden * hidden + 2 * hidden * keys
    layer = attention + 3 * hidden * shape["intermediate_size"] + 2 * hidden
    assert 2 * shape["vocab_size"] * hidden + layers * layer + hidden == published
