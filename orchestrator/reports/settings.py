"""Compare the settings of runs: what all share, and what tells cells apart (PURE)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apt_core.config import ExperimentConfig
from apt_core.config.mode import OFFICIAL
from orchestrator.reports.records import Settings

CELL_SETTINGS = frozenset(
    {
        "name",
        "arm",
        "ablation",
        "model.model_type",
        "data.dataset",
        "training.seed",
        "pruning.target_sparsity",
    }
)
"""Settings that a table row or a seed already names."""

_NO_EFFECT_ON_RESULTS = (
    "orchestration.",
    "tracking.",
    "data.cache_dir",
    "distillation.teacher_path",
)
_CATALOGUES = ("data.datasets.", "model.architectures.")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config as dotted keys; lists stay values, as JSON text where they hold mappings."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value
    return flat


def text_of(value: Any) -> str:
    """A setting's value as one line of text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True, default=str)


def common_settings(all_settings: Sequence[Settings]) -> dict[str, str]:
    """The settings on which all runs agree, catalogue entries that no run uses left out.

    Args:
        all_settings: Flat settings, one mapping per run.

    Returns:
        Dotted key -> value as text, sorted by key.
    """
    differing = set(differing_keys(all_settings))
    used = _used_catalogue_entries(all_settings)
    keys = {key for settings in all_settings for key in settings} - differing
    wanted = sorted(key for key in keys if _is_used(key, used))
    return {key: text_of(all_settings[0].get(key)) for key in wanted}


def mode_text(all_settings: Iterable[Settings]) -> str:
    """Whether runs followed the paper or the authors' code, and what a paper run took from there.

    Args:
        all_settings: Flat settings, one mapping per run.

    Returns:
        One line, e.g. ``paper, with tuning.importance=signed``.
    """
    texts = [_mode_of(settings) for settings in all_settings]
    return " | ".join(dict.fromkeys(texts)) or "paper"


def _mode_of(settings: Settings) -> str:
    mode = str(settings.get("mode", "paper"))
    if mode != "paper":
        return mode
    taken = [
        f"{path}={text_of(value)}"
        for path, value in OFFICIAL.items()
        if path in settings and settings[path] == value != _default(path)
    ]
    return f"paper, with {', '.join(taken)}" if taken else "paper"


def _default(path: str) -> Any:
    section, _, name = path.partition(".")
    return getattr(ExperimentConfig.model_fields[section].default, name)


def differing_keys(all_settings: Sequence[Settings]) -> list[str]:
    """Dotted keys whose value is not the same in all runs, sorted."""
    keys = {key for settings in all_settings for key in settings}
    return sorted(key for key in keys if len({text_of(s.get(key)) for s in all_settings}) > 1)


def variant_keys(all_settings: Sequence[Settings]) -> list[str]:
    """Settings that split the runs of one would-be cell: they differ and change results."""
    return [key for key in differing_keys(all_settings) if _changes_results(key)]


def comparable_keys(all_settings: Sequence[Settings]) -> list[str]:
    """Settings that differ and change results or say which cell a run is of."""
    keys = differing_keys(all_settings)
    return [key for key in keys if _changes_results(key) or key in CELL_SETTINGS - {"name"}]


def _changes_results(key: str) -> bool:
    return key not in CELL_SETTINGS and not key.startswith(_NO_EFFECT_ON_RESULTS + _CATALOGUES)


def _used_catalogue_entries(all_settings: Iterable[Settings]) -> set[str]:
    used = set()
    for settings in all_settings:
        used.add(f"data.datasets.{settings.get('data.dataset')}")
        used.add(f"model.architectures.{settings.get('model.model_type')}")
    return used


def _is_used(key: str, used: set[str]) -> bool:
    if not key.startswith(_CATALOGUES):
        return True
    return any(key == entry or key.startswith(f"{entry}.") for entry in used)
