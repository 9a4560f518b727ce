"""What the sparsity target counts, from configuration; measured tables stay with the run."""

import json
import logging
from pathlib import Path
from typing import Any

import torch

from apt_core.config import ExperimentConfig
from apt_core.evaluator.sub_block_latency import LatencySettings, measure_latencies
from apt_core.files import write_json
from apt_core.models.loading import LoadedModel
from apt_core.pruner.cost import PARAMS, CostModel, MacCost
from apt_core.pruner.latency import LatencyCost
from apt_core.trainer import distributed
from apt_core.trainer.build_parts import DTYPES

logger = logging.getLogger(__name__)
LATENCY_TABLE = "latency.json"


def build_cost(
    config: ExperimentConfig,
    loaded: LoadedModel,
    *,
    device: torch.device,
    run_dir: Path,
    run_id: str,
) -> CostModel:
    """The cost model of arms that prune; collective where something is measured.

    Args:
        config: what to train.
        loaded: the unpruned model.
        device: the one that trains.
        run_dir: keeps a measured table, and its checkpoints copies: a resumed run decides by it.
        run_id: whose table it must be.

    Returns:
        Parameters for arms that remove nothing.
    """
    if not config.switches.prune or config.pruning.constraint == "params":
        return PARAMS
    tokens = _reference_tokens(config, loaded)
    if config.pruning.constraint == "macs":
        return MacCost(tokens["source"], tokens["target"])
    settings = LatencySettings(
        batch_size=config.pruning.latency_batch_size,
        tokens=tokens,
        warmup=config.evaluation.latency_warmup,
        repeats=config.evaluation.latency_repeats,
        device=device,
        dtype=DTYPES[config.hardware.precision],
    )
    return _latency_cost(loaded, settings, run_dir, run_id)


def _reference_tokens(config: ExperimentConfig, loaded: LoadedModel) -> dict[str, int]:
    data = config.data
    writes = loaded.model_map.head_kind == "seq2seq_lm"
    return {
        "source": config.pruning.constraint_length or data.max_length,
        "target": data.max_target_length if writes else 0,
    }


def _latency_cost(
    loaded: LoadedModel, settings: LatencySettings, run_dir: Path, run_id: str
) -> LatencyCost:
    """Worker 0's table: the one that the run began with, or a new one where it begins now."""
    table = None
    if distributed.rank() == 0:
        table = _known_table(run_dir, run_id)
        if table is None:
            measured = measure_latencies(loaded.structure, settings)
            table = {"run_id": run_id, "tables": measured.to_json()}
        write_json(run_dir / LATENCY_TABLE, table, is_durable=True)
    return LatencyCost.from_json(distributed.object_from_first(table)["tables"])


def _known_table(run_dir: Path, run_id: str) -> dict[str, Any] | None:
    """From the run's folder, else from its newest checkpoint that has it."""
    checkpoints = sorted((run_dir / "checkpoints").glob(f"step-*/{LATENCY_TABLE}"), reverse=True)
    for path in (run_dir / LATENCY_TABLE, *checkpoints):
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError as error:
            logger.warning("%s: unreadable, looking further: %s", path, error)
            continue
        if table["run_id"] == run_id:
            return dict(table)
    return None
