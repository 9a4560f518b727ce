import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from orchestrator.reports.drawing import PALETTE, Panel, draw, inline_svg, make_styles
from orchestrator.reports.series import Line


def panel(num_lines: int = 2) -> Panel:
    lines = [
        Line(f"row {i % 2}", str(i), (0.0, 1.0), (0.0, float(i)), marks=((0.5, i / 2),))
        for i in range(num_lines)
    ]
    return Panel(lines, "time (s)", "accuracy (%)", "curve")


def test_rows_differ_in_marker_as_well_as_in_colour() -> None:
    styles = make_styles(map(str, range(len(PALETTE))))
    assert len({style.color for style in styles.values()}) == len(PALETTE)
    assert len({style.marker for style in styles.values()}) == len(PALETTE)


def test_looks_repeat_late() -> None:
    styles = make_styles(map(str, range(60)))
    assert len({(s.color, s.marker) for s in styles.values()}) == 60


@pytest.mark.parametrize("num_lines", [2, 40])
def test_a_figure_is_an_svg_and_a_png_with_its_labels(tmp_path: Path, num_lines: int) -> None:
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    draw([panel(num_lines)], make_styles(["row 0", "row 1"]), svg, png)
    texts = " ".join(ET.parse(svg).getroot().itertext())
    assert all(text in texts for text in ("time (s)", "accuracy (%)", "row 0", "row 1"))
    assert png.read_bytes().startswith(b"\x89PNG")


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    drawings = []
    for folder in (tmp_path / "1", tmp_path / "2"):
        folder.mkdir()
        draw([panel()], make_styles(["row 0", "row 1"]), folder / "a.svg", folder / "a.png")
        drawings.append((folder / "a.svg").read_bytes())
    assert drawings[0] == drawings[1]


def test_inlined_drawings_share_no_ids_and_name_no_address(tmp_path: Path) -> None:
    svg = tmp_path / "a.svg"
    draw([panel()], make_styles(["row 0", "row 1"]), svg, tmp_path / "a.png")
    first, second = (ET.fromstring(inline_svg(svg, p).replace("xlink:", "")) for p in "xy")
    ids = [{e.get("id") for e in root.iter() if e.get("id")} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = {e.get("href", "")[1:] for e in first.iter() if e.get("href")}
    assert used
    assert used <= ids[0]
    assert "http" not in inline_svg(svg, "x")
