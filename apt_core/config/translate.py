"""From pydantic's validation errors to problems that name the field, the value and the remedy."""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from apt_core.config.problems import NOTHING, Problem, closest, did_you_mean

_TYPES: Mapping[str, tuple[str, str]] = {
    "int_type": ("must be a whole number", "write a whole number without quotes"),
    "int_from_float": ("must be a whole number", "write a whole number"),
    "float_type": ("must be a number", "write a number without quotes"),
    "bool_type": ("must be true or false", "write true or false"),
    "string_type": ("must be text", "put it in quotes"),
    "tuple_type": ("must be a list", "write [a, b]"),
    "dict_type": ("must hold key: value pairs", "write one key: value per line, indented"),
    "model_type": ("must be a section", "write one key: value per line, indented"),
    "model_attributes_type": ("must be a section", "write one key: value per line, indented"),
    "finite_number": ("must be finite", "write an ordinary number"),
    "missing": ("is required", "set it"),
    "string_too_short": ("must not be empty", "write at least one character"),
    "string_pattern_mismatch": ("must be fit for a folder name", "use letters, digits, . _ and -"),
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("must be above {gt}", "write a value above {gt}"),
    "greater_than_equal": ("must be at least {ge}", "write {ge} or more"),
    "less_than": ("must be below {lt}", "write a value below {lt}"),
    "less_than_equal": ("must be at most {le}", "write {le} or less"),
    "too_short": ("must have at least {min_length} entries", "list {min_length} or more"),
    "too_long": ("must have at most {max_length} entries", "list {max_length} or fewer"),
}
_NUMBERS = frozenset({"gt", "ge", "lt", "le", "min_length", "max_length"})
Location = tuple[str | int, ...]


def problems_of(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """One problem per pydantic error.

    Args:
        error: What pydantic raised.
        root: The model that was validated: its fields are what a misspelt key can mean.

    Returns:
        The problems, in the order of the fields.
    """
    found: list[Problem] = []
    for detail in error.errors(include_url=False):
        context = detail.get("ctx", {})
        found.extend(context["problems"] if "problems" in context else [_problem(detail, root)])
    return found


def dotted(location: Location) -> str:
    """``("a", "b", 0)`` as ``a.b[0]``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def _problem(detail: ErrorDetails, root: type[BaseModel]) -> Problem:
    path, given = dotted(tuple(p for p in detail["loc"] if p != "[key]")), detail["input"]
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(path, "unknown key", _known_key(detail["loc"], root))
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return Problem(path, "is not a known value", did_you_mean(given, known), given)
    if kind in _TYPES:
        wrong, todo = _TYPES[kind]
        return Problem(path, wrong, todo, NOTHING if kind == "missing" else given)
    if kind in _BOUNDS:
        bounds = {name: f"{bound:.12g}" for name, bound in context.items() if name in _NUMBERS}
        wrong, todo = (text.format(**bounds) for text in _BOUNDS[kind])
        return Problem(path, wrong, todo, given)
    wrong, _, todo = detail["msg"].partition("; ")
    return Problem(path, wrong, todo or "correct it", given)


def _known_key(location: Location, root: type[BaseModel]) -> str:
    """What to do about an unknown key: a likely sibling, else the same name in another section."""
    word = str(location[-1])
    siblings = list(_model_at(location[:-1], root).model_fields)
    match = closest(word, siblings)
    if match is None:
        elsewhere = {path.rpartition(".")[2]: path for path in reversed(field_paths(root))}
        name = closest(word, elsewhere)
        match = elsewhere[name] if name is not None else None
    listed = "known keys here: " + ", ".join(siblings)
    return f"did you mean {match}? {listed}" if match else f"remove it; {listed}"


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all fields, sections included, nested ones after their section."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        paths.append(prefix + name)
        if isinstance(field.default, BaseModel):
            paths.extend(field_paths(type(field.default), f"{prefix}{name}."))
    return paths


def _is_model(annotation: object) -> Any:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _model_at(location: Location, root: type[BaseModel]) -> type[BaseModel]:
    """The model whose keys stand at a location; free keys and indices lead to the element's."""
    model = root
    for part in location:
        if part in model.model_fields:
            model = _first(model.model_fields[str(part)].annotation, _is_model) or model
    return model


def _first(annotation: Any, wanted: Callable[[object], Any]) -> Any:
    """The first type inside an annotation that is wanted."""
    if wanted(annotation):
        return annotation
    inner = (_first(argument, wanted) for argument in get_args(annotation))
    return next((found for found in inner if found), None)
