"""How the rows of a report look in figures: colour-blind safe, and told apart without colour."""

from collections.abc import Mapping
from dataclasses import dataclass

# Okabe and Ito's colour-blind-safe palette without black and yellow, so that every colour is
# visible on white and on black.
PALETTE = ("#7f7f7f", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("-", "--", "-.", ":")
INK = "#222222"
GRID = "#d4d4d4"
MAX_LOOKS = 20
"""With more rows than this, the rows of one method look alike, so that a legend stays readable."""


@dataclass(frozen=True)
class Style:
    """How the lines and points of one row look."""

    name: str
    """What the legend says: the row, or its method where rows are many."""
    color: str
    marker: str
    dash: str
    step_width: float
    """Step lines lie on each other: the later ones are thinner, so that all can be seen."""


Styles = Mapping[str, Style]
"""By the label of the row."""


def make_styles(methods: Mapping[str, str]) -> Styles:
    """A colour, marker and dash for every row; their periods differ: combinations repeat late.

    Args:
        methods: Label of a row -> name of its method, which is the row without its sparsity.

    Returns:
        The look of every row.
    """
    names = {label: label for label in methods} if len(methods) <= MAX_LOOKS else dict(methods)
    number = {name: i for i, name in enumerate(dict.fromkeys(names.values()))}
    return {label: _style(name, number[name]) for label, name in names.items()}


def _style(name: str, number: int) -> Style:
    return Style(
        name,
        PALETTE[number % len(PALETTE)],
        MARKERS[number % len(MARKERS)],
        DASHES[number % len(DASHES)],
        max(1.2, 3.6 - 0.4 * number),
    )
