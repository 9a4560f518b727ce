from dataclasses import replace
from typing import Any

import pytest

from apt_core.report import RunReport
from orchestrator.reports.paper_cells import (
    Sources,
    average_cell,
    cell_of,
    inference_batch,
    metric_by_seed,
)
from orchestrator.reports.published import PaperColumn
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import Row, label_of
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

SEEDS = (1, 2)


def sources_of(*runs: RunReport, settings: dict[str, Any] | None = None) -> Sources:
    tables = build_tables(SweepRecords("sweep", runs, settings=settings or {}))
    return Sources(tables, settings or {}, 128)


def row_of(sources: Sources, label: str, dataset: str = "sst2") -> Row:
    return {label_of(row.key): row for row in sources.rows("roberta", dataset)}[label]


def with_memory(trial: Trial, gib: float) -> RunReport:
    run = make_report(trial)
    return replace(run, efficiency=replace(run.efficiency, peak_train_memory_gib=gib))


def text(sources: Sources, label: str, column: PaperColumn) -> str:
    reference = next((r for r in sources.rows("roberta", "sst2") if r.key.arm == "ft"), None)
    return cell_of(row_of(sources, label), reference, column, sources, is_before=False).text


MEMORY = PaperColumn("m", "train_memory", "sst2")


def test_ratios_are_over_the_mean_of_the_reference() -> None:
    ft = [with_memory(Trial("ft", seed=seed), gib) for seed, gib in zip(SEEDS, (3, 5), strict=True)]
    apt = [with_memory(Trial("apt", 0.6, s), gib) for s, gib in zip(SEEDS, (2, 4), strict=True)]
    sources = sources_of(*ft, *apt)
    # 2 and 4 over 4: 50% and 100%; half the interval of two is 12.7062 times half of 50.
    ratio = replace(MEMORY, shown_as="ratio")
    assert text(sources, "apt 60%", ratio) == "75.0 \u00b1 317.7% (n=2)"
    inverse = replace(MEMORY, shown_as="inverse")
    # 4 over 2 and 4 over 4.
    assert text(sources, "apt 60%", inverse) == "150.0 \u00b1 635.3% (n=2)"
    assert text(sources, "apt 60%", MEMORY) == f"{3 * 1024} \u00b1 {12.7062 * 1024:.0f} (n=2)"


def test_what_is_missing_says_why() -> None:
    lora = make_report(Trial("lora"), history=())
    sources = sources_of(make_report(Trial("ft")), lora)
    cell = cell_of(None, None, MEMORY, sources, is_before=False)
    assert (cell.text, cell.is_missing) == ("not run", True)
    assert text(sources, "lora", PaperColumn("t", "time_to_target", "sst2")) == "not measured"
    assert text(sources, "lora", PaperColumn("r", "metric", "sst2", "rouge1")) == "not measured"
    alone = sources_of(make_report(Trial("lora")))
    assert text(alone, "lora", replace(MEMORY, shown_as="ratio")) == "nothing to compare to"
    late = make_report(Trial("apt", 0.6))
    late = replace(late, history=tuple(replace(p, metric=0.1) for p in late.history))
    sources = sources_of(make_report(Trial("ft")), late)
    assert text(sources, "apt 60%", PaperColumn("t", "time_to_target", "sst2")) == "not reached"


def test_time_per_epoch_needs_a_number_of_epochs() -> None:
    run = make_report(Trial("ft"))
    column = PaperColumn("t", "train_time_per_epoch", "sst2")
    known = {run.run_id: {"training.num_epochs": 4.0, "training.max_steps": None}}
    assert (
        text(sources_of(run, settings=known), "ft", column) == f"{run.train_time_s / 4:.1f} (n=1)"
    )
    steps = {run.run_id: {"training.num_epochs": 4.0, "training.max_steps": 100}}
    assert text(sources_of(run, settings=steps), "ft", column) == "not measured"


def test_inference_is_shown_at_the_wanted_batch_or_the_largest() -> None:
    row = row_of(sources_of(make_report(Trial("ft"))), "ft")
    assert (inference_batch(row, 32), inference_batch(row, 4)) == (32, 128)
    assert inference_batch(replace(row, inference={}), 4) is None


def test_benchmarks_of_the_untuned_model_are_read_from_the_tuned_ones_run() -> None:
    metrics = {
        "lm_eval/mmlu": 0.5,
        "lm_eval_before/mmlu": 0.25,
        "lm_eval": 0.4,
        "lm_eval_before": 0.2,
    }
    run = make_report(Trial("lora"), metrics=metrics)
    row = row_of(sources_of(run), "lora")
    assert metric_by_seed(row, "lm_eval/mmlu") == {1: 50.0}
    assert metric_by_seed(row, "lm_eval/mmlu", is_before=True) == {1: 25.0}
    assert metric_by_seed(row, "lm_eval", is_before=True) == {1: 20.0}


def test_an_average_is_taken_seed_by_seed_and_only_of_all_datasets() -> None:
    values = {("sst2", 1): 0.9, ("sst2", 2): 0.8, ("rte", 1): 0.7, ("rte", 2): 0.5, ("rte", 3): 0.1}
    runs = [
        make_report(Trial("ft", seed=seed, dataset=dataset), metrics={"accuracy": value})
        for (dataset, seed), value in values.items()
    ]
    sources = sources_of(*runs)
    parts = [
        (row_of(sources, "ft", dataset), PaperColumn(dataset, "metric", dataset, "accuracy"))
        for dataset in ("sst2", "rte")
    ]
    cell = average_cell(parts, 2, is_before=False)
    # Seeds 1 and 2: (90 + 70) / 2 = 80 and (80 + 50) / 2 = 65.
    assert cell.stat.values == pytest.approx((80.0, 65.0))
    assert cell.text.startswith("72.50 \u00b1 ")
    assert len(cell.run_ids) == 5
    assert average_cell(parts, 3, is_before=False).text == "2 of 3 run"
    assert average_cell([], 3, is_before=False).text == "not run"
    other = replace(runs[-1], run_id="x", seed=9, dataset="mnli")
    third = (row_of(sources_of(other), "ft", "mnli"), PaperColumn("m", "metric", "mnli"))
    assert average_cell([*parts, third], 3, is_before=False).text == "no common seed"
