import os
import signal
from pathlib import Path

import pytest

from orchestrator.execution import stopping
from orchestrator.execution.stopping import LOOK_EVERY_S, StopFile, StopSignal


@pytest.fixture
def _interruptible():
    """A process started in the background ignores SIGINT; here it must not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_the_first_signal_asks_and_the_second_acts_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        assert stop.name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_handlers_can_be_taken_back_from_a_library() -> None:
    with StopSignal() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.install()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name == "SIGTERM"


def test_a_stop_file_asks_whoever_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    ours, theirs = StopFile(tmp_path / "stop"), StopFile(tmp_path / "stop")
    assert not theirs()
    ours.ask()
    assert ours()
    assert not theirs()  # it has just looked
    now += LOOK_EVERY_S
    assert theirs()
    (tmp_path / "stop").unlink()
    assert theirs()
