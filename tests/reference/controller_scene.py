"""A controller on a tiny model, and hand-made salience for it to decide on."""

from typing import Any

import torch

from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.policy import AdaptivePruner
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.pruner.search import BlockSalience, Floors
from apt_core.salience.collector import Salience
from apt_core.trainer.controller import APTController
from apt_core.trainer.state import TrainerState
from apt_core.tuner.policy import AdaptiveTuner
from tests.tiny import tiny_model

START, EVENTS, WINDOW = 2, (10, 20, 30), 4
DENSITIES = (0.8, 0.5, 0.5)
TEACHER_STEP, DISTILL_STOP = 7, 35


class Scene:
    """A controller, and everything that it decides on and operates on."""

    def __init__(self, *, prune=True, tune=True, distill=True, refresh=False):
        self.loaded, structure = tiny_model()
        self.modules: Any = TrainedModules(self.loaded.model)
        self.state = TrainerState(40, structure, self.loaded.structure)
        model_map = self.loaded.model_map
        scheduler = SparsityScheduler(EVENTS, DENSITIES, WINDOW, START, EVENTS[-1])
        pruner = AdaptivePruner(
            scheduler, self.loaded.structure, model_map, floors=Floors(min_hidden=4), mask_step=0.25
        )
        tuner = AdaptiveTuner(
            initial_params=structure.num_adapter_params(),
            num_events=len(EVENTS),
            max_tuning_params_ratio=4.0,
            max_rank=24,
            strategy="top_half",
            growth="fill",
        )
        self.controller = APTController(
            model_map,
            scheduler,
            pruner=pruner if prune else None,
            tuner=tuner if tune else None,
            distiller=SelfDistiller(model_map, structure, DistillSettings()) if distill else None,
            teacher_step=TEACHER_STEP,
            distill_stop=DISTILL_STOP,
            refresh_teacher=refresh,
            init_std=None,
            seed=1,
        )
        self.num_reads = 0

    def salience(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        structure = self.state.structure
        units = {s.name: torch.rand(s.num_units, generator=generator) for s in structure.sub_blocks}
        hidden = torch.rand(structure.hidden_size, generator=generator)
        return Salience(
            BlockSalience(units, hidden), {site: float(i) for i, site in enumerate(structure.ranks)}
        )

    def decide(self, step, seed=0, held_out=None):
        self.state.step = step

        def read():
            self.num_reads += 1
            return None if seed is None else self.salience(seed)

        return self.controller.decide(self.state, read, held_out)

    def apply(self, decision):
        surgery = self.controller.apply(decision, self.modules, self.state)
        self.state.structure = surgery.structure_after
        if self.controller.distiller is not None:
            self.controller.distiller.remap(surgery)
        return surgery
