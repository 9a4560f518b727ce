"""Tiny random models that every test can afford."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from transformers import (
    BertConfig,
    DistilBertConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    MT5Config,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
)

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.models.loading import LoadedModel, build_model
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure

HEAD_DIM = 4
ADAPTED = frozenset({"q_proj", "v_proj", "intermediate_dense"})
VOCABULARY = 50

ENCODERS = ("bert", "roberta", "distilbert")
SEQ2SEQ = ("t5", "t5-gated", "t5-untied", "mt5")
CAUSAL = ("llama", "llama-untied", "mistral", "gemma", "qwen2", "qwen3")
CASES: tuple[tuple[str, HeadKind], ...] = (
    *((family, "sequence_classification") for family in ENCODERS),
    *((family, "question_answering") for family in ENCODERS),
    *((family, "seq2seq_lm") for family in SEQ2SEQ),
    *((family, "causal_lm") for family in CAUSAL),
)
"""(family, head kind) of everything that can be pruned."""


def tiny_config(family: str, *, dropout: float = 0.0, num_layers: int = 3):
    """A configuration with hidden size 16, 4 heads of 4 channels and 24 neurons.

    The decoders have 2 key/value heads, each for 2 query heads; their heads have 6 channels, so
    that attention is not as wide as the model.
    """
    if family in SEQ2SEQ:
        return _t5_config(family, dropout=dropout, num_layers=num_layers)
    if family in CAUSAL:
        return _llama_config(family, dropout=dropout, num_layers=num_layers)
    if family == "distilbert":
        return DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=16,
            n_layers=num_layers,
            n_heads=4,
            hidden_dim=24,
            max_position_embeddings=40,
            dropout=dropout,
            attention_dropout=dropout,
            seq_classif_dropout=dropout,
            qa_dropout=dropout,
            num_labels=3,
            pad_token_id=1,
        )
    kind = {"bert": BertConfig, "roberta": RobertaConfig}[family]
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=40,
        type_vocab_size=2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=3,
        pad_token_id=1,
    )


def _t5_config(family: str, *, dropout: float, num_layers: int):
    kind = MT5Config if family == "mt5" else T5Config
    return kind(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=num_layers,
        num_decoder_layers=num_layers - 1,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        dropout_rate=dropout,
        feed_forward_proj="relu" if family == "t5" else "gated-gelu",
        tie_word_embeddings=family != "t5-untied",
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


def _llama_config(family: str, *, dropout: float, num_layers: int):
    kind = {
        "mistral": MistralConfig,
        "gemma": GemmaConfig,
        "qwen2": Qwen2Config,
        "qwen3": Qwen3Config,
    }.get(family, LlamaConfig)
    # Qwen2 has no head size of its own: it divides the hidden size.
    own_head_size = {} if family == "qwen2" else {"head_dim": 6}
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        attention_dropout=dropout,
        tie_word_embeddings=family != "llama-untied",
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **own_head_size,
    )


def default_head(family: str) -> HeadKind:
    """The head that a family's tests use unless they say otherwise."""
    if family in SEQ2SEQ:
        return "seq2seq_lm"
    return "causal_lm" if family in CAUSAL else "sequence_classification"


def tiny_model(
    family: str = "roberta",
    *,
    head_kind: HeadKind | None = None,
    seed: int = 0,
    rank: int = 3,
    dropout: float = 0.0,
    num_layers: int = 3,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> tuple[LoadedModel, Structure]:
    """A tiny task model with adapters whose branches and norms are not trivial.

    ``sizes``: what the configuration shall say instead.
    """
    torch.manual_seed(seed)
    config = tiny_config(family, dropout=dropout, num_layers=num_layers)
    config.update(dict(sizes))
    if head_kind == "question_answering":
        config.num_labels = 2
    loaded = build_model(config, head_kind or default_head(family))
    ranks = dict.fromkeys(loaded.model_map.sites(ADAPTED), rank)
    freeze_all_but(loaded.model, loaded.model_map.head)
    inject_adapters(loaded.model, loaded.model_map, ranks=ranks, scaling=2.0)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            # Fresh norms are 1 and 0 and fresh branches 0: errors would hide behind that.
            parameter.add_(0.1 * torch.randn_like(parameter))
    return loaded, loaded.structure.with_ranks(ranks)


def tiny_batch(
    *,
    seed: int = 0,
    rows: int = 4,
    length: int = 9,
    labels: bool = True,
    head_kind: str = "sequence_classification",
):
    """Random tokens, the second half of the rows padded at the end."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(2, VOCABULARY, (rows, length), generator=generator)
    attention_mask = torch.ones(rows, length, dtype=torch.long)
    attention_mask[rows // 2 :, length - 3 :] = 0
    input_ids[attention_mask == 0] = 1
    batch = {"input_ids": input_ids, "attention_mask": attention_mask}
    if labels:
        batch |= _tiny_targets(head_kind, batch, generator)
    return batch


def _tiny_targets(head_kind: str, batch, generator):
    rows, length = batch["input_ids"].shape
    if head_kind == "question_answering":
        places = torch.randint(0, length - 3, (2, rows), generator=generator)
        return {"start_positions": places[0], "end_positions": places[1]}
    if head_kind == "seq2seq_lm":
        labels = torch.randint(2, VOCABULARY, (rows, 5), generator=generator)
        labels[rows // 2 :, 3:] = -100
        return {"labels": labels}
    if head_kind == "causal_lm":
        labels = batch["input_ids"].clone()
        labels[:, :3] = -100
        labels[batch["attention_mask"] == 0] = -100
        return {"labels": labels}
    return {"labels": torch.randint(0, 3, (rows,), generator=generator)}
