"""Trainings that stand in one phase each, from configuration: what `aptune bench` times."""

import copy
import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.bench.flops import Rows
from apt_core.bench.memory import PeakMemory, peak_of
from apt_core.bench.phases import Phase
from apt_core.bench.rig import Rig, Unattended
from apt_core.bench.settings import BenchSettings
from apt_core.bench.synthetic import split_rows, synthetic_batch
from apt_core.config import ExperimentConfig, config_from_json, plan_training
from apt_core.errors import ConfigError
from apt_core.models.loading import LoadedModel, random_model
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build import Surroundings, assemble_trainer
from apt_core.trainer.build_bench_config import in_phase
from apt_core.trainer.build_cost import build_cost
from apt_core.trainer.build_reporter import environment
from apt_core.trainer.calibration import Calibration
from apt_core.trainer.callbacks import Callbacks
from apt_core.trainer.rng import seed_everything

_MEMORY_STEPS = 2
"""One by itself, one under the profiler."""


class RigBuilder:
    """Makes one training per phase over one model.

    Args:
        config: see `bench_config`.
        settings: what is measured.
        scratch: keeps a table of latencies, if the arm is cut by such.
    """

    def __init__(self, config: ExperimentConfig, settings: BenchSettings, scratch: Path) -> None:
        if config.hardware.num_threads is not None:
            torch.set_num_threads(config.hardware.num_threads)
        self.config, self.settings, self.scratch = config, settings, scratch
        self.device = parts.pick_device(config)
        self.dtype = parts.DTYPES[config.hardware.precision]
        seed_everything(config.training.seed)
        self.loaded = _load(config, settings.random_weights, self.device)
        self.head_kind = self.loaded.model_map.head_kind
        self._longest = longest_row(self.loaded)
        if settings.seq_len > self._longest:
            raise ConfigError(
                f"--seq-len: the model has positions for {self._longest:.0f} tokens, got "
                f"{settings.seq_len}; set it to {self._longest:.0f} or less"
            )

    @property
    def inference_rows(self) -> tuple[Rows, ...]:
        """What forward passes work on: no longer than the model can read."""
        limits = (
            (rows, int(min(self._longest, tokens)))
            for rows, tokens in self.settings.inference_shapes
        )
        writes = self.head_kind == "seq2seq_lm"
        return tuple(Rows(rows, tokens, tokens if writes else 0) for rows, tokens in limits)

    def rig(self, phase: Phase, *, is_alone: bool = False) -> Rig:
        """A training that has been led into a phase.

        Args:
            phase: one of `phases_of`.
            is_alone: it takes the one model that there is; otherwise a copy over the same frozen
                weights, so that many can take turns.

        Returns:
            The rig.
        """
        config, lead = in_phase(self.config, phase, self.settings.num_steps)
        loaded = self.loaded if is_alone else self._copy(config)
        structure = parts.adapt(config, loaded)
        plan = plan_training(config, config.training.batch_size)
        distiller = method.build_distiller(config, plan, loaded, structure)
        batch = self.make_batch(self.settings.rows(self.head_kind))
        micro_batches = split_rows(batch, config.micro_batch_size)
        around = Surroundings(
            batches=lambda _: repeat(micro_batches),
            evaluator=Unattended(),
            checkpointer=Unattended(),
            callbacks=Callbacks([]),
        )
        calibration = self._calibration(config, loaded)
        trainer = assemble_trainer(
            config, plan, loaded, structure, distiller, calibration=calibration, around=around
        )
        density = self.settings.density if phase.is_pruned else None
        return Rig(trainer, lead=lead, density=density, model_map=loaded.model_map)

    def make_batch(self, rows: Rows) -> dict[str, Tensor]:
        """A synthetic batch on the device."""
        config = self.loaded.config
        batch = synthetic_batch(
            self.head_kind,
            rows,
            vocab_size=config.vocab_size,
            num_labels=self.config.data.spec.num_labels,
            pad_id=getattr(config, "pad_token_id", None),
        )
        return parts.to_device(batch, self.device)

    def facts(self) -> dict[str, Any]:
        """Where and with what is measured."""
        return environment(self.config)

    def _copy(self, config: ExperimentConfig) -> LoadedModel:
        """The model with a head of its own; other weights are shared, unless they learn too."""
        model = self.loaded.model
        heads = [model.get_submodule(path) for path in self.loaded.model_map.head]
        own = {id(p) for head in heads for p in head.parameters()}
        shared: dict[int, Any] = {id(p): p for p in model.parameters() if id(p) not in own}
        if config.switches.train_all_weights:
            shared = {}
        return replace(self.loaded, model=copy.deepcopy(model, shared))

    def _calibration(self, config: ExperimentConfig, loaded: LoadedModel) -> Calibration:
        """Nothing is measured by it; it says what a cut counts."""
        # A table of latencies that lies there serves all phases, but no other model or settings.
        key = repr(self.config.result_key())
        run_id = f"bench-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
        cost = build_cost(config, loaded, device=self.device, run_dir=self.scratch, run_id=run_id)
        return Calibration(tuple, self.device, cost=cost)


def measure_phase(
    config: Mapping[str, Any], settings: BenchSettings, scratch: Path, phase: Phase
) -> PeakMemory:
    """Peak memory of a phase, with nothing else in this process.

    Args:
        config: of `bench_config`, as JSON.
        settings: what is measured.
        scratch: see `RigBuilder`.
        phase: which one.

    Returns:
        The peak.
    """
    settings = replace(settings, warmup=1, repeats=_MEMORY_STEPS)
    builder = RigBuilder(config_from_json(config), settings, scratch)
    rig, device = builder.rig(phase, is_alone=True), builder.device
    del builder  # it knows the dense model, which a training forgets after its cuts
    rig.step()  # makes the optimizer's state
    return peak_of(rig.step, device)


def _load(config: ExperimentConfig, has_random_weights: bool, device: torch.device) -> LoadedModel:
    if not has_random_weights:
        return parts.load_task_model(config)
    model = config.model
    with device:
        return random_model(
            model.path,
            task_kind=config.data.spec.task,
            num_labels=config.data.spec.num_labels,
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
            dropout=model.dropout,
        )


def longest_row(loaded: LoadedModel) -> float:
    """Tokens per row that a model's tables of positions have room for; infinity without one."""
    longest = math.inf
    for path in loaded.model_map.embeddings:
        table = loaded.model.get_submodule(path)
        if "position" in path and isinstance(table, nn.Embedding):
            # Positions are counted from behind that of padding, where there is one.
            first = 0 if table.padding_idx is None else table.padding_idx + 1
            longest = min(longest, table.num_embeddings - first)
    return longest
