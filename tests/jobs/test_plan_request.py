"""What `aptune plan` accepts and what it refuses, before torch is loaded."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apt_core.capacity.devices import EFFICIENCY, GIB, NODE_LINK_BYTES_PER_S
from apt_core.config import load_config
from apt_core.errors import ConfigError
from jobs.plan_request import Cluster, PlanRequest, Sizes, make_request

HEAVY = ("torch", "ray", "mlflow", "transformers", "deepspeed", "datasets")
BENCH = {
    "rates": {"flops_per_s": 5e10, "bytes_per_s": 1e10},
    "training": [
        {"phase": "control", "fraction_of_bound": 0.5},
        {"phase": "pruning", "fraction_of_bound": 0.4},
    ],
}

ONE, AS_CONFIGURED = Cluster("h100"), Sizes()


def request(
    *overrides: str, cluster: Cluster = ONE, sizes: Sizes = AS_CONFIGURED, **more: Any
) -> PlanRequest:
    config = load_config([], ["training.batch_size=32", *overrides])
    return make_request(config, "roberta-base", cluster=cluster, sizes=sizes, **more)


def test_rows_are_divided_among_workers_and_micro_batches() -> None:
    eight = Cluster("h100", 2, 4)
    whole = request(cluster=eight)
    assert (whole.micro_batch, whole.num_micro_batches) == (4, 1)
    assert whole.cluster.num_workers == 8
    small = request(cluster=eight, sizes=Sizes(64, 2))
    assert (small.micro_batch, small.num_micro_batches) == (2, 4)
    configured = request("training.micro_batch_size=8")
    assert (configured.micro_batch, configured.num_micro_batches) == (8, 4)


def test_lengths_come_from_the_configuration_unless_given() -> None:
    assert request("data.max_length=96").seq_len == 96
    assert request(sizes=Sizes(seq_len=512)).seq_len == 512


def test_a_data_sheet_gives_memory_rates_and_links() -> None:
    one = request("hardware.precision=bf16")
    assert one.cluster.memory_bytes == 80 * GIB
    assert one.constants is not None
    assert (one.constants.flops_per_s, one.constants.efficiency) == (989.4e12, EFFICIENCY)
    assert "assumed" in one.constants.source
    assert one.cluster.link_bytes_per_s == 450e9
    assert Cluster("h100", 2, 8).link_bytes_per_s == NODE_LINK_BYTES_PER_S
    assert Cluster("h100", memory_gib=40.0).memory_bytes == 40 * GIB


def test_a_benchmark_replaces_the_data_sheet(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(BENCH))
    cpu = Cluster("cpu", memory_gib=8.0)
    constants = request(cluster=cpu, bench=file).constants
    assert constants is not None
    assert (constants.flops_per_s, constants.bytes_per_s) == (5e10, 1e10)
    assert constants.by_phase == {"control": 0.5, "pruning": 0.4}
    # Phases that were not measured are taken to be as bad as the worst that was.
    assert constants.efficiency == 0.4
    given = request(cluster=cpu, bench=file, efficiency=0.3).constants
    assert given is not None
    assert (given.efficiency, given.by_phase) == (0.3, {})


def test_without_one_nothing_is_known_of_a_cpus_time() -> None:
    assert request(cluster=Cluster("cpu", memory_gib=8.0)).constants is None


@pytest.mark.parametrize(
    ("cluster", "sizes", "message"),
    [
        (Cluster("rtx9000"), Sizes(), "--device: no data sheet of 'rtx9000'"),
        (Cluster("cpu"), Sizes(), "--memory: a CPU has no data sheet"),
        (
            Cluster("h100", 1, 5),
            Sizes(),
            "--batch-size: 32 rows per step cannot be divided among 5",
        ),
        (Cluster("h100"), Sizes(micro_batch=5), "--micro-batch: a worker's 32 rows"),
    ],
)
def test_wrong_sizes_are_refused(cluster: Cluster, sizes: Sizes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request(cluster=cluster, sizes=sizes)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    config = load_config([], [])
    with pytest.raises(ConfigError, match=r"--model: .*config.json does not exist.*llama-2-70b"):
        make_request(config, str(tmp_path), cluster=Cluster("h100"), sizes=Sizes())


@pytest.mark.parametrize(
    "text", ["", "[]", '{"rates": {}}', '{"rates": {"flops_per_s": 1, "bytes_per_s": 1}}']
)
def test_a_file_that_is_no_benchmark_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"--bench: .*other.json is no result of aptune bench"):
        request(bench=file)


def test_a_wrong_request_is_answered_before_torch_is_loaded() -> None:
    code = (
        "import sys; from jobs.common import exit_code_of; from jobs.plan import app; "
        "print(exit_code_of(lambda: app(['--device', 'none'], standalone_mode=False)), "
        f"*(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["2"]
