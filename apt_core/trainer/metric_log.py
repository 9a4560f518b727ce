"""A run's own record: ``metrics.jsonl``, one line per logged step, durable and resumable."""

import json
import os
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from apt_core.files import replace_file, tell_refusals
from apt_core.line_file import drop_torn_line
from apt_core.report import RunReport, StepMetrics
from apt_core.trainer.callbacks import Callback, Metrics
from apt_core.trainer.state import TrainerState


class MetricLog(Callback):
    """Appends every logged step to a file.

    Trackers read it from there, so they never slow training.

    Args:
        path: the file; made when training starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: JsonlWriter | None = None

    def on_train_start(self, state: TrainerState) -> None:
        """Drop what an interrupted run logged after the checkpoint that we resume from."""
        self._writer = JsonlWriter(self.path)
        self._writer.truncate_after(state.step)

    def on_step_end(self, state: TrainerState, metrics: Metrics) -> None:
        """Append one line; steps without metrics leave none."""
        if metrics and self._writer is not None:
            line = StepMetrics(state.step, time.time_ns() // 1_000_000, metrics)
            self._writer.write(line)

    def on_train_end(self, state: TrainerState, report: RunReport) -> None:
        """Close the file."""
        self._close()

    def on_error(self, state: TrainerState, error: BaseException) -> None:
        """Close the file; the lines written so far stay."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class JsonlWriter:
    """Append `StepMetrics` to a file; every line is handed to the operating system at once.

    Half a line that a killed process left at the end is removed when the file is opened.

    Args:
        path: The file; created with its folder if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with tell_refusals(path, any_error=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(path)
            self._file = self._open()

    def _open(self) -> FileIO:
        # Unbuffered: what a full disk did not take must not come after all when we close.
        return FileIO(self._path, "ab")

    def write(self, metrics: StepMetrics) -> None:
        """Append one line. It survives a kill of this process as soon as this returns.

        Args:
            metrics: What was measured at a step.

        Raises:
            StorageError: If the storage does not take the whole line; it then has none of it.
        """
        line = (json.dumps(metrics.to_json()) + "\n").encode()
        with tell_refusals(self._path, any_error=True):
            self._append(line)

    def _append(self, line: bytes) -> None:
        start = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # a nearly full disk takes a part, and refuses the rest
                line = line[self._file.write(line) :]
        except OSError:
            with suppress(OSError):  # what is told is why; half a line goes when we open again
                self._file.truncate(start)
            raise

    def truncate_after(self, step: int) -> int:
        """Drop the lines of steps after `step`, atomically; the resumed run will write them again.

        Args:
            step: The last step that stays.

        Returns:
            How many lines were dropped.

        Raises:
            StorageError: If there is no room for what stays; the file is as it was.
        """
        lines = self._path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _is_at_most(line, step)]
        if len(kept) == len(lines):
            return 0
        self._file.close()
        with tell_refusals(self._path, any_error=True):
            replace_file(self._path, b"".join(kept))
            self._file = self._open()
        return len(lines) - len(kept)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def _is_at_most(line: bytes, step: int) -> bool:
    try:
        return bool(line.endswith(b"\n") and json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False
