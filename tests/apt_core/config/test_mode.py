"""Mode official is its recipe, all of it, and a name: the settings do the work in both modes."""

from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.config.mode import OFFICIAL
from apt_core.config.yaml_files import read_yaml
from apt_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "jobs" / "configs" / "official.yaml"
OTHER: dict[str, str] = {
    "training.train_head": "true",
    "training.freeze_embeddings": "false",
    "training.optimizer_on_surgery": "carry",
    "training.lr_after_event": "schedule",
    "pruning.use_kurtosis": "true",
    "tuning.growth": "ratio",
    "tuning.importance": "paper",
    "tuning.init_distribution": "gaussian",
    "distillation.teacher_layer_mapping": "min_mse",
    "distillation.mask_padding": "true",
    "distillation.start_event": "1",
}


def test_the_recipe_sets_what_the_mode_stands_for_and_nothing_else() -> None:
    data = read_yaml(RECIPE)
    flat = {
        f"{section}.{name}": value
        for section, values in data.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
    assert data["mode"] == "official"
    assert flat == OFFICIAL
    assert load_config([RECIPE]).mode == "official"


@pytest.mark.parametrize("path", OFFICIAL)
def test_one_setting_of_the_paper_is_enough_to_lose_the_name(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"{path}: is .* in mode official"):
        load_config([RECIPE], [f"{path}={OTHER[path]}"])


def test_in_mode_paper_every_setting_is_free() -> None:
    for path, value in OTHER.items():
        load_config([], [f"{path}={value}"])
    load_config([RECIPE], ["mode=paper"])


def test_the_mode_is_a_name_and_not_part_of_the_identity() -> None:
    named = load_config([RECIPE]).result_key()
    assert named == load_config([RECIPE], ["mode=paper"]).result_key()
    assert named != load_config().result_key()


def test_the_page_explains_every_setting_with_its_value() -> None:
    page = (ROOT / "docs" / "official.md").read_text(encoding="utf-8")
    values = {path: str(value) for path, value in OFFICIAL.items()}
    spelled = {"True": "true", "False": "false", "None": "null"}
    for path, value in values.items():
        assert f"| `{path}` | `{spelled.get(value, value)}` |" in page
