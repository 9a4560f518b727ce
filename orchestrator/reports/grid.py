"""The one table model of a report: every rendering reads these values and adds nothing (PURE)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from orchestrator.reports.stat import NOTHING, Stat


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and what stands behind it."""

    text: str
    """The number in words, short enough for a terminal."""
    value: float | str | None = None
    """What it sorts by (None: last)."""
    is_missing: bool = False
    """There is no number; the text says why."""
    stat: Stat = NOTHING
    """The runs' values in the unit of `value`, where the text shows their mean."""
    spread: str = ""
    """Half of the 95% interval, where the text leaves it out."""
    published: str = ""
    """The paper's number for the same setting, as printed; empty where it has none."""
    notes: tuple[str, ...] = ()
    """Footnotes of this cell."""
    run_ids: tuple[str, ...] = ()
    """The runs that it was measured on."""
    anchor: str = ""
    """Where in the report the commands stand that rerun them."""

    @property
    def own_text(self) -> str:
        """The text with its interval."""
        return f"{self.text} \u00b1 {self.spread}" if self.spread else self.text

    @property
    def full_text(self) -> str:
        """The same with the paper's number beside it."""
        return f"{self.own_text}; paper {self.published}" if self.published else self.own_text


@dataclass(frozen=True)
class Heading:
    """The head of one column."""

    heading: str
    help: str
    is_number: bool = True


@dataclass(frozen=True)
class Grid:
    """A table: columns, rows of cells, footnotes."""

    columns: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    name: str = ""
    """Unique in the report: part of anchors, and the table's name in the files of all cells."""
    title: str = ""
    source: str = ""
    """The paper's table that has this layout, and where it stands; empty for our own tables."""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """All footnotes, each once, in the order of the cells."""
        return tuple(
            dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes)
        )

    def marks(self, cell: Cell) -> tuple[int, ...]:
        """The numbers of a cell's footnotes, counted from 1."""
        return tuple(self.notes.index(note) + 1 for note in cell.notes)

    def links(self, row: Sequence[Cell]) -> tuple[str, ...]:
        """The anchor that each cell of a row links to: the first alone where all are the same."""
        anchors = tuple(cell.anchor for cell in row)
        return anchors if len(set(anchors)) > 1 else (*anchors[:1], *[""] * (len(anchors) - 1))


def slug(text: str) -> str:
    """Text as a file name or an anchor."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")
