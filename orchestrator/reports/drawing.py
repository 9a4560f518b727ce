"""Draw figures with matplotlib, as SVG, PNG and PDF."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.reports.axes import draw_content, widen
from orchestrator.reports.panels import Boxes, Content, Heat, Panel
from orchestrator.reports.styles import GRID, INK, Styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = ("svg", "png", "pdf")
PNG_DPI = 130
ROW_HEIGHT = 0.24
"""Inches that one row of a map takes."""


def draw(
    contents: Sequence[Content], styles: Styles, path: Path, *, num_columns: int | None = None
) -> None:
    """Draw one figure.

    Args:
        contents: What stands in it, row by row, all of one type and kind. Panels of steps stand
            above each other, everything else side by side.
        styles: How each row of the report looks.
        path: The file to write without its ending: an SVG (transparent, its texts as text), a
            PNG (on white) and a PDF.
        num_columns: How many stand side by side, where not all or one.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": path.name,
        "pdf.fonttype": 42,
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    columns = num_columns or (1 if _is_stacked(contents) else len(contents))
    with mpl.rc_context(settings):
        figure = Figure(figsize=_size(contents, columns), layout="constrained")
        FigureCanvasAgg(figure)
        _draw_all(figure, contents, styles, columns)
        _add_legend(figure, contents, styles)
        _save(figure, path)


def _is_stacked(contents: Sequence[Content]) -> bool:
    first = contents[0]
    return isinstance(first, Panel) and first.is_over_steps


def _size(contents: Sequence[Content], columns: int) -> tuple[float, float]:
    """Width and height in inches."""
    num_rows = -(-len(contents) // columns)
    if _is_stacked(contents):
        return 7.2, 2.2 * num_rows + 1.2
    if isinstance(contents[0], Heat):
        height = ROW_HEIGHT * sum(_height(contents, columns, i) for i in range(num_rows))
        return max(4.6 * columns, 6.0), height + 1.4 * num_rows
    return max(7.2, 4.2 * columns), 3.4 * num_rows + 1.2


def _height(contents: Sequence[Content], columns: int, index: int) -> int:
    """Rows of the highest map in one line of maps."""
    line = contents[index * columns : (index + 1) * columns]
    return max(len(heat.rows) for heat in line if isinstance(heat, Heat))


def _draw_all(figure: "Figure", contents: Sequence[Content], styles: Styles, columns: int) -> None:
    is_stacked = _is_stacked(contents)
    axes = _make_axes(figure, contents, columns)
    for ax, content in zip(axes, contents, strict=True):
        draw_content(ax, content, styles)
    for i, (ax, content) in enumerate(zip(axes, contents, strict=True)):
        if isinstance(content, Panel):
            widen(ax, content)
        # Only the outer axes name what panels share; step panels share x, the others y.
        if is_stacked and i < len(contents) - 1:
            ax.set_xlabel("")
        if not is_stacked and i % columns:
            ax.set_ylabel("")
        if i % columns == columns - 1 or i == len(contents) - 1:
            _add_percent_scale(ax, content)


def _make_axes(figure: "Figure", contents: Sequence[Content], columns: int) -> list["Axes"]:
    """One for each content; places that are left over stay empty."""
    num_rows = -(-len(contents) // columns)
    is_stacked, is_map = _is_stacked(contents), isinstance(contents[0], Heat)
    ratios = None
    if is_map:
        ratios = [_height(contents, columns, i) + 1 for i in range(num_rows)]
    axes = figure.subplots(
        num_rows,
        columns,
        squeeze=False,
        sharex=is_stacked,
        # Points share the metric, and distributions the one ranking of all blocks.
        sharey=not is_map and not is_stacked,
        height_ratios=ratios,
    )
    for ax in axes.flat[len(contents) :]:
        ax.set_visible(False)
    return list(axes.flat[: len(contents)])


def _add_percent_scale(ax: "Axes", content: Content) -> None:
    """A scale on the right that counts in percent of the baseline."""
    if not isinstance(content, Panel) or not content.level:
        return
    level = content.level

    def to_percent(values: Any) -> Any:
        return 100 * values / level

    def from_percent(values: Any) -> Any:
        return values * level / 100

    scale = ax.secondary_yaxis("right", functions=(to_percent, from_percent))
    scale.set_ylabel("of full fine-tuning (%)")


def _add_legend(figure: "Figure", contents: Sequence[Content], styles: Styles) -> None:
    """One entry per look, not per run."""
    from matplotlib.lines import Line2D

    panels = [content for content in contents if isinstance(content, Panel)]
    labels = dict.fromkeys(line.label for panel in panels for line in panel.lines)
    looks = {styles[label].name: styles[label] for label in labels}
    handles = [
        Line2D(
            [],
            [],
            color=style.color,
            linestyle="none" if panels[0].kind == "points" else style.dash,
            marker="none" if panels[0].is_over_steps else style.marker,
            label=name,
        )
        for name, style in looks.items()
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    if isinstance(contents[0], Boxes):
        border = Line2D([], [], color="#D55E00", marker="D", linestyle="none", label="border")
        figure.legend(handles=[border], loc="outside lower center", frameon=False)


def _save(figure: "Figure", path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.draw_without_rendering()
    # It is laid out by now. `savefig` would draw twice for every file, the canvases draw once.
    figure.set_layout_engine("none")
    svg, png, pdf = (str(path.with_name(f"{path.name}.{ending}")) for ending in ENDINGS)
    # Without a date the same data gives the same bytes.
    undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    FigureCanvasPdf(figure).print_pdf(pdf, metadata=undated)
    figure.set_dpi(PNG_DPI)
    FigureCanvasAgg(figure).print_png(png)
    for background in (figure.patch, *(ax.patch for ax in figure.axes)):
        background.set_alpha(0.0)
    undated = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(svg, metadata=undated)


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
