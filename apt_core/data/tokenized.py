"""Tokenised splits in memory: columns of rows of different lengths, end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, end to end."""

    values: IntArray
    """``(all tokens, ...)``."""
    offsets: IntArray
    """Row i is ``values[offsets[i] : offsets[i + 1]]``."""

    @classmethod
    def of(cls, rows: Sequence[Any], width: int | None = None) -> "Ragged":
        """Put rows end to end.

        Args:
            rows: Sequences of numbers, or arrays of the shape (tokens, width).
            width: Numbers per token; None: one.

        Returns:
            The column, as int32.
        """
        shape = (0,) if width is None else (0, width)
        arrays = [np.asarray(row, dtype=np.int32).reshape(-1, *shape[1:]) for row in rows]
        return cls(
            values=np.concatenate([np.empty(shape, dtype=np.int32), *arrays]),
            offsets=np.cumsum([0, *map(len, arrays)]).astype(np.int64),
        )

    def __getitem__(self, row: int) -> IntArray:
        """One row."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> IntArray:
        """Tokens of every row."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class TokenizedSplit:
    """The items of a split: its rows, or the windows of its rows.

    ragged: ``input_ids``, where the tokenizer gives them ``token_type_ids``; for seq2seq_lm
    ``labels``; for question_answering, when asked for, ``spans``: (tokens, 2), the character span
    of every token in the row's context, (-1, -1) elsewhere.

    fixed: for sequence_classification ``labels``; for causal_lm ``prompt_tokens``, the number of
    tokens before the target; for question_answering ``rows`` (the row that a window is from),
    ``start_positions``, ``end_positions`` and ``trainable``.
    """

    ragged: dict[str, Ragged]
    fixed: dict[str, npt.NDArray[Any]]

    @property
    def input_ids(self) -> Ragged:
        """Token ids of every item."""
        return self.ragged["input_ids"]

    @property
    def num_items(self) -> int:
        """Number of rows or windows."""
        return len(self.input_ids.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Input tokens of every item."""
        return self.input_ids.lengths

    @property
    def rows(self) -> IntArray:
        """The row of the dataset that every item is from."""
        return self.fixed.get("rows", np.arange(self.num_items))

    @property
    def num_rows(self) -> int:
        """Rows of the dataset."""
        return int(self.rows[-1]) + 1

    @property
    def trainable(self) -> npt.NDArray[np.bool_]:
        """Whether an item may be trained on."""
        every = np.ones(self.num_items, dtype=np.bool_)
        return self.fixed.get("trainable", every).astype(np.bool_)

    @property
    def target_lengths(self) -> IntArray:
        """Target tokens of every item; zeros where a head predicts no tokens."""
        if "labels" in self.ragged:
            return self.ragged["labels"].lengths
        if "prompt_tokens" in self.fixed:
            return np.asarray(self.lengths - self.fixed["prompt_tokens"])
        return np.zeros(self.num_items, dtype=np.int64)
