"""Peak memory of real training steps, and of the same steps as the planner counts them."""

import tempfile
from pathlib import Path

import torch

from apt_core.bench.flops import Rows
from apt_core.bench.memory import live_tensor_bytes, peak_of
from apt_core.bench.phases import Phase
from apt_core.bench.settings import BenchSettings
from apt_core.capacity.kept import CPU
from apt_core.capacity.memory import PLAIN, Division
from apt_core.capacity.phase import Setup, phase_memory
from apt_core.config import ExperimentConfig
from apt_core.models.structure import Structure
from apt_core.trainer.build_bench import RigBuilder
from apt_core.trainer.build_bench_config import bench_config, in_phase
from apt_core.trainer.build_capacity import Subject, planned_phase, subject_of
from jobs.common import read_config

TOYS = {
    "roberta": ("model.model_type=toy", "data.dataset=toy_sentiment"),
    "t5": ("model.model_type=toy_t5", "data.dataset=toy_summary"),
    "llama": ("model.model_type=toy_llama", "data.dataset=toy_instruction"),
}
SETTINGS = BenchSettings(
    seq_len=24, target_len=16, batch_size=4, warmup=1, repeats=3, random_weights=True
)
ROWS = Rows(4, 24, 16)
GIB = 2**30


def toy_config(family: str, *overrides: str) -> ExperimentConfig:
    """A toy model on a packaged task, in plain PyTorch."""
    sets = [*TOYS[family], "hardware.engine=torch", "orchestration.grid=[]", *overrides]
    return bench_config(read_config(None, sets), SETTINGS)


def measured_peak(config: ExperimentConfig, phase: Phase) -> tuple[float, Structure]:
    """Bytes of the tensors of a training step at its fullest, and the shape that was trained.

    What other tests have left alive is not counted.
    """
    before = live_tensor_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        builder = RigBuilder(config, SETTINGS, Path(scratch))
        rig = builder.rig(phase, is_alone=True)
    del builder  # it knows the dense model
    rig.step()  # makes the optimizer's state
    peak = peak_of(rig.step, torch.device("cpu")).tensors_gib * GIB
    return peak - before, rig.structure


def toy_subject(config: ExperimentConfig, phase: Phase) -> Subject:
    """What the planner knows of it."""
    config, _ = in_phase(config, phase, SETTINGS.num_steps)
    return subject_of(config, config.model.path, ROWS)


def predicted_peak(subject: Subject, phase: Phase, cut: Structure | None) -> int:
    """The planner's bytes; `cut` None: it guesses the shape."""
    setup = Setup(subject.rows, subject.width, CPU, Division(PLAIN))
    return phase_memory(planned_phase(subject, phase, cut=cut), setup).total
