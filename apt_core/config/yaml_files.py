"""Reading YAML: 1e-4 is a number, keys stand once, `extends` is followed, errors name the line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from apt_core.config.problems import Problem
from apt_core.errors import ConfigError

EXTENDS = "extends"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people mean it: exponents without a dot are numbers, repeated keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a dictionary; a key that stands twice is an error."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str) and key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text.

    Args:
        text: One YAML document.
        source: File name, or what else to call the text in the message.

    Returns:
        Plain Python values.

    Raises:
        ConfigError: When the text is no YAML; names source, line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        problem = Problem(place, f"is not valid YAML: {what}", "correct it there")
        raise ConfigError(str(problem)) from error


def read_yaml(path: Path, trail: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read one file and, below it, the files that its `extends` names.

    Args:
        path: The file.
        trail: Files that led here, outermost first.

    Returns:
        The merged contents without `extends`.

    Raises:
        ConfigError: When a file is missing, is no YAML, holds no keys, or extends itself.
    """
    path = path.expanduser().resolve()
    if path in trail:
        chain = " -> ".join(p.name for p in (*trail[trail.index(path) :], path))
        problem = Problem(str(path), "extends itself", "remove one `extends`", chain)
        raise ConfigError(str(problem))
    contents = _mapping(path)
    parents = contents.pop(EXTENDS, ())
    merged: dict[str, Any] = {}
    for parent in _parent_names(parents, path):
        merged = deep_merge(merged, read_yaml(path.parent / parent, (*trail, path)))
    return deep_merge(merged, contents)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problem = Problem(str(path), f"cannot be read: {reason}", "check the path and the file")
        raise ConfigError(str(problem)) from error
    contents = parse_yaml(text, str(path))
    if contents is None:
        return {}
    if not isinstance(contents, dict):
        problem = Problem(str(path), "must hold key: value pairs", "start with a key", contents)
        raise ConfigError(str(problem))
    return contents


def _parent_names(parents: object, path: Path) -> Sequence[str]:
    names = [parents] if isinstance(parents, str) else parents
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return names
    todo = "write a file name, or a list of them, relative to this file"
    raise ConfigError(str(Problem(f"{path}: {EXTENDS}", "must name files", todo, parents)))


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested dictionary over another.

    Args:
        below: What gives way.
        above: What wins; lists replace lists, and an empty section changes nothing.

    Returns:
        A new dictionary; both arguments stay as they are.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and value is None:
            continue
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = deep_merge(old, value) if both else value  # type: ignore[arg-type]
    return merged
