"""Draw many figures, some at a time: each is a matter of its own and keeps one core busy."""

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from orchestrator.reports.drawing import draw
from orchestrator.reports.panels import Content
from orchestrator.reports.styles import Styles

logger = logging.getLogger(__name__)

MIN_PER_PROCESS = 5
"""Another process imports matplotlib first, which takes as long as up to four figures do."""


@dataclass(frozen=True)
class Drawing:
    """One figure to draw; the fields are the arguments of `draw`."""

    contents: Sequence[Content]
    styles: Styles
    path: Path
    num_columns: int | None = None


def draw_all(drawings: Sequence[Drawing], max_processes: int = 1) -> None:
    """Draw figures, in processes of their own if there are many; the files are the same.

    Args:
        drawings: The figures, each with a path of its own.
        max_processes: How many at most. More than one want a main module that can be imported
            anew, see "Safe importing of main module" in the documentation of `multiprocessing`.
    """
    num_processes = min(max_processes, len(drawings) // MIN_PER_PROCESS)
    if num_processes > 1:
        # Not forked: the driver of a sweep has threads.
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
                list(pool.map(_draw_one, drawings))
            return
        except BrokenProcessPool as error:  # one was killed, as when memory is short
            logger.warning("the figures are drawn one after the other now: %s", error)
    for drawing in drawings:
        _draw_one(drawing)


def _draw_one(drawing: Drawing) -> None:
    draw(drawing.contents, drawing.styles, drawing.path, num_columns=drawing.num_columns)
