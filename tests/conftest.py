"""What every test shares: a quiet environment, checked shapes, real data, who runs beside whom."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Set before anything imports torch, ray, mlflow or transformers; worker processes inherit them.
# One thread per process: pytest workers share a small machine, and float sums stay reproducible.
ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's default of 15 lets the other tests starve a cluster's workers until its tests time out.
    "RAY_worker_niceness": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
# A developer's own cluster and tracking server must never see a test's runs.
FORBIDDEN = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
for name in FORBIDDEN:
    os.environ.pop(name, None)

# The shape annotations of these files are checked at run time, in tests only. The hook stands here,
# in the first file that pytest loads: a module imported before it would silently go unchecked.
SHAPE_CHECKED = (
    "apt_core.baselines.l0_gates",
    "apt_core.baselines.mask_factors",
    "apt_core.baselines.mask_tuning",
    "apt_core.baselines.taylor",
    "apt_core.distiller.layer_map",
    "apt_core.distiller.losses",
    "apt_core.evaluator.metrics",
    "apt_core.pruner.fill",
    "apt_core.pruner.latency",
    "apt_core.pruner.search",
    "apt_core.salience.scores",
    "apt_core.tuner.allocate",
)
install_import_hook(list(SHAPE_CHECKED), "beartype.beartype")

REAL_DATA = "APTUNE_REAL_DATA"
NIGHTLY = "APTUNE_NIGHTLY"
ONE_AT_A_TIME = ("ray", "services")
"""Tests with these marks stay on one xdist worker: two clusters at once starve each other."""


def real_data_folder() -> Path:
    """The folder that APTUNE_REAL_DATA names; skips the test that asks when it is not there."""
    given = os.environ.get(REAL_DATA)
    if not given:
        pytest.skip(f"{REAL_DATA} is not set: it names a folder with data/ and models/")
    folder = Path(given).expanduser().resolve()
    if not ((folder / "data").is_dir() and (folder / "models").is_dir()):
        pytest.skip(f"{REAL_DATA}={given} has no data/ and models/ folders")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with ``data/<dataset>`` (Parquet) and ``models/<model>`` (Hugging Face layout)."""
    return real_data_folder()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses ``real_data``; put owners of clusters and servers into one xdist group.

    Tests that share a fixture of their module stay together: apart, each worker would make its own.
    """
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
        for mark in ONE_AT_A_TIME:
            if item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.xdist_group("one_at_a_time"))
                break
        else:
            if shares_with_its_module(item) and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def shares_with_its_module(item: pytest.Item) -> bool:
    """Whether a fixture that a test asks for is made once for all tests of its module."""
    definitions = getattr(item, "_fixtureinfo", None)
    if definitions is None:
        return False
    return any(found[-1].scope == "module" for found in definitions.name2fixturedefs.values())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, with a reason."""
    if item.get_closest_marker("real_data") is not None:
        real_data_folder()
    by_night = item.get_closest_marker("nightly")
    if by_night is not None and NIGHTLY not in os.environ:
        pytest.skip(f"{by_night.args[0]}: {NIGHTLY}=1")
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
