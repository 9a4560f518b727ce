"""What of a trial's folder is copied, and how it is held still meanwhile."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from apt_core.files import link_or_copy
from orchestrator.execution.status import RESULT_FILE, TrialState, read_status
from orchestrator.tracking.cursor import CURSOR_FILE

STAGE = ".mirror"
LASTING = ("checkpoints", "export")
"""Folders whose files are never changed, only replaced: a link holds them."""
EXPORT_RECORDS = "export-*/export.json"
"""What `aptune export` leaves when an export in a trial's folder is whole."""
MAX_TRIES = 10
_STEP = re.compile(r"checkpoints/step-(\d+)/manifest\.json")


def newest_step(names: Iterable[str]) -> int:
    """The step of the newest checkpoint among relative paths; -1 if there is none."""
    found = [_STEP.fullmatch(name) for name in names]
    return max((int(match[1]) for match in found if match), default=-1)


def files_of(run_dir: Path) -> list[str]:
    """Relative paths of all that belongs to a trial.

    Without what is half written, what is hidden, and how far the tracker has got: where a folder is
    restored, its tracker may be another one.
    """
    if not run_dir.is_dir():
        return []
    names = [path.relative_to(run_dir) for path in run_dir.rglob("*") if path.is_file()]
    return sorted(
        str(name)
        for name in names
        if str(name) != CURSOR_FILE
        and not any(part.startswith((".", "partial-")) for part in name.parts)
    )


def stamp_of(run_dir: Path) -> str:
    """Changes when a trial has something worth a copy: a checkpoint, a result, an export, its end.

    Args:
        run_dir: The trial's folder.

    Returns:
        A text; empty before the first checkpoint and the end.
    """
    steps = [path.parent.name for path in run_dir.glob("checkpoints/step-*/manifest.json")]
    result = run_dir / RESULT_FILE
    with suppress(FileNotFoundError):
        made = [result, *sorted(run_dir.glob(EXPORT_RECORDS))]
        times = [str(path.stat().st_mtime_ns) for path in made]
        return f"result {' '.join(times)} {read_status(run_dir).state}"
    state = read_status(run_dir).state
    ended = state if state in (TrialState.FAILED, TrialState.KILLED) else ""
    return f"{max(steps, default='')} {ended}".strip()


@contextmanager
def snapshot(run_dir: Path) -> Iterator[dict[str, Path]]:
    """The trial's files as they are now, held still inside the block.

    Args:
        run_dir: The trial's folder; a training may be writing to it.

    Yields:
        dict[str, Path]: By their relative paths.

    Raises:
        FileNotFoundError: Checkpoints were replaced faster than they could be linked.
    """
    stage = run_dir / STAGE
    try:
        for tries_left in reversed(range(MAX_TRIES)):
            shutil.rmtree(stage, ignore_errors=True)
            names = files_of(run_dir)
            try:
                held = {name: _hold(run_dir, name, stage) for name in names}
                _check_whole(run_dir, names)
            except FileNotFoundError:  # an old checkpoint has just gone, or is going
                if not tries_left:
                    raise
            else:
                break
        yield held
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check_whole(run_dir: Path, names: Iterable[str]) -> None:
    """That no checkpoint was on its way out when it was listed: it would be there in part."""
    lost = set(names).difference(files_of(run_dir))
    if lost:
        raise FileNotFoundError(f"{min(lost)} has gone")


def _hold(run_dir: Path, name: str, stage: Path) -> Path:
    held = stage / name
    held.parent.mkdir(parents=True, exist_ok=True)
    hold = link_or_copy if name.partition("/")[0] in LASTING else shutil.copyfile
    hold(run_dir / name, held)
    return held
