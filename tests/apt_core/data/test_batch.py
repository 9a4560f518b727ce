"""Batches: padding, masks and labels by hand."""

import numpy as np
import torch

from apt_core.data.batch import NOT_INPUTS, Collator, model_inputs
from apt_core.data.tokenized import Ragged, TokenizedSplit

IDS = Ragged.of([[5, 6, 7], [8], [9, 4]])


def test_rows_are_padded_to_the_longest_of_them() -> None:
    split = TokenizedSplit({"input_ids": IDS}, {"labels": np.array([1, 0, 1])})
    batch = Collator(pad_id=3)(split, [1, 2])
    assert batch["input_ids"].tolist() == [[8, 3], [9, 4]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["labels"].tolist() == [0, 1]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_widths_are_rounded_up_and_padding_may_stand_at_the_left() -> None:
    split = TokenizedSplit({"input_ids": IDS, "token_type_ids": IDS}, {})
    batch = Collator(pad_id=3, pad_left=True, multiple=4)(split, [0, 1])
    assert batch["input_ids"].tolist() == [[3, 5, 6, 7], [3, 3, 3, 8]]
    assert batch["token_type_ids"].tolist() == [[0, 5, 6, 7], [0, 0, 0, 8]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]


def test_targets_of_a_seq2seq_model_are_padded_with_what_is_ignored() -> None:
    labels = Ragged.of([[1, 2], [1], [1, 2, 3]])
    split = TokenizedSplit({"input_ids": IDS, "labels": labels}, {})
    batch = Collator(pad_id=0)(split, [0, 2])
    assert batch["labels"].tolist() == [[1, 2, -100], [1, 2, 3]]


def test_a_causal_model_learns_what_follows_the_prompt() -> None:
    split = TokenizedSplit({"input_ids": IDS}, {"prompt_tokens": np.array([1, 0, 1])})
    # The pad id is also a real token, as it is where the end pads.
    batch = Collator(pad_id=7)(split, [0, 2])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [9, 4, 7]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, 4, -100]]


def test_windows_bring_their_positions_and_nothing_else() -> None:
    fixed = {name: np.array([1, 2, 3]) for name in ("rows", "start_positions", "end_positions")}
    split = TokenizedSplit({"input_ids": IDS}, {**fixed, "trainable": np.array([True] * 3)})
    batch = Collator(pad_id=0)(split, [2])
    assert set(batch) == {"input_ids", "attention_mask", "start_positions", "end_positions"}
    assert batch["start_positions"].tolist() == [3]


def test_scores_stay_floats() -> None:
    split = TokenizedSplit({"input_ids": IDS}, {"labels": np.array([0.5, 1, 2], np.float32)})
    assert Collator(pad_id=0)(split, [0])["labels"].dtype == torch.float32


def test_a_model_gets_only_its_inputs() -> None:
    names = ["input_ids", "labels", *NOT_INPUTS]
    assert set(model_inputs({name: torch.tensor(0) for name in names})) == {"input_ids", "labels"}
