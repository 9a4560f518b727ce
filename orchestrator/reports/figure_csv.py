"""The data of a figure as CSV, unrounded."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from apt_core.report import SALIENCE_QUANTILES
from orchestrator.reports.panels import Boxes, Content, Heat, Panel

HEADERS = {
    Panel: ("arm", "run_id", "x_label", "x", "y_label", "y", "y_low", "y_high"),
    Heat: ("arm", "run_id", "quantity", "row_label", "row", "column_label", "column", "value"),
    Boxes: ("arm", "run_id", "blocks", "step", "quantity", "quantile", "value"),
}


def write_figure_csv(
    path: Path, contents: Sequence[Content], *, arm: str = "", run_id: str = ""
) -> None:
    """Write what a figure shows.

    Args:
        path: The file.
        contents: The figure's parts, all of one type.
        arm: The row that a figure of a single run belongs to.
        run_id: The run of such a figure.
    """
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(HEADERS[type(contents[0])])
        for content in contents:
            if isinstance(content, Panel):
                writer.writerows(_panel_rows(content))
            else:
                rows = _heat_rows(content) if isinstance(content, Heat) else _box_rows(content)
                writer.writerows((arm, run_id, *row) for row in rows)


def _panel_rows(panel: Panel) -> Iterator[tuple[object, ...]]:
    for line in panel.lines:
        lows, highs = line.lows or line.ys, line.highs or line.ys
        run = line.run_id or "mean over seeds"
        for x, y, low, high in zip(line.xs, line.ys, lows, highs, strict=True):
            yield line.label, run, panel.x_label, x, panel.y_label, y, low, high


def _heat_rows(heat: Heat) -> Iterator[tuple[object, ...]]:
    """The cells' own numbers; their colours are shares of the first column or of the maximum."""
    for row, texts in zip(heat.rows, heat.texts, strict=True):
        for column, text in zip(heat.columns, texts, strict=True):
            yield heat.title or heat.unit, heat.y_label, row, heat.x_label, column, text


def _box_rows(boxes: Boxes) -> Iterator[tuple[object, ...]]:
    for name, values, border in zip(boxes.names, boxes.quantiles, boxes.borders, strict=True):
        for quantile, value in zip(SALIENCE_QUANTILES, values, strict=True):
            yield boxes.title, name, boxes.y_label, quantile, value
        if border is not None:
            yield boxes.title, name, boxes.y_label, "most salient cut", border
