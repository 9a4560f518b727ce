"""Columns of rows of different lengths."""

import numpy as np

from apt_core.data.tokenized import Ragged, TokenizedSplit


def test_rows_lie_end_to_end_and_come_back() -> None:
    column = Ragged.of([[1, 2], [], [3]])
    assert column.values.tolist() == [1, 2, 3]
    assert column.offsets.tolist() == [0, 2, 2, 3]
    assert [column[i].tolist() for i in range(3)] == [[1, 2], [], [3]]
    assert column.lengths.tolist() == [2, 0, 1]


def test_a_token_may_hold_several_numbers() -> None:
    column = Ragged.of([np.array([[0, 3], [4, 6]]), np.empty((0, 2))], width=2)
    assert column.values.shape == (2, 2)
    assert column[0].tolist() == [[0, 3], [4, 6]]
    assert column[1].shape == (0, 2)


def test_items_are_rows_unless_windows_say_otherwise() -> None:
    ids = Ragged.of([[1, 2], [3], [4]])
    rows = TokenizedSplit({"input_ids": ids}, {})
    assert (rows.num_items, rows.num_rows) == (3, 3)
    assert rows.trainable.tolist() == [True] * 3
    windows = TokenizedSplit({"input_ids": ids}, {"rows": np.array([0, 0, 1])})
    assert (windows.num_items, windows.num_rows) == (3, 2)


def test_target_lengths_come_from_labels_or_from_what_follows_the_prompt() -> None:
    ids = Ragged.of([[1, 2], [3, 4, 5]])
    assert TokenizedSplit({"input_ids": ids}, {}).target_lengths.tolist() == [0, 0]
    labels = Ragged.of([[1], [1, 2]])
    pairs = TokenizedSplit({"input_ids": ids, "labels": labels}, {})
    assert pairs.target_lengths.tolist() == [1, 2]
    causal = TokenizedSplit({"input_ids": ids}, {"prompt_tokens": np.array([1, 1])})
    assert causal.target_lengths.tolist() == [1, 2]
