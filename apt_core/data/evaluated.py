"""An evaluation split: which items of a tokenised split belong to it, and its references."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apt_core.data.references import References, Windows, targets_of
from apt_core.data.sources import read_split
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import IntArray, TokenizedSplit


@dataclass(frozen=True)
class EvaluatedSplit:
    """Rows that are scored, and their items: the rows themselves, or their windows."""

    task: TaskSpec
    source: str
    """The split of the dataset that the rows are in."""
    tokens: TokenizedSplit
    """All of that split."""
    rows: IntArray
    """Rows of the source that are scored, in rising order."""

    @cached_property
    def items(self) -> IntArray:
        """Items of the scored rows, in their order."""
        return np.flatnonzero(np.isin(self.tokens.rows, self.rows))

    @property
    def mean_length(self) -> float:
        """Mean number of input tokens of an item."""
        return float(self.tokens.lengths[self.items].mean())

    @property
    def mean_target_length(self) -> float:
        """Mean number of target tokens of an item; 0 for heads that write no text."""
        return float(self.tokens.target_lengths[self.items].mean())

    @cached_property
    def references(self) -> References:
        """What predictions for the rows are compared with; reads the dataset when first asked."""
        table = read_split(self.task, self.source).take(self.rows)
        contexts = ()
        if self.task.kind == "qa":
            contexts = tuple(table[self.task.text_columns[-1]].to_pylist())
        return References(targets_of(table, self.task), contexts, self._windows())

    def _windows(self) -> Windows | None:
        if "spans" not in self.tokens.ragged:
            return None
        places = np.searchsorted(self.rows, self.tokens.rows[self.items])
        spans = self.tokens.ragged["spans"]
        return Windows(tuple(map(int, places)), tuple(spans[item] for item in self.items))
