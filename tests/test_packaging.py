"""What is shipped: the wheel's members, declared dependencies, pins."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("apt_core", "orchestrator", "jobs")
DATA_FOLDERS = (
    "apt_core/data/assets",
    "jobs/configs",
    "orchestrator/reports/data",
    "orchestrator/reports/templates",
)
DISTRIBUTIONS = {"markupsafe": "jinja2", "pydantic_core": "pydantic", "yaml": "pyyaml"}
"""Import name -> the distribution that brings it, where the two differ."""
OPTIONAL = {"sklearn", "scipy"}
"""Never imported by the packages: tests only."""
LATE_EXTRAS = {"eval", "onnx"}
"""Extras whose libraries are imported inside functions, after a check that they are there."""
INDIRECT = {"onnxscript"}
"""Libraries of an extra that torch imports for us."""


@pytest.fixture(scope="module")
def project() -> Mapping[str, Any]:
    table: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("aptune-*.whl")
    return zipfile.ZipFile(path)


def data_files() -> set[str]:
    found = (path for folder in DATA_FOLDERS for path in (ROOT / folder).rglob("*"))
    data = {path for path in found if path.is_file() and "__pycache__" not in path.parts}
    data |= {ROOT / package / "py.typed" for package in PACKAGES}
    return {path.relative_to(ROOT).as_posix() for path in data}


def modules() -> set[str]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.mark.slow
def test_the_wheel_holds_every_module_asset_recipe_and_template(wheel: zipfile.ZipFile) -> None:
    members = set(wheel.namelist())
    assert (modules() | data_files()) - members == set()


@pytest.mark.slow
def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped - modules() - data_files() == set()


@pytest.mark.slow
def test_the_wheel_installs_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    info = {name.split("/", 1)[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert b"aptune = jobs.cli:main" in wheel.read(info["entry_points.txt"])
    assert wheel.read(info["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("model", ["toy-roberta", "toy-t5", "toy-llama"])
def test_the_embedded_models_are_committed_and_small(model: str) -> None:
    (weights,) = (ROOT / "apt_core/data/assets" / model).glob("*.safetensors")
    assert 100_000 < weights.stat().st_size < 4 * 2**20


def test_every_imported_library_is_a_declared_dependency(project: Mapping[str, Any]) -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    imported = {
        name.split(".")[0]
        for path in modules()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        for name in imported_names(node)
    }
    foreign = imported - sys.stdlib_module_names - set(PACKAGES)
    assert foreign & OPTIONAL == set()
    assert {
        canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in foreign
    } - declared == late_libraries(project) - INDIRECT


def late_libraries(project: Mapping[str, Any]) -> set[str]:
    lines = (line for extra in LATE_EXTRAS for line in project["optional-dependencies"][extra])
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_libraries_of_an_extra_are_imported_inside_functions_only(
    project: Mapping[str, Any],
) -> None:
    at_once = {
        canonicalize_name(name.split(".")[0])
        for path in modules()
        for node in ast.parse((ROOT / path).read_text()).body
        for name in imported_names(node)
    }
    assert "torch" in at_once
    assert at_once & late_libraries(project) == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def test_pins_are_exact_and_satisfy_the_declared_ranges(project: Mapping[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-zA-Z.]*", line) for line in lines)
    pins = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no pin"
        assert requirement.specifier.contains(pin, prereleases=True), f"{requirement}: {pin}"


def test_the_licence_is_the_apache_licence_and_the_project_says_so(
    project: Mapping[str, Any],
) -> None:
    assert project["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text().split()[:4] == ["Apache", "License", "Version", "2.0,"]
