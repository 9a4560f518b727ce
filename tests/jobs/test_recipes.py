"""The recipes of arms, families and tasks: named as what they are, and their schedules fit."""

from pathlib import Path
from typing import get_args

import pytest

from apt_core.config import Arm, ExperimentConfig, load_config, plan_training
from jobs.common import recipe_files
from jobs.preflight import hub_train_rows

FAMILIES = {"encoder": "roberta", "t5": "t5", "llama": "llama"}
TASKS = {
    "glue-large": {"sst2", "mnli", "qnli", "qqp"},
    "glue-small": {"mrpc", "rte", "cola", "stsb"},
    "squad": {"squad_v2"},
    "cnn_dm": {"cnn_dm"},
    "alpaca": {"alpaca"},
}
FILES = {path.stem: path for path in recipe_files() if path.parent.name == "recipes"}
OVERLAYS = {"small", "small_full"}
RECIPES = sorted(
    name for name in FILES if name not in OVERLAYS and name.split("_")[0] not in FAMILIES
)
SHARED = sorted(set(FILES) - OVERLAYS - set(RECIPES))


def family_and_task(name: str) -> tuple[str, str]:
    (family,) = (part for part in name.split("_") if part in FAMILIES)
    return family, name.partition(f"{family}_")[2]


def planned(config: ExperimentConfig) -> None:
    rows = hub_train_rows(config.data.spec)
    assert rows is not None
    plan_training(config, config.data.num_trained_rows(rows))


def test_there_is_a_recipe_for_every_arm_but_the_controls() -> None:
    arms = {load_config([FILES[name]]).arm for name in RECIPES}
    assert arms == set(get_args(Arm)) - {"random", "magnitude"}
    for shared in SHARED:
        assert {f"apt_{shared}", f"lora_{shared}"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_name_says(name: str) -> None:
    config = load_config([FILES[name]])
    family, task = family_and_task(name)
    assert name == f"{config.arm}_{family}_{task}"
    assert config.model.model_type == FAMILIES[family]
    assert config.data.dataset in TASKS[task]


@pytest.mark.parametrize("name", RECIPES)
def test_the_schedule_of_a_recipe_fits_every_dataset_of_its_task(name: str) -> None:
    for dataset in TASKS[family_and_task(name)[1]]:
        planned(load_config([FILES[name]], [f"data.dataset={dataset}"]))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_small_form(name: str) -> None:
    config = load_config([FILES[name]])
    overlay = "small_full" if config.switches.train_all_weights else "small"
    small = load_config([FILES[name], FILES[overlay]])
    planned(small)
    assert (small.training.max_steps, small.training.num_epochs) == (600, None)
    assert (small.arm, small.ablation) == (config.arm, config.ablation)
    assert small.training.learning_rate == (5e-5 if overlay == "small_full" else 1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_the_official_mode_fits_over_every_recipe(name: str) -> None:
    official: Path = next(path for path in recipe_files() if path.stem == "official")
    assert load_config([FILES[name], official]).mode == "official"


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("apt_encoder_glue-large", (811, 1423, 2034, 2646, 3257, 3869, 4480, 5092, 5703, 6315)),
        ("apt_encoder_glue-small", (520, 840, 1160, 1480, 1800, 2120, 2440, 2760)),
    ],
)
def test_the_events_of_the_paper_come_out_of_its_recipe(name: str, events: tuple[int, ...]) -> None:
    """What the authors' schedule gives for SST-2 and MRPC, up to rounding."""
    config = load_config([FILES[name]])
    rows = hub_train_rows(config.data.spec)
    assert rows is not None
    steps = plan_training(config, rows).prune.event_steps
    assert len(steps) == len(events)
    assert all(abs(a - b) <= 1 for a, b in zip(steps, events, strict=True))
