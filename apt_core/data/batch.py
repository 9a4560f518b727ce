"""From tokenised rows to tensors: padding, labels, and what of a batch a model does not take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apt_core.data.tokenized import Ragged, TokenizedSplit

Batch = dict[str, Tensor]
NOT_INPUTS = frozenset({"loss_weight", "row"})
"""``loss_weight``: share of a micro-batch in the loss of its step; ``row``: indices of rows."""
TARGETS = frozenset({"labels", "start_positions", "end_positions"})
"""What is to be predicted."""
IGNORED = -100
"""Label of a token that no loss is computed for."""
_PER_ITEM = ("labels", "start_positions", "end_positions")


def model_inputs(batch: Mapping[str, Tensor], *, targets: bool = True) -> dict[str, Tensor]:
    """The entries that a task model takes.

    Args:
        batch: one micro-batch.
        targets: whether what is to be predicted is among them.

    Returns:
        Keyword arguments.
    """
    left_out = NOT_INPUTS if targets else NOT_INPUTS | TARGETS
    return {name: tensor for name, tensor in batch.items() if name not in left_out}


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest of them."""

    pad_id: int
    """Id that fills up ``input_ids``."""
    pad_left: bool = False
    """Whether the padding stands before the text."""
    multiple: int = 1
    """Widths are rounded up to a multiple of this."""
    max_width: int | None = None
    """Inputs are rounded up to so many tokens at most: a model may have no positions for more."""

    def __call__(self, tokens: TokenizedSplit, items: Sequence[int]) -> Batch:
        """One batch.

        Args:
            tokens: A tokenised split.
            items: Its rows or windows that make up the batch, at least one.

        Returns:
            ``input_ids``, ``attention_mask`` and what else the head reads.
        """
        lengths = tokens.lengths[list(items)]
        arrays: dict[str, npt.NDArray[Any]] = {
            name: self._padded(
                tokens.ragged[name], items, self.pad_id * (name == "input_ids"), self.max_width
            )
            for name in ("input_ids", "token_type_ids")
            if name in tokens.ragged
        }
        places = np.arange(arrays["input_ids"].shape[1])
        if self.pad_left:
            places = places[::-1]
        arrays["attention_mask"] = (places < lengths[:, None]).astype(np.int64)
        if "labels" in tokens.ragged:
            arrays["labels"] = self._padded(tokens.ragged["labels"], items, IGNORED)
        if "prompt_tokens" in tokens.fixed:
            is_prompt = places < tokens.fixed["prompt_tokens"][list(items)][:, None]
            is_target = (arrays["attention_mask"] == 1) & ~is_prompt
            arrays["labels"] = np.where(is_target, arrays["input_ids"], IGNORED)
        for name in _PER_ITEM:
            if name in tokens.fixed:
                arrays[name] = tokens.fixed[name][list(items)]
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _padded(
        self, column: Ragged, items: Sequence[int], fill: int, max_width: int | None = None
    ) -> npt.NDArray[np.integer[Any]]:
        rows = [column[item] for item in items]
        longest = max(map(len, rows))
        width = -(-longest // self.multiple) * self.multiple
        if max_width is not None:
            width = max(longest, min(width, max_width))
        padded = np.full((len(rows), width), fill, dtype=np.int64)
        for index, row in enumerate(rows):
            at = slice(width - len(row), width) if self.pad_left else slice(len(row))
            padded[index, at] = row
        return padded
