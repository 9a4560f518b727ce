"""Draw one panel, map or row of distributions into matplotlib's axes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.reports import series
from orchestrator.reports.panels import MAX_FULL_LINES, Boxes, Content, Heat, Panel
from orchestrator.reports.series import Line
from orchestrator.reports.styles import GRID, INK, Styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR_MAP = "cividis"
"""Even steps of lightness: the same order in grey and for the colour-blind."""
NUM_COLORS = 20
"""So few that a scale of them stays a drawing; matplotlib makes a bitmap of 50."""
GONE = "#ffffff"
MAX_FAINT_POINTS = 20_000
"""More points than this would make a page heavy and say nothing."""
MAX_CELL_TEXTS = 400
"""Maps of more cells than this leave the numbers to their colours."""
DARK_BELOW = 0.55
"""Share of the scale below which cells are so dark that their text is white."""


def draw_content(ax: "Axes", content: Content, styles: Styles) -> None:
    """Draw one coordinate system.

    Args:
        ax: Where to.
        content: What.
        styles: How each row looks.
    """
    if isinstance(content, Heat):
        _draw_heat(ax, content)
    elif isinstance(content, Boxes):
        _draw_boxes(ax, content)
    else:
        _draw_panel(ax, content, styles)
    ax.set_xlabel(content.x_label)
    ax.set_ylabel(content.y_label)


def _draw_panel(ax: "Axes", panel: Panel, styles: Styles) -> None:
    if panel.reference is not None:
        ax.axvline(panel.reference, color=INK, linewidth=0.8, linestyle=":")
    if panel.level is not None:
        ax.axhline(panel.level, color=INK, linewidth=0.8, linestyle=":")
    if panel.is_over_steps:
        _draw_over_steps(ax, panel, styles)
    else:
        {"curve": _draw_curves, "points": _draw_points}[panel.kind](ax, panel.lines, styles)
    if panel.front:
        xs, ys = zip(*panel.front, strict=True)
        ax.plot(xs, ys, color=INK, linewidth=1.4, linestyle="--", zorder=1)
        ax.plot(xs, ys, "o", color="none", markeredgecolor=INK, markersize=14, zorder=3)
    _tidy(ax)


def widen(ax: "Axes", panel: Panel) -> None:
    """Give the axes at least the span that the panel asks for.

    Args:
        ax: The axes; whatever shares a scale with them is drawn by now.
        panel: What is drawn in them.
    """
    if panel.min_x_span:
        ax.set_xlim(_widened(ax.get_xlim(), panel.min_x_span))
    if panel.min_y_span:
        ax.set_ylim(_widened(ax.get_ylim(), panel.min_y_span))


def _tidy(ax: "Axes") -> None:
    ax.grid(visible=True, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _widened(limits: tuple[float, float], min_span: float) -> tuple[float, float]:
    low, high = limits
    missing = max(min_span - (high - low), 0.0)
    return low - missing / 2, high + missing / 2


def _draw_curves(ax: "Axes", lines: Sequence[Line], styles: Styles) -> None:
    """A line per run; of very many runs, the mean of each row, and faint lines if they are few."""
    is_crowded = len(lines) > MAX_FULL_LINES
    num_points = sum(len(line.xs) for line in lines)
    for line in lines if is_crowded and num_points <= MAX_FAINT_POINTS else ():
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


def _draw_over_steps(ax: "Axes", panel: Panel, styles: Styles) -> None:
    """A line per run; of very many runs, the mean of each row."""
    drawstyle = "steps-post" if panel.kind == "steps" else "default"
    lines = panel.lines
    for line in series.mean_lines(lines) if len(lines) > MAX_FULL_LINES else lines:
        style = styles[line.label]
        look: dict[str, Any] = {
            "color": style.color,
            "linestyle": style.dash,
            "linewidth": style.step_width,
        }
        ax.plot(line.xs, line.ys, **look, drawstyle=drawstyle, alpha=0.9)


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


def _draw_heat(ax: "Axes", heat: Heat) -> None:
    """A map whose cells say their number; empty cells are what is gone."""
    import numpy as np
    from matplotlib import colormaps

    colors = colormaps[COLOR_MAP].resampled(NUM_COLORS).with_extremes(bad=GONE)
    values = np.array(
        [[np.nan if value is None else value for value in row] for row in heat.values], dtype=float
    )
    mesh = ax.pcolormesh(
        values, cmap=colors, vmin=0.0, vmax=heat.maximum or 1.0, edgecolors=GRID, linewidth=0.4
    )
    ax.invert_yaxis()
    ax.set_title(heat.title, fontsize=10)
    _name_ticks(ax, heat)
    ax.tick_params(length=0)
    if values.size <= MAX_CELL_TEXTS:
        _write_cells(ax, heat)
    # Strips of one row share the scale of their neighbour.
    if len(heat.rows) > 1:
        ax.figure.colorbar(mesh, ax=ax, label=heat.unit, pad=0.02)


def _name_ticks(ax: "Axes", heat: Heat) -> None:
    places = [i + 0.5 for i in range(len(heat.columns))]
    is_long = max(map(len, heat.columns)) * len(heat.columns) > 60  # noqa: PLR2004 - characters
    ax.set_xticks(places, heat.columns, rotation=45 if is_long else 0, fontsize=8)
    ax.set_yticks([i + 0.5 for i in range(len(heat.rows))], heat.rows, fontsize=8)


def _write_cells(ax: "Axes", heat: Heat) -> None:
    for i, (values, texts) in enumerate(zip(heat.values, heat.texts, strict=True)):
        for j, (value, text) in enumerate(zip(values, texts, strict=True)):
            is_dark = value is not None and value < DARK_BELOW * heat.maximum
            color = "#ffffff" if is_dark else "#000000"
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7, color=color)


def _draw_boxes(ax: "Axes", boxes: Boxes) -> None:
    """Whiskers from 5 to 95%, a box of the middle half, the median; the border is a diamond."""
    stats = [
        {"label": name, "whislo": q[1], "q1": q[2], "med": q[3], "q3": q[4], "whishi": q[5]}
        for name, q in zip(boxes.names, boxes.quantiles, strict=True)
    ]
    line = {"color": INK}
    places = list(range(1, len(stats) + 1))
    ax.bxp(stats, positions=places, showfliers=False, medianprops=line, boxprops=line)
    for place, border in zip(places, boxes.borders, strict=True):
        if border is not None:
            ax.plot([place], [border], "D", color="#D55E00", markersize=6, zorder=3)
    ax.set_title(boxes.title, fontsize=10)
    # Saliences span orders of magnitude; what is 0 stands at the axis.
    positive = [value for q in boxes.quantiles for value in q if value > 0]
    if positive:
        ax.set_yscale("symlog", linthresh=min(positive))
    _tidy(ax)
