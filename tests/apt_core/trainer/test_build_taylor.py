"""What the builder hands to LLM-Pruner by default."""

import torch

from apt_core.pruner.cost import MacCost
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build_taylor import build_taylor_pruner
from apt_core.trainer.calibration import Calibration
from tests.tiny_families import family_experiment


def test_by_default_all_sub_blocks_of_a_tiny_model_are_measured_together(tmp_path):
    config = family_experiment(tmp_path, "qwen3", "instruction", "arm=llm_pruner")
    loaded = parts.load_task_model(config)
    cost = MacCost(7)
    made = build_taylor_pruner(config, loaded, Calibration(list, torch.device("cpu"), cost=cost))
    assert made.layers == range(3)
    assert made.at_once is None
    assert not made.calibration.half
    assert made.calibration.cost is cost
    assert made.original == loaded.structure
