"""Turning SIGINT and SIGTERM into a flag that the driver's loop looks at."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
