"""The Auto classes know pruned models once `apt_core.models.auto` is imported, and not before."""

from pathlib import Path

import transformers

from apt_core.models.auto import register
from apt_core.models.configuration_apt import CONFIGS
from apt_core.models.families import FAMILIES
from apt_core.models.loading import AUTO_CLASSES
from apt_core.models.modeling_apt import MODELS


def test_registering_twice_changes_nothing() -> None:
    register()
    register()
    config = transformers.AutoConfig.for_model("apt_bert")
    assert type(config) is CONFIGS["bert"]


def test_every_family_and_head_that_can_be_pruned_has_a_class() -> None:
    assert set(CONFIGS) == set(FAMILIES)
    wanted = {
        (AUTO_CLASSES[head].__name__, family)
        for family, spec in FAMILIES.items()
        for head in spec.heads
    }
    made = {
        (auto_class, model.config_class.model_type.removeprefix("apt_"))
        for auto_class, models in MODELS.items()
        for model in models
    }
    assert made == wanted


def test_what_travels_with_an_export_needs_nothing_of_ours() -> None:
    """The three files import torch, transformers and each other; they load as a folder of code."""
    folder = Path(__file__).parents[3] / "apt_core" / "models"
    for name in ("configuration_apt.py", "modeling_apt.py", "pruned_layers.py"):
        assert "apt_core" not in (folder / name).read_text(encoding="utf-8")
