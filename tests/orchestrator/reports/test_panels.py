from dataclasses import replace

import pytest

from orchestrator.reports.panels import Boxes, Content, Heat, Panel
from orchestrator.reports.series import Line

PANEL = Panel([Line("a", "1", (0.0,), (1.0,))], "x", "y", "curve")
HEAT = Heat("t", "x", "y", ("c",), ("r",), ((1.0,),), (("1",),), "unit", 1.0)
BOXES = Boxes("t", "x", "y", ("1",), ((0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),), (None,))


@pytest.mark.parametrize(
    ("content", "empty"),
    [
        (PANEL, replace(PANEL, lines=[])),
        (HEAT, replace(HEAT, rows=())),
        (HEAT, replace(HEAT, columns=())),
        (BOXES, replace(BOXES, names=())),
    ],
)
def test_content_without_data_is_empty(content: Content, empty: Content) -> None:
    assert not content.is_empty
    assert empty.is_empty
