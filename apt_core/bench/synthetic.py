"""Random batches without padding, for every kind of head."""

import torch
from torch import Tensor

from apt_core.bench.flops import Rows
from apt_core.data.batch import Batch
from apt_core.models.spec import HeadKind


def synthetic_batch(
    head_kind: HeadKind, rows: Rows, *, vocab_size: int, num_labels: int, pad_id: int | None
) -> Batch:
    """Random tokens, all of them real, and random targets; the same at every call.

    Args:
        head_kind: what the model predicts.
        rows: how much.
        vocab_size: tokens that there are.
        num_labels: classes; 1 for a score.
        pad_id: the token that stands for padding, which is left out.

    Returns:
        The batch, on the CPU.
    """
    generator = torch.Generator().manual_seed(0)

    def tokens(length: int) -> Tensor:
        drawn = torch.randint(0, vocab_size - 1, (rows.rows, length), generator=generator)
        return drawn if pad_id is None else drawn + (drawn >= pad_id).long()

    input_ids = tokens(rows.tokens)
    batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    if head_kind == "seq2seq_lm":
        return batch | {"labels": tokens(rows.target_tokens)}
    if head_kind == "causal_lm":
        return batch | {"labels": input_ids.clone()}
    if head_kind == "question_answering":
        places = torch.randint(0, rows.tokens, (2, rows.rows), generator=generator)
        return batch | {"start_positions": places[0], "end_positions": places[1]}
    if num_labels == 1:
        return batch | {"labels": torch.randn(rows.rows, generator=generator)}
    return batch | {"labels": torch.randint(0, num_labels, (rows.rows,), generator=generator)}


def split_rows(batch: Batch, num_rows: int) -> list[Batch]:
    """A batch as micro-batches of so many rows."""
    pieces = {name: tensor.split(num_rows) for name, tensor in batch.items()}
    count = len(next(iter(pieces.values())))
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(count)]
