"""What is wrong with a configuration, as values that print as one line each."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from apt_core.errors import ConfigError

NOTHING: Final = object()
_MAX_SHOWN = 80


@dataclass(frozen=True)
class Problem:
    """One thing to mend in a configuration."""

    path: str
    """Field path such as ``training.batch_size``, or a file and line."""
    wrong: str
    todo: str
    given: object = NOTHING
    involves: tuple[str, ...] = ()
    """Other field paths that the complaint rests on."""

    def __str__(self) -> str:
        """One line: ``field.path: what is wrong (got X); what to do``."""
        given = "" if self.given is NOTHING else f" (got {shown(self.given)})"
        return f"{self.path}: {self.wrong}{given}; {self.todo}"

    def rests_on(self, paths: Iterable[str]) -> bool:
        """Whether one of these paths is, contains, or lies in a field of this complaint."""
        fields = (self.path, *self.involves)
        return any(_overlap(field, path) for field in fields for path in paths)


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def shown(value: object) -> str:
    """A value as the user would write it, shortened."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one most likely means."""
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """What to do about an unknown word: the likely one, and all that are possible."""
    match = closest(str(word), known)
    listed = "choose one of " + ", ".join(known) if known else "remove it"
    return f"did you mean {match}? {listed}" if match else listed


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raise one error that lists every problem on a line of its own.

    Args:
        problems: What was found; nothing happens when there is none.

    Raises:
        ConfigError: When there is at least one problem.
    """
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(str(problem) for problem in problems)))
