"""What a figure shows, as frozen values: coordinate systems, maps and distributions (PURE)."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.reports.series import Line

MAX_FULL_LINES = 24
"""More curves than this are drawn faintly, with a mean per row."""


@dataclass(frozen=True)
class Panel:
    """One coordinate system of lines or points."""

    lines: Sequence[Line]
    x_label: str
    y_label: str
    kind: str
    """``curve``: lines with markers; ``line``: over steps; ``steps``: the same of what holds until
    it jumps; ``points``."""
    reference: float | None = None
    """Where a vertical line marks the dense model."""
    level: float | None = None
    """Where a horizontal line marks the baseline; a second scale counts in percent of it."""
    front: tuple[tuple[float, float], ...] = ()
    """Points that nothing beats on both axes, joined by a line."""
    min_x_span: float = 0.0
    """The axis shows at least this much, so that small differences do not look large."""
    min_y_span: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.lines

    @property
    def is_over_steps(self) -> bool:
        """Whether it stands above or below others that share its steps."""
        return self.kind in {"line", "steps"}


@dataclass(frozen=True)
class Heat:
    """A map of numbers over two axes of names, such as layers by events."""

    title: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """By row; None: there is nothing any more."""
    texts: tuple[tuple[str, ...], ...]
    """What each cell says."""
    unit: str
    maximum: float

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.rows and self.columns)


@dataclass(frozen=True)
class Boxes:
    """Distributions beside each other, each with the border that a choice drew through it."""

    title: str
    x_label: str
    y_label: str
    names: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]
    """Of each distribution, at `SALIENCE_QUANTILES`."""
    borders: tuple[float | None, ...]
    """The greatest value that was cut; None: nothing was."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.names


Content = Panel | Heat | Boxes
