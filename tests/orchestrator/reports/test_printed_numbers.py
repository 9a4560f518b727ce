"""Printed numbers, recomputed from the result files without the report's code."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from scipy import stats

from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    build_without_figures,
    demo_trials,
    write_sweep,
    write_trial,
)

Files = Sequence[dict[str, Any]]
CELLS = {
    "ft": ("ft", "full", 0.0),
    "lora": ("lora", "full", 0.0),
    "apt 40%": ("apt", "full", 0.4),
    "apt 60%": ("apt", "full", 0.6),
    "apt w/o_Ap": ("apt", "w/o_Ap", 0.6),
    "apt w/o_AT 60%": ("apt", "w/o_AT", 0.6),
    "apt w/o_Ds 60%": ("apt", "w/o_Ds", 0.6),
}
METHODS = {"FT": "ft", "LoRA": "lora", "APT": "apt 60%"}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "demo", demo_trials(seeds=(1, 2, 3, 4)))
    write_trial(sweep, Trial("lora_prune", 0.6), status={"state": "RUNNING"}, stop_at=40)
    build_without_figures(sweep)
    return sweep


@pytest.fixture(scope="module")
def cells(sweep: Path) -> dict[tuple[str, str, str], str]:
    lines = pq.read_table(sweep / "report" / "cells.parquet").to_pylist()
    return {(line["table"], line["row"], line["column"]): line["text"] for line in lines}


@pytest.fixture(scope="module")
def files(sweep: Path) -> dict[str, Files]:
    found = [json.loads(path.read_text()) for path in sweep.glob("trials/*/result.json")]
    return {
        label: sorted(
            (f for f in found if (f["arm"], f["ablation"], f["target_sparsity"]) == key),
            key=lambda f: f["seed"],
        )
        for label, key in CELLS.items()
    }


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def half(values: Sequence[float]) -> float:
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def measured(values: Sequence[float], digits: int, unit: str = "") -> str:
    return f"{mean(values):.{digits}f}{unit} \u00b1 {half(values):.{digits}f}{unit}"


def efficiency(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda file: float(file["efficiency"][name])


def inference(index: int, name: str) -> Callable[[dict[str, Any]], float]:
    return lambda file: float(file["efficiency"]["inference"][index][name])


def read(files: Files, of: Callable[[dict[str, Any]], float]) -> list[float]:
    return [of(file) for file in files]


def test_the_results_table(cells: dict[tuple[str, str, str], str], files: dict[str, Files]) -> None:
    ft = [100 * f["metric"] for f in files["ft"]]
    for label, own in files.items():
        assert len(own) == 4

        def text(column: str, label: str = label) -> str:
            return cells["results-roberta_on_sst2", label, column]

        metric = [100 * f["metric"] for f in own]
        sparsity = read(own, lambda f: 100 * f["sparsity"])
        assert text("accuracy (%)") == f"{mean(metric):.2f} \u00b1 {half(metric):.2f} (n=4)"
        assert text("sparsity") == f"{mean(sparsity):.1f}%"
        assert text("density") == f"{100 - mean(sparsity):.1f}%"
        params = mean(read(own, efficiency("num_layer_params")))
        assert text("layer params") == f"{params / 1e6:.2f} M"
        assert text("train time") == measured(read(own, lambda f: f["train_time_s"]), 1, " s")
        memory = read(own, efficiency("peak_train_memory_gib"))
        assert text("peak memory") == measured(memory, 2, " GiB")
        for index, size in enumerate((32, 128)):
            dense = read(own, inference(index, "dense_latency_ms"))
            latency = read(own, inference(index, "latency_ms"))
            ratios = list(np.array(dense) / np.array(latency))
            assert text(f"speed-up, batch {size}") == measured(ratios, 2, "x")
        if label == "ft":
            continue
        difference = np.array(metric) - np.array(ft)
        ratio = 100 * mean(metric) / mean(ft)
        assert text("vs FT (points)") == f"{ratio:.1f}% ({mean(difference):+.2f})"
        samples = np.array(np.meshgrid(*[difference] * 4)).reshape(4, -1).mean(axis=0)
        low, high = np.percentile(samples, [2.5, 97.5])
        p = stats.ttest_rel(metric, ft).pvalue
        p_text = "p<0.001" if p < 1e-3 else f"p={p:.3f}"
        assert text("vs FT, seed by seed").startswith(
            f"{mean(difference):+.2f} [{low:+.2f}, {high:+.2f}], t: {p_text}, n=4: "
        )


def test_the_details_table(cells: dict[tuple[str, str, str], str], files: dict[str, Files]) -> None:
    memories = {
        label: np.array(read(own, efficiency("peak_train_memory_gib")))
        for label, own in files.items()
    }
    for label, own in files.items():

        def text(column: str, label: str = label) -> str:
            return cells["details-roberta_on_sst2", label, column]

        total = mean(read(own, efficiency("num_total_params")))
        assert text("all params") == f"{total / 1e6:.2f} M"
        macs = mean(read(own, efficiency("macs_per_sample")))
        assert text("MACs per sample") == f"{macs / 1e9:.2f} G"
        assert text("evaluation time") == measured(read(own, lambda f: f["eval_time_s"]), 1, " s")
        for heading, reference in (("memory vs FT", "ft"), ("memory vs LoRA", "lora")):
            over = list(100 * memories[label] / np.mean(memories[reference]))
            assert text(heading) == measured(over, 1, "%")
        for index, size in enumerate((32, 128)):
            latency = read(own, inference(index, "latency_ms"))
            assert text(f"latency, batch {size}") == measured(latency, 2, " ms")
            memory = [1024 * gib for gib in read(own, inference(index, "peak_memory_gib"))]
            assert text(f"inference memory, batch {size}") == measured(memory, 1, " MiB")


def test_tables_in_the_papers_layout(
    cells: dict[tuple[str, str, str], str], files: dict[str, Files]
) -> None:
    target = 0.97 * mean([max(p["metric"] for p in f["history"]) for f in files["ft"]])

    def first(file: dict[str, Any], sparsity: float) -> float:
        good = [
            p["train_time_s"] + p["eval_time_s"]
            for p in file["history"]
            if round(p["metric"], 3) >= target and p["sparsity"] >= sparsity - 0.01
        ]
        return float(good[0])

    def with_half(values: list[float], digits: int, unit: str = "") -> str:
        return f"{mean(values):.{digits}f} \u00b1 {half(values):.{digits}f}{unit} (n=4)"

    seconds = {
        label: [first(f, 0.6 if label == "apt 60%" else 0.0) for f in files[label]]
        for label in METHODS.values()
    }
    for method, label in METHODS.items():
        memory = [1024 * value for value in read(files[label], efficiency("peak_train_memory_gib"))]
        base = mean([1024 * v for v in read(files["ft"], efficiency("peak_train_memory_gib"))])
        raw = ("paper-11-roberta", method)
        assert cells[*raw, "97% TTA (s)"] == with_half(seconds[label], 1)
        assert cells[*raw, "train memory (MB)"] == with_half(memory, 0)
        latency = read(files[label], inference(1, "latency_ms"))
        assert cells[*raw, "inference time (ms)"] == with_half(latency, 1)
        relative = ("paper-2-roberta", method)
        over = [100 * value / base for value in memory]
        assert cells[*relative, "train memory"] == with_half(over, 1, "%")
        times = [100 * value / mean(seconds["ft"]) for value in seconds[label]]
        assert cells[*relative, "train time"] == with_half(times, 1, "%")
    assert cells["paper-2-roberta", "LoRA+Prune", "train time"] == "running"
    assert cells["paper-2-roberta", "Prune+Distill", "train time"] == "not run"


def test_markdown_renders_and_its_links_lead_somewhere(sweep: Path) -> None:
    source = (sweep / "report" / "report.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable("table").render(source)
    tables = re.findall(r"<table>.*?</table>", html, re.DOTALL)
    assert len(tables) == 2 + 5
    assert not any("|" in re.sub(r"<[^>]+>", "", table) for table in tables)
    anchors = re.findall(r'<a id="([^"]+)">', html)
    assert len(anchors) == len(set(anchors))
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links
    assert links <= set(anchors)
    outside = re.sub(r"<table>.*?</table>|<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert not re.search(r"^\s*\|", outside, re.MULTILINE)
