import os
import signal
from pathlib import Path

import pytest

from orchestrator.reports import draw_all as module
from orchestrator.reports.draw_all import MIN_PER_PROCESS, Drawing, draw_all
from orchestrator.reports.drawing import ENDINGS
from tests.orchestrator.reports.test_drawing import STYLES, panel, points


def drawings(folder: Path, number: int = 4) -> list[Drawing]:
    folder.mkdir()
    return [Drawing([panel(i + 1)], STYLES, folder / f"figure{i}") for i in range(number)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process for two figures already."""
    monkeypatch.setattr(module, "MIN_PER_PROCESS", 2)


@pytest.mark.usefixtures("eager")
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    draw_all(drawings(tmp_path / "one"))
    draw_all(drawings(tmp_path / "two"), max_processes=2)
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert len(one) == 4 * len(ENDINGS)
    assert one == two


def test_a_drawing_keeps_its_columns(tmp_path: Path) -> None:
    pair = [points(80.0), points(90.0)]
    draw_all([Drawing(pair, STYLES, tmp_path / name, n) for name, n in (("wide", 2), ("high", 1))])
    wide, high = ((tmp_path / f"{name}.svg").read_text() for name in ("wide", "high"))
    assert wide.count("accuracy (%)") == 1
    assert high.count("accuracy (%)") == 2


@pytest.mark.parametrize(("number", "allowed"), [(2 * MIN_PER_PROCESS - 1, 8), (40, 1)])
def test_few_figures_or_one_process_start_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, allowed: int
) -> None:
    done: list[Drawing] = []
    monkeypatch.setattr(module, "_draw_one", done.append)  # another process would not see this
    given = drawings(tmp_path / "a", number)
    draw_all(given, max_processes=allowed)
    assert done == given


def _die_elsewhere(parent: int) -> None:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(str):
    """A label that kills the process that reads it, unless it was made there."""

    def __reduce__(self):
        return _die_elsewhere, (os.getpid(),)


@pytest.mark.usefixtures("eager")
def test_where_a_process_is_killed_the_figures_are_drawn_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = drawings(tmp_path / "a")
    given[3] = Drawing([panel()], {**STYLES, Deadly("none"): STYLES["row 0"]}, given[3].path)
    draw_all(given, max_processes=2)
    assert "one after the other" in caplog.text
    assert len(files_of(tmp_path / "a")) == len(given) * len(ENDINGS)
