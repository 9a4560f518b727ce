import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from orchestrator.reports.axes import draw_content, widen
from orchestrator.reports.panels import Boxes, Content, Heat, Panel
from orchestrator.reports.series import Line
from orchestrator.reports.styles import make_styles

STYLES = make_styles({"a": "a", "b": "b"})


def drawn(content: Content):
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    draw_content(ax, content, STYLES)
    return ax


def points(**options) -> Panel:
    lines = [
        Line(name, "", (x,), (80.0 + x,), (79.0 + x,), (81.0 + x,), "a")
        for name, x in (("a", 1.0), ("b", 3.0))
    ]
    return Panel(lines, "speed-up (x)", "accuracy (%)", "points", **options)


def test_axes_carry_their_labels_with_units() -> None:
    ax = drawn(points())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("speed-up (x)", "accuracy (%)")


def test_points_of_one_method_are_joined_and_the_front_is_circled() -> None:
    ax = drawn(points(front=((1.0, 81.0), (3.0, 83.0))))
    paths = [(list(line.get_xdata()), line.get_linestyle()) for line in ax.lines]
    assert ([1.0, 3.0], "-") in paths
    assert ([1.0, 3.0], "--") in paths
    circles = [line for line in ax.lines if line.get_marker() == "o" and line.get_markersize() > 10]
    assert len(circles) == 1


def test_the_dense_model_and_the_baseline_are_dotted_lines() -> None:
    ax = drawn(points(reference=1.0, level=84.0))
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert list(dotted[0].get_xdata()) == [1.0, 1.0]
    assert list(dotted[1].get_ydata()) == [84.0, 84.0]


def test_what_jumps_is_drawn_in_steps_and_what_is_sampled_as_a_line() -> None:
    lines = [Line("a", "run", (0.0, 10.0), (1.0, 2.0))]
    drawstyles = [
        drawn(Panel(lines, "step", "y", kind)).lines[0].get_drawstyle()
        for kind in ("steps", "line")
    ]
    assert drawstyles == ["steps-post", "default"]


def test_a_scale_is_widened_to_what_its_panel_asks_for_and_no_further() -> None:
    panel = points(min_x_span=10.0, min_y_span=1.0)
    ax = drawn(panel)
    before = ax.get_ylim()
    widen(ax, panel)
    assert ax.get_xlim()[1] - ax.get_xlim()[0] == pytest.approx(10.0)
    assert ax.get_ylim() == before


def test_cells_say_their_numbers_in_ink_that_shows_on_them() -> None:
    heat = Heat(
        "heads", "step", "layer", ("start", "65"), ("0", "1"), ((1.0, 0.1), (1.0, None)),
        (("12", "1"), ("12", "gone")), "left (share)", 1.0,
    )  # fmt: skip
    ax = drawn(heat)
    assert {text.get_text(): text.get_color() for text in ax.texts} == {
        "12": "#000000",
        "1": "#ffffff",
        "gone": "#000000",
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1"]
    assert ax.yaxis_inverted()


def test_a_diamond_marks_the_border_where_something_was_cut() -> None:
    q = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    ax = drawn(Boxes("heads", "step", "salience density", ("1", "2"), (q, q), (1.5, None)))
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert [list(line.get_ydata()) for line in diamonds] == [[1.5]]
