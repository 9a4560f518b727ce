"""Tiny random models that every test can afford."""

import torch
from transformers import BertConfig, RobertaConfig

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.models.loading import LoadedModel, build_model
from apt_core.models.structure import Structure

HEAD_DIM = 4
ADAPTED = frozenset({"q_proj", "v_proj", "intermediate_dense"})


def tiny_config(family: str, *, dropout: float = 0.0, num_layers: int = 3):
    """A configuration with hidden size 16, 4 heads of 4 channels and 24 neurons."""
    kind = {"bert": BertConfig, "roberta": RobertaConfig}[family]
    return kind(
        vocab_size=50,
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


def tiny_model(
    family: str = "roberta",
    *,
    seed: int = 0,
    rank: int = 3,
    dropout: float = 0.0,
    num_layers: int = 3,
) -> tuple[LoadedModel, Structure]:
    """A tiny classifier with adapters whose branches and norms are not trivial."""
    torch.manual_seed(seed)
    loaded = build_model(tiny_config(family, dropout=dropout, num_layers=num_layers))
    ranks = dict.fromkeys(loaded.model_map.sites(ADAPTED), rank)
    freeze_all_but(loaded.model, loaded.model_map.spec.head)
    inject_adapters(loaded.model, loaded.model_map, ranks=ranks, scaling=2.0)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            # Fresh norms are 1 and 0 and fresh branches 0: errors would hide behind that.
            parameter.add_(0.1 * torch.randn_like(parameter))
    return loaded, loaded.structure.with_ranks(ranks)


def tiny_batch(*, seed: int = 0, rows: int = 4, length: int = 9, labels: bool = True):
    """Random tokens, the second half of the rows padded at the end."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(2, 50, (rows, length), generator=generator)
    attention_mask = torch.ones(rows, length, dtype=torch.long)
    attention_mask[rows // 2 :, length - 3 :] = 0
    input_ids[attention_mask == 0] = 1
    batch = {"input_ids": input_ids, "attention_mask": attention_mask}
    if labels:
        batch["labels"] = torch.randint(0, 3, (rows,), generator=generator)
    return batch
