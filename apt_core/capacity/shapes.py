"""The shapes of well-known models, as their ``config.json`` gives them: nothing is downloaded."""

from collections.abc import Mapping
from typing import Any


def _llama_2(hidden: int, neurons: int, layers: int, heads: int, groups: int) -> Mapping[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": hidden,
        "intermediate_size": neurons,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }


SHAPES: Mapping[str, Mapping[str, Any]] = {
    "roberta-base": {
        "model_type": "roberta",
        "vocab_size": 50265,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "pad_token_id": 1,
    },
    "t5-base": {
        "model_type": "t5",
        "vocab_size": 32128,
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 12,
        "num_decoder_layers": 12,
        "num_heads": 12,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
    },
    "llama-2-7b": _llama_2(4096, 11008, 32, 32, 32),
    "llama-2-13b": _llama_2(5120, 13824, 40, 40, 40),
    "llama-2-70b": _llama_2(8192, 28672, 80, 64, 8),
}
"""Name -> configuration. ``t5-base`` is the gated T5 v1.1, which ``google/t5-base-lm-adapt`` is."""
