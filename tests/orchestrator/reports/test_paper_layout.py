from dataclasses import replace
from typing import Any

from apt_core.report import RunReport
from orchestrator.reports.grid import Grid
from orchestrator.reports.paper_layout import paper_grids
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, make_report

BENCHMARKS = {
    f"{when}/{task}": 0.5
    for when in ("lm_eval", "lm_eval_before")
    for task in ("arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2")
} | {"lm_eval": 0.5, "lm_eval_before": 0.4}


def grids_of(*reports: RunReport, settings: dict[str, Any] | None = None) -> dict[str, Grid]:
    settings = settings or {}
    tables = build_tables(SweepRecords("sweep", reports, settings=settings))
    return {grid.name: grid for grid in paper_grids(tables, settings)}


def instruction(trial: Trial) -> RunReport:
    return make_report(trial, metric_name="lm_eval", metric=0.5, metrics=BENCHMARKS)


def texts(grid: Grid, label: str) -> dict[str, str]:
    (row,) = (row for row in grid.rows if row[0].text == label)
    return {h.heading: cell.full_text for h, cell in zip(grid.columns, row, strict=True)}


def test_a_sweep_of_the_papers_model_and_data_fills_its_tables() -> None:
    grids = grids_of(*(make_report(trial) for trial in demo_trials()))
    assert list(grids) == [f"paper-{number}-roberta" for number in (2, 4, 8, 10, 11)]
    grid = grids["paper-2-roberta"]
    assert [row[0].text for row in grid.rows] == [
        *("FT", "LoRA", "LoRA+Prune", "Prune+Distill", "LoRA+Prune+Distill", "APT")
    ]
    assert [column.heading for column in grid.columns[:4]] == [
        "method",
        "MNLI",
        "SST2",
        "SQuAD v2 F1",
    ]
    assert grid.source == "Table 2, section 5 of arXiv 2401.12200"
    assert grid.title == "roberta at 60% sparsity: performance and efficiency"
    assert any("one seed, without error bars" in note for note in grid.notes)
    assert any("the paper's numbers came from its authors' code" in note for note in grid.notes)


def test_no_cell_is_blank_and_headings_fit() -> None:
    for grid in grids_of(*(make_report(trial) for trial in demo_trials())).values():
        assert all(len(row) == len(grid.columns) for row in grid.rows)
        assert all(cell.text.strip() for row in grid.rows for cell in row)


def test_another_model_borrows_the_layout_without_the_papers_numbers() -> None:
    trials = [
        replace(trial, model="toy", dataset=dataset)
        for dataset in ("pairs", "words")
        for trial in demo_trials()
    ]
    grids = grids_of(*(make_report(trial) for trial in trials))
    assert list(grids) == [f"paper-{number}-toy" for number in (2, 4, 10, 11)]
    grid = grids["paper-2-toy"]
    assert [column.heading for column in grid.columns[1:4]] == ["pairs", "words", "train time"]
    assert not any(cell.published for row in grid.rows for cell in row)
    assert grid.notes[0] == "Our runs: mode paper."
    assert texts(grid, "Prune+Distill")["pairs"] == "not run"
    assert texts(grid, "APT")["pairs"].endswith("(n=3)")


def test_the_sparsity_is_the_papers_or_else_the_highest() -> None:
    def titles(*sparsities: float) -> str:
        apt = (make_report(Trial("apt", s, model="toy")) for s in sparsities)
        grids = grids_of(make_report(Trial("ft", model="toy")), *apt)
        return grids["paper-2-toy"].title

    assert titles(0.2, 0.6, 0.8).startswith("toy at 60% sparsity")
    assert titles(0.2, 0.45).startswith("toy at 45% sparsity")


def test_ablations_need_an_ablation_and_a_comparison_two_rows() -> None:
    apt = make_report(Trial("apt", 0.6, model="toy"))
    assert grids_of(apt) == {}
    assert list(grids_of(apt, make_report(Trial("ft", model="toy")))) == [
        "paper-2-toy",
        "paper-11-toy",
    ]


def test_models_that_follow_instructions_have_their_own_tables() -> None:
    trials = [
        Trial(arm, sparsity, model="llama", dataset="alpaca")
        for arm, sparsity in (("lora", 0.0), ("llm_pruner", 0.3), ("apt", 0.3))
    ]
    grids = grids_of(*map(instruction, trials))
    assert list(grids) == [f"paper-{number}-llama" for number in (3, 12)]
    grid = grids["paper-3-llama"]
    assert texts(grid, "before tuning")["average"].startswith("40.00 (n=1)")
    assert texts(grid, "before tuning")["train time"] == "not trained"
    assert texts(grid, "LoRA+Prune")["ARC"] == "not run; paper 46.8"
    assert texts(grid, "APT")["inference speed-up"].startswith("1")
    borrowed = grids_of(*(instruction(replace(trial, model="toy")) for trial in trials))
    assert list(borrowed) == ["paper-3-toy", "paper-12-toy"]
    assert "before tuning" not in {row[0].text for row in borrowed["paper-3-toy"].rows}


def test_a_checkpoint_under_another_name_is_the_papers_model() -> None:
    runs = [make_report(Trial(arm, s, model="mine")) for arm, s in (("ft", 0.0), ("apt", 0.6))]
    settings = {
        run.run_id: {
            "model.model_type": "mine",
            "model.architectures.mine": "FacebookAI/roberta-base",
            "data.datasets.sst2.path": "nyu-mll/glue",
        }
        for run in runs
    }
    grid = grids_of(*runs, settings=settings)["paper-2-mine"]
    assert texts(grid, "APT")["SST2"].endswith("; paper 94.5")


def test_a_sweep_without_a_pruned_run_has_no_such_table() -> None:
    assert (
        grids_of(make_report(Trial("ft", model="toy")), make_report(Trial("lora", model="toy")))
        == {}
    )
    assert grids_of() == {}
