"""docs/config.md says what the schema says."""

import importlib.util
from pathlib import Path
from types import ModuleType

from apt_core.config import ExperimentConfig
from apt_core.config.translate import field_paths

ROOT = Path(__file__).resolve().parents[3]


def _script() -> ModuleType:
    path = ROOT / "scripts" / "config_reference.py"
    spec = importlib.util.spec_from_file_location("config_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == _script().reference(), "run: python scripts/config_reference.py"


def test_every_key_stands_on_the_page() -> None:
    page = _script().reference()
    sections = {path.rpartition(".")[0] for path in field_paths(ExperimentConfig)}
    keys = [path for path in field_paths(ExperimentConfig) if path not in sections]
    assert [key for key in keys if f"| `{key}` |" not in page] == []
