"""What stands outside the layers is read off the module; products: see `test_flops`."""

import pytest

from apt_core.bench.flops import HeadLayer, Rows
from apt_core.bench.networks import head_layers, network_of
from tests.tiny import tiny_model

ROWS = Rows(4, 9, 5)


@pytest.mark.parametrize(
    ("family", "head_kind", "expected"),
    [
        # A class is read from one token: a dense layer of 16 x 16, and 3 classes.
        ("roberta", "sequence_classification", (HeadLayer(256, 1, True), HeadLayer(48, 1, True))),
        ("bert", "question_answering", (HeadLayer(32, 9, True),)),
        ("t5", "seq2seq_lm", (HeadLayer(800, 5, False),)),
        ("llama", "causal_lm", (HeadLayer(800, 9, False),)),
    ],
)
def test_the_matrices_of_every_head(family, head_kind, expected) -> None:
    loaded, structure = tiny_model(family, head_kind=head_kind)
    assert head_layers(loaded.model, head_kind, ROWS) == expected
    network = network_of(loaded.model, structure, head_kind, ROWS, all_learn=False)
    assert network.num_weights == (
        structure.num_params()
        + structure.num_adapter_params()
        + sum(layer.weights for layer in expected)
    )
