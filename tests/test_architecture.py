"""The plan of the house, as tests: who imports whom, how long things get, where tests live."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from apt_core.config import load_config

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("apt_core", "orchestrator", "jobs")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50

FORMULA_FILES = (
    "apt_core/baselines/l0_gates.py",
    "apt_core/baselines/mask_factors.py",
    "apt_core/baselines/mask_tuning.py",
    "apt_core/baselines/local_cut.py",
    "apt_core/baselines/taylor.py",
    "apt_core/bench/flops.py",
    "apt_core/bench/phases.py",
    "apt_core/capacity/cut.py",
    "apt_core/capacity/devices.py",
    "apt_core/capacity/fit.py",
    "apt_core/capacity/forecast.py",
    "apt_core/capacity/kept.py",
    "apt_core/capacity/loss.py",
    "apt_core/capacity/memory.py",
    "apt_core/capacity/phase.py",
    "apt_core/capacity/shapes.py",
    "apt_core/capacity/traffic.py",
    "apt_core/capacity/walk.py",
    "apt_core/distiller/layer_map.py",
    "apt_core/distiller/losses.py",
    "apt_core/evaluator/metrics.py",
    "apt_core/evaluator/squad.py",
    "apt_core/evaluator/time_to_accuracy.py",
    "apt_core/pruner/align.py",
    "apt_core/pruner/border.py",
    "apt_core/pruner/fill.py",
    "apt_core/pruner/cost.py",
    "apt_core/pruner/latency.py",
    "apt_core/pruner/schedule.py",
    "apt_core/pruner/search.py",
    "apt_core/salience/scores.py",
    "apt_core/tuner/allocate.py",
    "apt_core/tuner/schedule.py",
)
VALUE_FILES = (
    "apt_core/errors.py",
    "apt_core/models/structure.py",
    "apt_core/models/surgery_record.py",
    "apt_core/report.py",
)
"""Frozen values and exceptions: as pure as the formulas, which take and return them."""
PURE_FILES = FORMULA_FILES + VALUE_FILES
PURE_MODULES = {"torch", "jaxtyping"} | {
    path.removesuffix(".py").replace("/", ".") for path in PURE_FILES
}
"""What a pure file may import besides the standard library: torch, shapes, and other pure files."""

TORCH_FREE = ("apt_core.config", "apt_core.pruner.schedule", "apt_core.tuner.schedule")
GPU_STACK = ("torch", "transformers", "datasets", "deepspeed", "ray", "mlflow")

UNMIRRORED = {
    "apt_core/errors.py": "names and docstrings; every raise is tested where it happens",
}
"""Modules with logic but without a test file at the mirrored path, each with its reason."""


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def python_files() -> list[Path]:
    more = (path for folder in ("tests", "scripts") for path in (ROOT / folder).rglob("*.py"))
    return sources() + sorted(more)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def has_logic(tree: ast.Module) -> bool:
    """Whether any function has a body beyond a docstring and an ellipsis, as protocols do not."""
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
    )


def listing(offenders: Mapping[str, object]) -> str:
    return "\n".join(["", *(f"{name}: {what}" for name, what in sorted(offenders.items()))])


def mirrored_test(path: Path) -> Path:
    relative = path.relative_to(ROOT)
    return ROOT / "tests" / relative.parent / f"test_{relative.name}"


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_entry_point_is_in_the_contract_that_keeps_them_apart() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (
        contract["layers"]
        for contract in contracts["contracts"]
        if contract["name"] == "entry points do not import each other"
    )
    listed = set(re.findall(r"jobs\.\w+", " ".join(layers)))
    entry_points = {
        f"jobs.{path.stem}"
        for path in (ROOT / "jobs").glob("*.py")
        if "typer.Typer(" in path.read_text()
    }
    assert {"jobs.cli", "jobs.train", "jobs.sweep"} <= entry_points
    assert entry_points - listed == set()


@pytest.mark.parametrize("module", TORCH_FREE)
def test_importing_it_in_a_fresh_interpreter_loads_no_gpu_stack(module: str) -> None:
    code = f"import sys, {module}; print(*(m for m in {GPU_STACK!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_top_package_is_empty() -> None:
    assert (ROOT / "apt_core" / "__init__.py").read_text() == ""


@pytest.mark.parametrize("path", PURE_FILES)
def test_a_pure_file_imports_only_torch_and_the_standard_library(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    impure = [
        name
        for name in imported_modules(tree)
        if name not in PURE_MODULES
        and name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith("torch.")
    ]
    assert impure == []


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    long = {name: n for name, n in lengths.items() if n > MAX_FILE_LINES}
    assert long == {}, listing(long)


def test_no_function_is_longer_than_50_lines() -> None:
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long == {}, listing(long)


def test_every_module_with_logic_has_a_test_file_at_the_mirrored_path() -> None:
    missing = {
        name_of(path): name_of(mirrored_test(path))
        for path in sources()
        if has_logic(ast.parse(path.read_text()))
        and name_of(path) not in UNMIRRORED
        and not mirrored_test(path).is_file()
    }
    assert missing == {}, listing(missing)


def test_every_exemption_from_the_mirror_is_still_needed() -> None:
    stale = [
        name
        for name in UNMIRRORED
        if not (ROOT / name).is_file() or mirrored_test(ROOT / name).is_file()
    ]
    assert stale == []


def test_there_are_recipes_and_the_demo_is_among_them() -> None:
    assert "demo" in {path.stem for path in (ROOT / "jobs" / "configs").glob("*.yaml")}


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "jobs" / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_recipe_loads(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APTUNE_REAL_DATA", raising=False)
    load_config([recipe])


def test_every_text_file_is_ascii() -> None:
    suffixes = {".py", ".toml", ".yaml", ".md", ".sh", ".txt", ".j2", ".svg"}
    files = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*")]
    files += [path for folder in ("tests", "docs", "docker") for path in (ROOT / folder).rglob("*")]
    files += list(ROOT.glob("*"))
    foreign = [
        name_of(path)
        for path in files
        if path.is_file() and path.suffix in suffixes and not path.read_bytes().isascii()
    ]
    assert foreign == []
