import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from orchestrator.reports.drawing import ENDINGS, draw, inline_svg
from orchestrator.reports.panels import Content, Panel
from orchestrator.reports.series import Line
from orchestrator.reports.styles import make_styles
from tests.orchestrator.reports.test_panels import BOXES, HEAT

STYLES = make_styles({"row 0": "row 0", "row 1": "row 1"})


def panel(num_lines: int = 2, kind: str = "curve") -> Panel:
    lines = [
        Line(f"row {i % 2}", str(i), (0.0, 1.0), (0.0, float(i)), marks=((0.5, i / 2),))
        for i in range(num_lines)
    ]
    return Panel(lines, "time (s)", "accuracy (%)", kind)


def points(y: float, **options) -> Panel:
    line = Line("row 0", "", (1.0,), (y,), (y,), (y,), "row 0")
    return Panel([line], "speed-up (x)", "accuracy (%)", "points", **options)


def svg_of(contents: list[Content], path: Path, num_columns: int | None = None) -> ET.Element:
    draw(contents, STYLES, path, num_columns=num_columns)
    return ET.parse(path.with_suffix(".svg")).getroot()


@pytest.mark.parametrize("num_lines", [2, 40])
def test_a_figure_is_written_in_every_format_with_its_labels(
    tmp_path: Path, num_lines: int
) -> None:
    texts = " ".join(svg_of([panel(num_lines)], tmp_path / "a").itertext())
    assert all(text in texts for text in ("time (s)", "accuracy (%)", "row 0", "row 1"))
    starts = {ending: (tmp_path / f"a.{ending}").read_bytes()[:5] for ending in ENDINGS}
    assert starts == {"svg": b"<?xml", "png": b"\x89PNG\r", "pdf": b"%PDF-"}


@pytest.mark.parametrize("contents", [[HEAT, HEAT], [BOXES, BOXES, BOXES]])
def test_maps_and_distributions_are_drawn_side_by_side(
    tmp_path: Path, contents: list[Content]
) -> None:
    root = svg_of(contents, tmp_path / "a")
    assert "".join(root.itertext()).count("t") >= len(contents)
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))  # drawings, not bitmaps
    assert float(root.get("width", "0pt")[:-2]) > float(root.get("height", "0pt")[:-2])


def test_what_panels_share_is_named_once(tmp_path: Path) -> None:
    texts = list(svg_of([points(80.0), points(90.0)], tmp_path / "a").itertext())
    assert texts.count("accuracy (%)") == 1
    stacked = list(svg_of([panel(kind="steps"), panel(kind="steps")], tmp_path / "b").itertext())
    assert stacked.count("time (s)") == 1


def test_a_baseline_gives_a_second_scale_in_percent_of_it(tmp_path: Path) -> None:
    without = "".join(svg_of([points(80.0)], tmp_path / "a").itertext())
    texts = "".join(svg_of([points(80.0, level=90.0)], tmp_path / "b").itertext())
    assert "of full fine-tuning (%)" in texts
    assert "of full fine-tuning (%)" not in without


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    drawings = []
    for folder in (tmp_path / "1", tmp_path / "2"):
        folder.mkdir()
        draw([panel()], STYLES, folder / "a")
        drawings.append([(folder / f"a.{ending}").read_bytes() for ending in ENDINGS])
    assert drawings[0] == drawings[1]


def test_inlined_drawings_share_no_ids_and_name_no_address(tmp_path: Path) -> None:
    svg = tmp_path / "a.svg"
    draw([panel()], STYLES, tmp_path / "a")
    first, second = (ET.fromstring(inline_svg(svg, p).replace("xlink:", "")) for p in "xy")
    ids = [{e.get("id") for e in root.iter() if e.get("id")} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = {e.get("href", "")[1:] for e in first.iter() if e.get("href")}
    assert used
    assert used <= ids[0]
    assert "http" not in inline_svg(svg, "x")
