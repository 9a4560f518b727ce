"""Ship a finished run: write it in a format, verify it, measure it; configuration is read here."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

import apt_core.models.auto  # noqa: F401 - exports load through the Auto classes
from apt_core.config import ExperimentConfig
from apt_core.data.loader import DatasetLoader
from apt_core.errors import ConfigError, ExportError
from apt_core.evaluator.efficiency import forward_inputs
from apt_core.evaluator.export_check import Comparison, check_export
from apt_core.evaluator.export_speed import SpeedPoint, measure_speed, slow_points
from apt_core.evaluator.fresh_load import load_for_answers
from apt_core.files import write_json
from apt_core.models.export import Exported, open_export
from apt_core.models.export_hf import auto_class, write_hf
from apt_core.models.export_onnx import check_onnx, write_onnx
from apt_core.models.loading import AUTO_CLASSES, LoadedModel, build_model, quietly
from apt_core.models.model_card import CardFacts, write_card
from apt_core.models.uniform import write_uniform
from apt_core.report import RunReport
from apt_core.trainer.build_parts import DTYPES, build_loader, to_device

FORMATS = ("hf", "uniform", "onnx")
RECORD = "export.json"
CHECKED_ROWS, CHECKED_BATCHES = 8, 4
Answer = Callable[[Mapping[str, Tensor]], object]


@dataclass(frozen=True)
class ExportRecord:
    """What was shipped and how it was verified; stored as ``export.json`` beside it."""

    to: str
    run_id: str
    device: str
    check: Comparison
    speed: tuple[SpeedPoint, ...]
    warnings: tuple[str, ...]
    versions: Mapping[str, str]


class Shipment:
    """One export of one run.

    Args:
        run_dir: the finished trial's folder.
        config: its configuration.
        report: its report.
        to: ``hf``, ``uniform`` or ``onnx``.
    """

    def __init__(
        self, run_dir: Path, config: ExperimentConfig, report: RunReport, *, to: str
    ) -> None:
        self.config = config
        self.report = report
        self.to = to
        self.source = run_dir / "export"
        self.exported: Exported = open_export(self.source)
        if to == "onnx":
            check_onnx(self.exported.head_kind)
        self.device = _device(to)
        self.tokenizer = AutoTokenizer.from_pretrained(self.source)
        with torch.random.fork_rng():
            self.dense: LoadedModel = build_model(self.exported.config, self.exported.head_kind)
        self.dense.model.eval()
        self.loader: DatasetLoader = build_loader(config, self.tokenizer, self.dense)

    def ship(self, out: Path) -> ExportRecord:
        """Write, verify and measure; the folder appears when all of it is done.

        Args:
            out: the folder; an earlier export there is replaced.

        Returns:
            The record.

        Raises:
            ConfigError: something else is there.
            ExportError: it does not load, or does not give the logits of the trained model.
        """
        if out.exists() and not (out / RECORD).is_file():
            raise ConfigError(f"--out: {out} exists and is no export; give another folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_name(f".{out.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            record = self._write_and_verify(draft)
        except Exception:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
        return record

    def _write_and_verify(self, folder: Path) -> ExportRecord:
        self._write(folder)
        check = self._check(folder)
        speed = self._measure(folder)
        where = _name_of(self.device)
        record = ExportRecord(
            to=self.to,
            run_id=self.report.run_id,
            device=where,
            check=check,
            speed=speed,
            warnings=slow_points(speed, where),
            versions={name: version(name) for name in ("torch", "transformers")},
        )
        write_card(folder, self._facts(record), self.exported.structure)
        write_json(folder / RECORD, record_to_json(record), is_durable=True)
        return record

    def _write(self, folder: Path) -> None:
        spec = self.config.data.spec
        labels = spec.labels if spec.task == "classification" else ()
        if len(labels) != self.exported.config.num_labels:
            labels = ()  # models that write have no classes
        if self.to == "hf":
            write_hf(self.exported, folder, labels=labels)
        elif self.to == "uniform":
            write_uniform(self.exported, folder, labels=labels)
        else:
            sample = self._inputs(self.exported.model, CHECKED_ROWS)[0]
            write_onnx(self.exported.model, self.exported.head_kind, sample, folder)
        self.tokenizer.save_pretrained(folder)

    def _inputs(self, model: nn.Module, batch_size: int) -> list[dict[str, Tensor]]:
        batches = self.loader.sample_batches(batch_size, CHECKED_BATCHES)
        return [forward_inputs(model, batch) for batch in batches]

    def _check(self, folder: Path) -> Comparison:
        check = check_export(
            self.exported.model,
            self._inputs(self.exported.model, CHECKED_ROWS),
            folder,
            to=self.to,
            auto_class=auto_class(self.exported.head_kind),
        )
        if not check.is_equal:
            raise ExportError(
                f"--to {self.to}: reloaded in a fresh process, the logits differ from the trained "
                f"model's by {check.max_difference:.2g} (allowed: {check.limit:.2g}, over "
                f"{check.num_rows} rows); nothing was written"
                + ("" if self.to == "hf" else "; use --to hf")
            )
        return check

    def _measure(self, folder: Path) -> tuple[SpeedPoint, ...]:
        evaluation = self.config.evaluation
        own, dense = self._pair(folder)
        samples = (self._inputs(self.dense.model, size) for size in evaluation.inference_batch_size)
        # A split with few rows gives the same short batch for several sizes.
        by_size = {len(batches[0]["input_ids"]): batches for batches in samples}
        return tuple(
            measure_speed(
                own,
                dense,
                [to_device(batch, self.device) for batch in batches],
                warmup=evaluation.latency_warmup,
                repeats=evaluation.latency_repeats,
            )
            for batches in by_size.values()
        )

    def _pair(self, folder: Path) -> tuple[Answer, Answer]:
        """The export and the unpruned model, both as they would be served."""
        head_kind = self.exported.head_kind
        if self.to == "onnx":
            unpruned = folder / "unpruned"
            sample = self._inputs(self.dense.model, CHECKED_ROWS)[0]
            write_onnx(self.dense.model, head_kind, sample, unpruned)
            own, dense = (
                load_for_answers({"format": "onnx", "folder": str(f)}) for f in (folder, unpruned)
            )
            shutil.rmtree(unpruned)
            return own, dense
        dtype = DTYPES[self.config.hardware.precision]
        loaded = quietly(AUTO_CLASSES[head_kind].from_pretrained, folder, dtype=dtype)
        own, dense = (m.to(self.device, dtype).eval() for m in (loaded, self.dense.model))
        return _caller(own), _caller(dense)

    def _facts(self, record: ExportRecord) -> CardFacts:
        report = self.report
        base = self.config.model.architectures[self.config.model.model_type]
        data = self.config.data.spec
        return CardFacts(
            to=self.to,
            head_kind=self.exported.head_kind,
            auto_class=auto_class(self.exported.head_kind),
            title=f"{report.model} on {report.dataset}, {100 * report.sparsity:.0f}% smaller",
            base_model=base if _is_hub_id(base) else report.model,
            is_on_hub=_is_hub_id(base),
            dataset=f"{report.dataset} ({data.path})" if _is_hub_id(data.path) else report.dataset,
            results=_results(report),
            check=_sentence(record.check),
            speed=[(p.batch_size, p.latency_ms, p.dense_latency_ms) for p in record.speed],
            device=record.device,
            warnings=record.warnings,
        )


def record_to_json(record: ExportRecord) -> dict[str, Any]:
    """A plain dictionary for ``export.json``, with what follows from its numbers."""
    data = asdict(record)
    data["check"] |= {"limit": record.check.limit, "is_equal": record.check.is_equal}
    for point, entry in zip(record.speed, data["speed"], strict=True):
        entry["speedup"] = point.speedup
    return data


def _results(report: RunReport) -> dict[str, float | str]:
    return {
        report.metric_name: report.metric,
        "sparsity of the layers": report.sparsity,
        "parameters of the layers": f"{report.efficiency.num_layer_params:,}",
        "parameters": f"{report.efficiency.num_total_params:,}",
        "method": f"{report.arm} {report.ablation}".strip(),
        "seed": str(report.seed),
        "run": report.run_id,
    }


def _sentence(check: Comparison) -> str:
    return (
        f"Reloaded in a fresh process, its logits on {check.num_rows} rows of the evaluation data "
        f"differ from the trained model's by at most {check.max_difference:.1e}."
    )


def _is_hub_id(path: str) -> bool:
    """Whether a path names something on the hub: folders of this machine stay out of the card."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~", "$"))


def _caller(model: nn.Module) -> Answer:
    return lambda batch: model(**batch)


def _device(to: str) -> torch.device:
    is_gpu = to != "onnx" and torch.cuda.is_available()
    return torch.device("cuda" if is_gpu else "cpu")


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
