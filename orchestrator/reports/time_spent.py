"""Where the time of a sweep's slots, or of one run, went, as tables (PURE)."""

from collections import defaultdict
from collections.abc import Mapping

from orchestrator.goodput import NAMES, WAITING, Goodput, pieces_of, slots_text
from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.wording import duration, percent
from orchestrator.traces import Record

WAITING_TEXT = "waiting for a slot (holds none meanwhile)"


def goodput_grid(goodput: Goodput) -> Grid:
    """What the slot time of a sweep went into, the goodput first.

    Args:
        goodput: The sweep's.

    Returns:
        A line per thing that took time.
    """
    losses = dict(goodput.losses)
    names = [name for name in goodput.spent_s if name not in losses] + list(losses)
    ordered = {NAMES[name]: goodput.spent_s[name] for name in names}
    title = f"Where the time went: {slots_text(goodput)}"
    return _grid(ordered, goodput.slot_s, name="goodput", title=title)


def run_time_grid(trace: Record) -> Grid:
    """What one run's time went into, in the order of its life; all attempts together.

    Args:
        trace: The run's trace.

    Returns:
        A line per thing that took time; none where there is no trace.
    """
    spent: dict[str, float] = defaultdict(float)
    for piece in pieces_of(trace):
        spent[piece.name] += piece.end_s - piece.start_s
    texts = {WAITING: WAITING_TEXT} | NAMES
    ordered = {text: spent[name] for name, text in texts.items() if spent[name] > 0}
    held_s = sum(spent.values()) - spent[WAITING]
    return _grid(ordered, held_s, name="time-spent", title="Where its time went")


def _grid(spent_s: Mapping[str, float], whole_s: float, *, name: str, title: str) -> Grid:
    headings = (
        Heading("what", "", is_number=False),
        Heading("time", "Seconds of one slot."),
        Heading("share", "Of the time for which slots were held."),
    )
    rows = tuple(
        (
            Cell(text),
            Cell(duration(seconds), seconds),
            Cell("-", None, is_missing=True)
            if text == WAITING_TEXT or whole_s <= 0
            else Cell(percent(seconds / whole_s), seconds / whole_s),
        )
        for text, seconds in spent_s.items()
    )
    return Grid(headings, rows, name=name, title=title)
