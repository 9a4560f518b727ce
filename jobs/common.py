"""What every command shares: options, reading the configuration, recipes by name, exit codes."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from typer.exceptions import Abort, TyperException

from apt_core.config import Ablation, ExperimentConfig, load_config
from apt_core.config.arms import ABLATION_MEANINGS
from apt_core.errors import AptError, ConfigError, StorageError, UserError
from apt_core.files import is_refusal, named_in, refusal_text
from orchestrator.telemetry import switch_off_telemetry

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
LOG_COLUMNS = 120

ConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file, or the name of a recipe such as demo. Repeatable; later ones win.",
        metavar="FILE",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="Override one field, e.g. pruning.target_sparsity=0.4. Repeatable; wins over files.",
        metavar="A.B=C",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the configuration, the trials, the schedule and an estimate; start nothing.",
    ),
]
RESULTS_DIR = Path("runs")
ResultsDirOption = Annotated[
    Path, typer.Option("--results-dir", help="Where run ids are looked up.", metavar="FOLDER")
]
ModelTypeOption = Annotated[
    str | None,
    typer.Option(
        "--model_type", help="Entry of model.architectures, e.g. roberta, t5, llama, toy."
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset", help="Entry of data.datasets, e.g. sst2, mnli, squad, cnn_dm, alpaca."
    ),
]
SparsityOption = Annotated[
    float | None,
    typer.Option("--sparsity_level", help="Fraction of layer parameters to remove, e.g. 0.6."),
]
AblationOption = Annotated[
    Ablation | None,
    typer.Option(
        "--ablation",
        help="Part of APT to leave out. "
        + " ".join(f"{name}: {meaning}." for name, meaning in ABLATION_MEANINGS.items()),
    ),
]


def read_config(files: Sequence[str] | None, overrides: Sequence[str]) -> ExperimentConfig:
    """The configuration from recipe names or files, and overrides.

    Args:
        files: What ``--config`` gave.
        overrides: ``a.b=c`` strings, the later ones winning.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: With everything that is wrong with it.
    """
    return load_config([find_recipe(name) for name in files or ()], overrides)


def base_arguments(files: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """``--config`` and ``--set`` arguments as one types them."""
    configs = [part for file in files for part in ("--config", file)]
    return configs + [part for override in overrides for part in ("--set", override)]


def find_recipe(name: str) -> Path:
    """A file as given, else a packaged recipe of that name, with or without ``.yaml``.

    Args:
        name: What ``--config`` gave.

    Returns:
        The file.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    packaged = {file.stem: file for file in recipe_files()}
    if len(path.parts) == 1 and path.name.removesuffix(".yaml") in packaged:
        return packaged[path.name.removesuffix(".yaml")]
    raise ConfigError(
        f"--config: there is no file {name!r} and no recipe of that name; recipes: "
        f"{', '.join(sorted(packaged))}"
    )


def recipe_files() -> list[Path]:
    """The packaged recipes."""
    folder = Path(str(resources.files("jobs") / "configs"))
    return sorted([*folder.glob("*.yaml"), *folder.glob("recipes/*.yaml")])


def run_app(app: typer.Typer, args: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit: 0 done, 2 the user's input is wrong, 1 anything else.

    Args:
        app: The commands; one may return its exit code.
        args: Command-line arguments; None: those of this process.
    """
    switch_off_telemetry()
    sys.exit(exit_code_of(lambda: app(args, standalone_mode=False)))


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run `command`; turn what it raises into one message on stderr and an exit code."""
    try:
        code = command()
    except UserError as error:
        say_error(str(error))
        return EXIT_USER_ERROR
    except TyperException as error:
        say_error(error.format_message())
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, Abort):
        say_error("interrupted")
        return EXIT_FAILED
    except Exception as error:
        say_error(_explain(error))
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_OK


def _explain(error: Exception) -> str:
    if isinstance(error, StorageError):
        return str(error)
    if not isinstance(error, AptError) and is_refusal(error):
        return refusal_text(error, named_in(error))
    what = str(error) if isinstance(error, AptError) else f"{type(error).__name__}: {error}"
    return f"{what}\n{_keep_traceback()}"


def say_error(message: str) -> None:
    """One message on stderr; further lines are indented below the first."""
    lines = message.strip().splitlines() or ["unknown"]
    if len(lines) > 1 and not lines[0].endswith(":"):
        sys.stderr.write("\n  ".join(["error:", *lines]) + "\n")
    else:
        sys.stderr.write("\n  ".join([f"error: {lines[0]}", *lines[1:]]) + "\n")


def say(console: Console, text: str) -> None:
    """Print plain text, long paths unbroken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_whole(console: Console, what: RenderableType) -> None:
    """Print what holds a table at full width: in a log, a cut id or number is of no use."""
    unlimited = console.options.update(max_width=10_000)
    width = console.measure(what, options=unlimited).maximum
    wide = Console(file=console.file, width=max(console.width, width))
    wide.print(what, highlight=False)


def make_console() -> Console:
    """A console bound to the real stdout, whatever is done to `sys.stdout` later.

    Logs have no width of their own: there, tables get the room that they were made for.
    """
    is_log = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(file=sys.stdout, width=LOG_COLUMNS if is_log else None)


def _keep_traceback() -> str:
    """Where the traceback is; the traceback itself where no file can be written."""
    told = traceback.format_exc()
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="aptune-error-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(told)
    except OSError:
        return told
    return f"The traceback is in {file.name}"
