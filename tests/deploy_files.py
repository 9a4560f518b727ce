"""The files of a deployment, as tests read them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted(path.name for path in (ROOT / "docker").glob("*.Dockerfile"))
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+[\w.-]*")
"""An image with a whole version in its tag."""
Tree = Mapping[str, Any]


def read(name: str) -> Tree:
    """A YAML file of the repository."""
    content: Tree = yaml.safe_load((ROOT / name).read_text())
    return content


def compose_services() -> Mapping[str, Tree]:
    """By name, merge keys resolved."""
    found: Mapping[str, Tree] = read("docker/compose.yaml")["services"]
    return found


def stages(name: str) -> list[list[str]]:
    """The instructions of every stage of a Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "docker" / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
