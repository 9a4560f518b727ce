"""From files and overrides to a valid `ExperimentConfig`, or a message with all that is wrong."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apt_core.config.base import Section
from apt_core.config.experiment import RULES_BROKEN, ExperimentConfig
from apt_core.config.problems import Problem, raise_problems
from apt_core.config.translate import Location, dotted, problems_of
from apt_core.config.yaml_files import deep_merge, parse_yaml, read_yaml
from apt_core.errors import ConfigError


def load_config(
    files: Sequence[Path | str] = (), overrides: Sequence[str] = ()
) -> ExperimentConfig:
    """Build the configuration: defaults < files from left to right < overrides from left to right.

    What is wrong comes as one `ConfigError` with every problem on a line: field path, what is
    wrong, what was given, what to do.

    Args:
        files: YAML files; one may start with ``extends: other.yaml``, relative to itself.
        overrides: ``section.field=value`` strings, the value in YAML.

    Returns:
        The validated configuration.
    """
    data: dict[str, Any] = {}
    problems: list[Problem | str] = []
    for file in files:
        try:
            data = deep_merge(data, read_yaml(Path(file)))
        except ConfigError as error:
            problems.append(str(error))
    for override in overrides:
        try:
            data = _overridden(data, override)
        except ConfigError as error:
            problems.append(str(error))
    return _validate(data, problems)


def config_to_json(config: ExperimentConfig) -> dict[str, Any]:
    """Every field with its value, as plain JSON-able values; `config_from_json` reads it back."""
    return config.model_dump(mode="json")


def config_from_json(data: Mapping[str, Any]) -> ExperimentConfig:
    """The inverse of `config_to_json`; the same complaints as `load_config`."""
    return _validate(dict(data), [])


def seed_flag_overrides(
    model_type: str | None = None,
    dataset: str | None = None,
    sparsity_level: float | None = None,
    ablation: str | None = None,
) -> list[str]:
    """The command line's short flags as overrides; a flag that is None is left out.

    Args:
        model_type: Entry of `model.architectures`.
        dataset: Entry of `data.datasets`.
        sparsity_level: Fraction of parameters to remove.
        ablation: Part of APT to leave out, or ``full``.

    Returns:
        Overrides for `load_config`.
    """
    flags = {
        "model.model_type": model_type,
        "data.dataset": dataset,
        "pruning.target_sparsity": sparsity_level,
        "ablation": ablation,
    }
    return [f"{path}={value}" for path, value in flags.items() if value is not None]


def _overridden(data: dict[str, Any], override: str) -> dict[str, Any]:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        todo = "write section.field=value"
        raise_problems([Problem("override", "is not an assignment", todo, override)])
    nested = parse_yaml(text, f"override {path.strip()}")
    for key in reversed(keys):
        nested = {key: nested}
    return deep_merge(data, nested)


def _validate(data: dict[str, Any], problems: Sequence[Problem | str]) -> ExperimentConfig:
    """Validate; set fields that are wrong aside and try the rules between the others."""
    data = {key: value for key, value in data.items() if not _is_empty_section(key, value)}
    found = list(problems)
    try:
        config = ExperimentConfig.model_validate(data)
    except ValidationError as error:
        found += problems_of(error, ExperimentConfig)
        found += _rules_broken_besides(error, data)
    if found:
        raise ConfigError("\n".join(dict.fromkeys(str(problem) for problem in found)))
    return config


def _is_empty_section(key: str, value: object) -> bool:
    field = ExperimentConfig.model_fields.get(key)
    return value is None and field is not None and isinstance(field.default, Section)


def _rules_broken_besides(error: ValidationError, data: dict[str, Any]) -> list[Problem]:
    details = [detail for detail in error.errors() if detail["type"] != RULES_BROKEN]
    # What lacks a field is set aside as a whole.
    locations = [d["loc"][:-1] if d["type"] == "missing" else d["loc"] for d in details]
    rest = copy.deepcopy(data)
    for location in locations:
        _remove(rest, location)
    wrong = [dotted(location) for location in locations]
    try:
        ExperimentConfig.model_validate(rest)
    except ValidationError as second:
        rules = [d for d in second.errors() if d["type"] == RULES_BROKEN]
        broken = [problem for detail in rules for problem in detail["ctx"]["problems"]]
        return [problem for problem in broken if not problem.rests_on(wrong)]
    return []


def _remove(data: Any, location: Location) -> None:
    """Delete what stands at a location; inside a list, the whole list."""
    for key, below in zip(location, (*location[1:], None), strict=True):
        if not isinstance(data, dict) or key not in data:
            return
        if below is None or not isinstance(data[key], dict):
            del data[key]
            return
        data = data[key]
