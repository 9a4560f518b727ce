"""Random batches that every head can be trained on."""

import pytest
import torch

from apt_core.bench.flops import Rows
from apt_core.bench.synthetic import split_rows, synthetic_batch
from apt_core.models.calls import call_model
from tests.tiny import CASES, VOCABULARY, tiny_model

ROWS = Rows(6, 12, 5)
PAD = 1


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_every_head_gives_a_loss_and_no_token_is_padding(family, head_kind) -> None:
    loaded, _ = tiny_model(family, head_kind=head_kind)
    batch = synthetic_batch(head_kind, ROWS, vocab_size=VOCABULARY, num_labels=3, pad_id=PAD)
    assert batch["input_ids"].shape == (6, 12)
    assert bool((batch["attention_mask"] == 1).all())
    assert bool((batch["input_ids"] != PAD).all())
    assert batch["input_ids"].max() < VOCABULARY
    loss = call_model(loaded.model, head_kind, batch).loss
    assert bool(loss.isfinite())
    again = synthetic_batch(head_kind, ROWS, vocab_size=VOCABULARY, num_labels=3, pad_id=PAD)
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_every_token_but_padding_may_be_drawn() -> None:
    rows = Rows(50, 20)
    batch = synthetic_batch("causal_lm", rows, vocab_size=5, num_labels=0, pad_id=2)
    assert set(batch["input_ids"].flatten().tolist()) == {0, 1, 3, 4}
    assert torch.equal(batch["labels"], batch["input_ids"])


def test_a_score_is_a_number() -> None:
    def drawn(num_labels: int):
        return synthetic_batch(
            "sequence_classification", ROWS, vocab_size=9, num_labels=num_labels, pad_id=None
        )

    batch = drawn(1)
    assert batch["labels"].dtype == torch.float32
    batch = drawn(4)
    assert batch["labels"].max() < 4


def test_micro_batches_are_the_batch_in_pieces() -> None:
    batch = synthetic_batch(
        "sequence_classification", ROWS, vocab_size=9, num_labels=2, pad_id=None
    )
    pieces = split_rows(batch, 2)
    assert [len(piece["labels"]) for piece in pieces] == [2, 2, 2]
    for name, tensor in batch.items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces]), tensor)
