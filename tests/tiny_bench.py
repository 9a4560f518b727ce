"""Benchmarks of the tiny model: a moment each."""

from pathlib import Path

from apt_core.bench.settings import BenchSettings
from apt_core.trainer.build_bench import RigBuilder
from apt_core.trainer.build_bench_config import bench_config
from tests.tiny_run import tiny_experiment

SETTINGS = BenchSettings(seq_len=9, target_len=9, batch_size=4, density=0.4, repeats=2, warmup=1)


def tiny_builder(root: Path, *overrides: str, settings: BenchSettings = SETTINGS) -> RigBuilder:
    """A builder over `tiny_experiment`."""
    config = bench_config(tiny_experiment(root, *overrides), settings)
    return RigBuilder(config, settings, root)
