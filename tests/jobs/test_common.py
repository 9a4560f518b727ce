from pathlib import Path

import pytest
import typer

from apt_core.config import load_config
from apt_core.config.yaml_files import read_yaml
from apt_core.errors import BudgetError, ConfigError
from jobs.common import base_arguments, exit_code_of, find_recipe, recipe_files, run_app


def raising(error: BaseException) -> None:
    raise error


def test_a_user_error_is_code_2_with_its_lines_indented(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: raising(ConfigError("first\nsecond"))) == 2
    assert capsys.readouterr().err == "error:\n  first\n  second\n"
    assert exit_code_of(lambda: raising(ConfigError("alone"))) == 2
    assert capsys.readouterr().err == "error: alone\n"


def test_another_error_is_code_1_and_names_a_file_with_the_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code_of(lambda: raising(BudgetError("no room"))) == 1
    message = capsys.readouterr().err
    assert "no room" in message
    assert "Traceback" not in message
    log = Path(message.split()[-1])
    assert "BudgetError: no room" in log.read_text()
    log.unlink()


def test_what_a_command_returns_is_the_exit_code() -> None:
    assert exit_code_of(lambda: 1) == 1
    assert exit_code_of(lambda: None) == 0


def test_ctrl_c_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: raising(KeyboardInterrupt())) == 1
    assert capsys.readouterr().err == "error: interrupted\n"


def test_run_app_exits_with_the_code_of_its_command() -> None:
    app = typer.Typer()
    app.command()(lambda: 1)
    with pytest.raises(SystemExit) as stop:
        run_app(app, [])
    assert stop.value.code == 1


def test_recipes_are_found_by_name_and_files_by_path(tmp_path: Path) -> None:
    assert find_recipe("demo").name == "demo.yaml"
    assert find_recipe("demo.yaml") == find_recipe("demo")
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\n")
    assert find_recipe(str(mine)) == mine
    with pytest.raises(ConfigError, match=r"recipes: .*demo"):
        find_recipe("demos")
    with pytest.raises(ConfigError, match="there is no file"):
        find_recipe("configs/demo")


@pytest.mark.parametrize("recipe", recipe_files(), ids=lambda path: path.stem)
def test_every_recipe_loads(recipe: Path) -> None:
    load_config([recipe])
    # One that is laid over others has no name: it would take theirs.
    assert read_yaml(recipe).get("name", recipe.stem) == recipe.stem


def test_arguments_are_repeated_as_typed() -> None:
    assert base_arguments(["demo"], ["a.b=1"]) == ["--config", "demo", "--set", "a.b=1"]
