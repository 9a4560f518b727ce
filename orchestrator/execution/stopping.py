"""Turning SIGINT and SIGTERM into a flag, and carrying it to other processes by a file."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_EVERY_S = 0.2


class StopSignal:
    """Within the block, the first SIGINT or SIGTERM sets `requested`; the second acts as before.

    The loop ends in good order after the first; the second (Ctrl-C again) raises
    KeyboardInterrupt as usual.
    """

    def __init__(self) -> None:
        self.requested = False
        self.name = ""
        """Which signal asked, e.g. ``SIGTERM``."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers (only possible, and only useful, in the main thread)."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the earlier handlers back."""
        self._restore()

    def install(self) -> None:
        """Take the signals over; again after a library (Ray) has put its own handlers in place."""
        if not self.requested:
            for number in self._previous:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class StopFile:
    """Asks every process that can see a folder to stop; calling it says whether it did.

    Args:
        path: The file; it asks by existing. A look at the disk is taken a few times a second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._exists = False
        self._look_at = 0.0

    def __call__(self) -> bool:
        """Whether somebody has asked."""
        now = time.monotonic()
        if not self._exists and now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._exists = self._path.exists()
        return self._exists

    def ask(self) -> None:
        """Ask all to stop."""
        self._path.touch()
