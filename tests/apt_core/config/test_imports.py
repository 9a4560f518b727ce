"""Importing the configuration is cheap: no torch, no cluster, no tracker."""

import json
import subprocess
import sys

_PROGRAM = """
import json, sys, time
before = time.process_time()
import apt_core.config
seconds = time.process_time() - before
heavy = {"torch", "ray", "mlflow", "deepspeed", "transformers", "numpy"}
print(json.dumps([sorted(heavy & set(sys.modules)), seconds]))
"""


def _import_in_fresh_interpreter() -> tuple[list[str], float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    heavy, seconds = json.loads(done.stdout)
    return heavy, seconds


def test_importing_the_config_loads_nothing_heavy_and_is_fast() -> None:
    runs = [_import_in_fresh_interpreter() for _ in range(3)]
    assert all(heavy == [] for heavy, _ in runs)
    # CPU seconds, the best of three: other processes of the machine do not count.
    assert min(seconds for _, seconds in runs) < 0.5
