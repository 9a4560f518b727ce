"""`metrics.jsonl`: one `StepMetrics` a line, written by the training, tailed here.

The file is the durable outbox of a run: it keeps the original timestamps, and it is only ever
appended to, except that a resumed run cuts it back to the step it resumes from.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from apt_core.report import StepMetrics

logger = logging.getLogger(__name__)

_TAIL_BYTES = 256
"""So many bytes in front of a position identify it: every line holds its own time in ms."""


@dataclass(frozen=True)
class Position:
    """A place in the file, and what stood in front of it: so a rewritten file is noticed."""

    offset: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Tail:
    """What one look at the file brought."""

    metrics: list[StepMetrics]
    position: Position
    is_rewritten: bool = False
    """The text in front of the position is not what was read: the file was cut back or replaced."""


def read_metrics(
    path: Path, offset: int = 0, *, max_lines: int | None = None
) -> tuple[list[StepMetrics], int]:
    """Read the complete lines from `offset` on.

    Args:
        path: A ``metrics.jsonl``; a missing file is an empty one.
        offset: Where to start, in bytes: 0, or what an earlier call returned.
        max_lines: Stop after so many lines; None: at the end of the file.

    Returns:
        The metrics, and the offset to go on from. A last line without its line feed is left for
        the next call; complete lines that cannot be read are skipped with a warning.
    """
    try:
        with path.open("rb") as file:
            return _read_lines(file, offset, max_lines)
    except FileNotFoundError:
        return [], offset


def tail_metrics(path: Path, position: Position, *, max_lines: int | None = None) -> Tail:
    """Like `read_metrics`, but notices when the file is no longer the one that was read.

    Args:
        path: A ``metrics.jsonl``; a missing file is an empty one.
        position: Where an earlier call stopped.
        max_lines: Stop after so many lines; None: at the end of the file.

    Returns:
        The metrics and the new position, or `is_rewritten` and no metrics.
    """
    try:
        # One handle for all three reads: the path may get another file at any moment.
        with path.open("rb") as file:
            if _digest_before(file, position.offset) != position.digest:
                return Tail([], position, is_rewritten=True)
            metrics, offset = _read_lines(file, position.offset, max_lines)
            return Tail(metrics, Position(offset, _digest_before(file, offset)))
    except FileNotFoundError:
        return Tail([], position, is_rewritten=position.offset > 0)


def _read_lines(
    file: IO[bytes], offset: int, max_lines: int | None
) -> tuple[list[StepMetrics], int]:
    metrics: list[StepMetrics] = []
    num_lines = 0
    file.seek(offset)
    while max_lines is None or num_lines < max_lines:
        line = file.readline()
        if not line.endswith(b"\n"):
            break
        num_lines += 1
        offset += len(line)
        parsed = _parse(line)
        if parsed is None:
            logger.warning("%s: unreadable line before byte %d skipped", file.name, offset)
        else:
            metrics.append(parsed)
    return metrics, offset


def _digest_before(file: IO[bytes], offset: int) -> str:
    """A digest of the bytes in front of `offset`; "" at the start."""
    if offset == 0:
        return ""
    start = max(0, offset - _TAIL_BYTES)
    file.seek(start)
    return hashlib.sha256(file.read(offset - start)).hexdigest()[:16]


def _parse(line: bytes) -> StepMetrics | None:
    try:
        data = json.loads(line)
        values = {str(key): float(value) for key, value in data["values"].items()}
        return StepMetrics(int(data["step"]), int(data["time_ms"]), values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
