"""What the pages promise: examples load, commands and files exist, links lead somewhere."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from apt_core.config import load_config
from jobs.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "apt_core/README.md",
    "docs/cluster.md",
    "docs/deploy.md",
    "docs/failures.md",
    "docs/observability.md",
    "docs/plan.md",
)
YAML_BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=range(len(YAML_BLOCKS)))
def test_every_yaml_example_of_the_readme_is_a_valid_configuration(
    block: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "example.yaml"
    recipe.write_text(block)
    load_config([recipe])


def test_the_readme_has_examples() -> None:
    assert len(YAML_BLOCKS) >= 4


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_named_on_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_aptune_commands_named_on_a_page_exist(page: str) -> None:
    commands = set(getattr(get_command(app), "commands"))  # noqa: B009
    pattern = r"(?:^|`|\s{4})aptune ([a-z]+)"
    named = set(re.findall(pattern, (ROOT / page).read_text(), re.MULTILINE))
    assert named - commands == set()


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_pictures_of_a_page_exist(page: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text())
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


def test_tests_that_hold_an_answer_to_a_failure_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs/failures.md").read_text())
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []
