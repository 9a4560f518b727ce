"""How far a trial has been shipped: ``tracking.json`` in its folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from apt_core.files import write_json
from orchestrator.tracking.jsonl import Position

CURSOR_FILE = "tracking.json"


@dataclass(frozen=True)
class Cursor:
    """What the sink has confirmed. Losing it costs a second delivery of the same, nothing else."""

    store: str = ""
    """Which sink it speaks of; another one is served from the start."""
    run: str = ""
    """The sink's id of the run."""
    position: Position = field(default_factory=Position)
    """Up to where ``metrics.jsonl`` is delivered."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Uploaded files and a stamp of the version that was uploaded."""
    closed: str = ""
    """A stamp of the end that the sink was told; empty: open."""
    needs_new_run: bool = False
    """Lines that were delivered have been cut away since: begin again in an empty run."""

    @classmethod
    def load(cls, directory: Path, store: str) -> "Cursor":
        """The cursor of a trial for one store; a fresh one if there is none for it."""
        try:
            data = json.loads((directory / CURSOR_FILE).read_text(encoding="utf-8"))
            cursor = cls(**{**data, "position": Position(**data["position"])})
        except (OSError, ValueError, TypeError, KeyError):
            return cls(store)
        return cursor if cursor.store == store else cls(store)

    def save(self, directory: Path) -> None:
        """Write it in one step."""
        write_json(directory / CURSOR_FILE, asdict(self))
