import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.telemetry import NO_TELEMETRY, switch_off_telemetry

REPOSITORY = Path(__file__).parents[2]
ASK_THE_LIBRARIES = """
from orchestrator.telemetry import switch_off_telemetry
switch_off_telemetry()
from ray._common.usage.usage_lib import usage_stats_enabled
from mlflow.telemetry import utils
from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY
from datasets.config import HF_UPDATE_DOWNLOAD_COUNTS
utils._IS_IN_CI_ENV_OR_TESTING = False  # alone it would be reason enough
print(usage_stats_enabled(), utils.is_telemetry_disabled())
print(HF_HUB_DISABLE_TELEMETRY, HF_UPDATE_DOWNLOAD_COUNTS)
"""


def test_what_is_not_set_is_off_and_what_the_user_set_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NO_TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    switch_off_telemetry()
    found = {name: os.environ[name] for name in NO_TELEMETRY}
    assert found == {**NO_TELEMETRY, "RAY_USAGE_STATS_ENABLED": "1"}


def test_every_library_takes_it_for_off() -> None:
    bare = {name: value for name, value in os.environ.items() if name not in NO_TELEMETRY}
    done = subprocess.run(
        [sys.executable, "-c", ASK_THE_LIBRARIES],
        cwd=REPOSITORY,
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["False True", "True False"]
