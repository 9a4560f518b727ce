"""Configurations of pruned models: what every layer has kept, saved and read back."""

from pathlib import Path

import pytest

from apt_core.models.configuration_apt import SPEC, AptLlamaConfig, AptT5Config, dense_shape

COUNTS = ["num_attention_heads", "num_key_value_heads", "intermediate_size"]


def llama() -> AptLlamaConfig:
    """Two layers: one without heads, one that kept everything; 11 of 16 dimensions."""
    return AptLlamaConfig(
        hidden_size=11,
        dense_hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        head_dim=6,
        per_layer_config={
            0: {"num_attention_heads": 0, "num_key_value_heads": 0, "intermediate_size": 5},
            1: {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24},
        },
        apt_layout={"stacks": [{"counts": COUNTS}]},
    )


def test_counts_are_read_layer_by_layer() -> None:
    assert llama().layer_counts(0) == [
        dict(zip(COUNTS, (0, 0, 5), strict=True)),
        dict(zip(COUNTS, (4, 2, 24), strict=True)),
    ]


def test_a_second_stack_has_a_list_of_its_own() -> None:
    config = AptT5Config(target_layers=[{"num_heads": 2, "cross_num_heads": 0, "d_ff": 7}])
    assert config.layer_counts(1) == [{"num_heads": 2, "cross_num_heads": 0, "d_ff": 7}]


def test_it_is_saved_layer_by_layer_and_read_back(tmp_path: Path) -> None:
    config = llama()
    config.save_pretrained(tmp_path)
    again = AptLlamaConfig.from_pretrained(tmp_path)
    assert again.layer_counts(0) == config.layer_counts(0)
    assert set(again.to_dict()["per_layer_config"]["1"]) == set(COUNTS)
    # 11 dimensions are no multiple of 4 heads, which stock LLaMA insists on.
    again.validate()


def test_a_global_count_may_be_read_and_is_the_unpruned_models() -> None:
    assert llama().num_attention_heads == 4


def test_it_is_the_unpruned_model_for_a_while() -> None:
    config = llama()
    seen = []

    def fail() -> None:
        with dense_shape(config):
            seen.append((config.hidden_size, SPEC in vars(config)))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert seen == [(16, False)]
    assert config.hidden_size == 11
    assert config.layer_counts(0)[0]["intermediate_size"] == 5
