"""Draw panels of lines or points with matplotlib, as SVG and PNG."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.reports import series
from orchestrator.reports.series import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind-safe palette without black and yellow, so that every colour is
# visible on white and on black.
PALETTE = ("#7f7f7f", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("-", "--", "-.", ":")
INK = "#222222"
GRID = "#d4d4d4"
MAX_FULL_LINES = 24
"""More curves than this are drawn faintly, with a mean per row."""


@dataclass(frozen=True)
class Panel:
    """One coordinate system of a figure."""

    lines: Sequence[Line]
    x_label: str
    y_label: str
    kind: str
    """``curve``, ``steps`` or ``points``."""
    reference: float | None = None
    """Where a vertical line marks the dense model."""
    min_x_span: float = 0.0
    """The axis shows at least this much, so that small differences do not look large."""
    min_y_span: float = 0.0


@dataclass(frozen=True)
class Style:
    """How the lines and points of one row look."""

    color: str
    marker: str
    dash: str
    step_width: float
    """Step lines lie on each other: the later ones are thinner, so that all can be seen."""


Styles = Mapping[str, Style]
"""By the label of the row."""


def make_styles(labels: Iterable[str]) -> Styles:
    """A colour, marker and dash for every row; their periods differ: combinations repeat late."""
    return {
        label: Style(
            PALETTE[i % len(PALETTE)],
            MARKERS[i % len(MARKERS)],
            DASHES[i % len(DASHES)],
            max(1.2, 3.6 - 0.4 * i),
        )
        for i, label in enumerate(labels)
    }


def draw(panels: Sequence[Panel], styles: Styles, svg: Path, png: Path) -> None:
    """Draw the panels of one figure.

    Args:
        panels: All of one kind; those of steps stand above each other, others side by side.
        styles: How each row looks.
        svg: The vector file to write: transparent, its texts as text.
        png: The bitmap file to write: on white.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": svg.stem,
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=_size(panels), layout="constrained")
        FigureCanvasAgg(figure)
        is_stacked = panels[0].kind == "steps"
        shape = (len(panels), 1) if is_stacked else (1, len(panels))
        axes = figure.subplots(*shape, squeeze=False, sharex=is_stacked, sharey=not is_stacked).flat
        for panel, ax in zip(panels, axes, strict=True):
            _draw_panel(ax, panel, styles)
            # Only the outer axes name what panels share; step panels share x, the others y.
            if panel is not panels[-1] and is_stacked:
                ax.set_xlabel("")
            if panel is not panels[0] and not is_stacked:
                ax.set_ylabel("")
        _add_legend(figure, panels, styles)
        _save(figure, svg, png)


def _size(panels: Sequence[Panel]) -> tuple[float, float]:
    if panels[0].kind == "steps":
        return 7.2, 2.4 * len(panels) + 1.2
    return max(7.2, 4.2 * len(panels)), 4.6


def _draw_panel(ax: "Axes", panel: Panel, styles: Styles) -> None:
    if panel.reference is not None:
        ax.axvline(panel.reference, color=INK, linewidth=0.8, linestyle=":")
    {"curve": _draw_curves, "steps": _draw_steps, "points": _draw_points}[panel.kind](
        ax, panel.lines, styles
    )
    ax.set_xlabel(panel.x_label)
    ax.set_ylabel(panel.y_label)
    ax.set_xlim(_widened(ax.get_xlim(), panel.min_x_span))
    ax.set_ylim(_widened(ax.get_ylim(), panel.min_y_span))
    ax.grid(visible=True, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _widened(limits: tuple[float, float], min_span: float) -> tuple[float, float]:
    low, high = limits
    missing = max(min_span - (high - low), 0.0)
    return low - missing / 2, high + missing / 2


def _draw_curves(ax: "Axes", lines: Sequence[Line], styles: Styles) -> None:
    """A line per run; of very many runs, faint lines and the mean of each row."""
    is_crowded = len(lines) > MAX_FULL_LINES
    for line in lines if is_crowded else ():
        ax.plot(line.xs, line.ys, color=styles[line.label].color, linewidth=0.6, alpha=0.35)
    for line in series.mean_lines(lines) if is_crowded else lines:
        style = styles[line.label]
        look: dict[str, Any] = {
            "color": style.color,
            "linestyle": style.dash,
            "marker": style.marker,
        }
        ax.plot(line.xs, line.ys, **look, linewidth=1.6, markersize=4, alpha=0.9)
        if line.marks:
            xs, ys = zip(*line.marks, strict=True)
            ax.plot(xs, ys, "D", color="none", markeredgecolor=style.color, markersize=8)


def _draw_steps(ax: "Axes", lines: Sequence[Line], styles: Styles) -> None:
    for line in lines:
        style = styles[line.label]
        look: dict[str, Any] = {
            "color": style.color,
            "linestyle": style.dash,
            "linewidth": style.step_width,
        }
        ax.plot(line.xs, line.ys, **look, drawstyle="steps-post", alpha=0.9)


def _draw_points(ax: "Axes", lines: Sequence[Line], styles: Styles) -> None:
    for line in lines:
        style = styles[line.label]
        below = [y - low for y, low in zip(line.ys, line.lows, strict=True)]
        above = [high - y for y, high in zip(line.ys, line.highs, strict=True)]
        look: dict[str, Any] = {"color": style.color, "marker": style.marker, "markersize": 8}
        ax.errorbar(line.xs, line.ys, yerr=[below, above], capsize=3, **look)
    _join_groups(ax, lines)


def _join_groups(ax: "Axes", lines: Sequence[Line]) -> None:
    """A thin line through the points of one method."""
    for group in dict.fromkeys(line.group for line in lines):
        points = sorted((line.xs[0], line.ys[0]) for line in lines if line.group == group)
        if len(points) > 1:
            xs, ys = zip(*points, strict=True)
            ax.plot(xs, ys, color=INK, linewidth=0.8, alpha=0.5, zorder=1)


def _add_legend(figure: "Figure", panels: Sequence[Panel], styles: Styles) -> None:
    """One entry per row, not per run."""
    from matplotlib.lines import Line2D

    kind = panels[0].kind
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    handles = [
        Line2D(
            [],
            [],
            color=styles[label].color,
            linestyle="none" if kind == "points" else styles[label].dash,
            marker="none" if kind == "steps" else styles[label].marker,
            label=label,
        )
        for label in labels
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def _save(figure: "Figure", svg: Path, png: Path) -> None:
    # Without a date the same data gives the same bytes.
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(svg, transparent=True, metadata=metadata)
    figure.set_layout_engine(
        "none"
    )  # it is laid out by now; a second time costs as much as drawing
    figure.savefig(png, dpi=130, facecolor="white")


def inline_svg(path: Path, prefix: str) -> str:
    """An SVG file as an element of a page with several: own ids, the page's ink and grid colours.

    Args:
        path: A file that `draw` wrote.
        prefix: Makes its ids unique in the page.

    Returns:
        The ``<svg>`` element, without XML prolog and namespaces, which HTML does not need.
    """
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    return text.replace(INK, "currentColor").replace(GRID, "var(--grid)")
