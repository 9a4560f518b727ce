"""What every section of the configuration shares: strictness, value ranges, ${ENV} in paths."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from apt_core.config.problems import Problem
from apt_core.errors import ConfigError

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Text = Annotated[str, Field(min_length=1)]
Listed = Field(strict=False)
"""Lets a tuple be written as a list; its elements stay strict."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Section(BaseModel):
    """A frozen section: unknown keys are refused, and no value is converted silently."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def expand_env(text: str, field: str) -> str:
    """Replace every ``${NAME}`` in a path by the environment variable's value.

    Args:
        text: The path as written.
        field: Field path for the message.

    Returns:
        The path without variables.

    Raises:
        ConfigError: When a variable is not set.
    """
    for name in _VARIABLE.findall(text):
        if name not in os.environ:
            todo = f"export {name}=... or write the path out"
            wrong = f"environment variable {name} is not set"
            raise ConfigError(str(Problem(field, wrong, todo, text)))
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)


def expand_path(text: str, field: str) -> Path:
    """A file system path: ``${NAME}`` and a leading ``~`` replaced."""
    return Path(expand_env(text, field)).expanduser()
