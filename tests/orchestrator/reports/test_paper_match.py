from dataclasses import replace
from typing import Any

import pytest

from apt_core.report import RunReport
from orchestrator.reports.grid import Cell
from orchestrator.reports.paper_cells import Sources
from orchestrator.reports.paper_match import Filler
from orchestrator.reports.published import load_published
from orchestrator.reports.records import SweepRecords, UnfinishedTrial, cell_of_report
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import ENVIRONMENT, Trial, make_report

PAPERS = {
    "model.model_type": "roberta",
    "model.architectures.roberta": "FacebookAI/roberta-base",
    "data.dataset": "sst2",
    "data.datasets.sst2.path": "nyu-mll/glue",
    "mode": "paper",
}
A100 = dict(ENVIRONMENT) | {"device": "NVIDIA A100-SXM4-40GB"}


def filler(
    number: int,
    *runs: RunReport,
    unfinished: tuple[UnfinishedTrial, ...] = (),
    settings: dict[str, Any] | None = None,
    by_run: dict[str, Any] | None = None,
) -> Filler:
    known = {run.run_id: PAPERS | (settings or {}) for run in runs} if by_run is None else by_run
    tables = build_tables(SweepRecords("sweep", runs, unfinished, settings=known))
    published = load_published()
    (table,) = (t for t in published.tables if t.number == number)
    return Filler(table, "roberta", "roberta", Sources(tables, known, table.batch_size), published)


def cell(fill: Filler, label: str, heading: str) -> Cell:
    (row,) = (r for r in fill.table.rows if r.label == label and r.model in {"roberta", "bert"})
    (column,) = (c for c in fill.table.columns if c.heading == heading)
    return fill.cell(row, column)


def seeds(trial: Trial, **changes: Any) -> list[RunReport]:
    return [make_report(replace(trial, seed=seed), **changes) for seed in (1, 2, 3)]


def test_the_same_setting_has_the_papers_number_beside_it() -> None:
    apt = seeds(Trial("apt", 0.6), metrics={"accuracy": 0.94})
    found = cell(filler(2, *seeds(Trial("ft")), *apt), "APT", "SST2")
    assert (found.text, found.published, found.notes) == ("94.00 \u00b1 0.00 (n=3)", "94.5", ())
    assert found.run_ids == tuple(run.run_id for run in apt)


def test_what_weakens_a_number_is_a_footnote_of_it() -> None:
    apt = seeds(Trial("apt", 0.6), environment=A100)
    apt[2] = replace(apt[2], environment=A100 | {"cpu_count": 4})
    apt[1] = replace(apt[1], environment=A100 | {"cpu_count": 8})
    failed = UnfinishedTrial("lost", "failed", "boom", cell_of_report(apt[0]))
    fill = filler(2, *seeds(Trial("ft"), environment=A100), *apt, unfinished=(failed,))
    score, memory = cell(fill, "APT", "SST2"), cell(fill, "APT", "train memory")
    assert "Mind: 1 failed." in score.notes
    assert not any("hardware" in note for note in score.notes)
    assert {"Mind: 1 failed.", "Mind: mixed hardware: cpu_count."} <= {*memory.notes}
    assert not any("Mind" in note for note in cell(fill, "FT", "SST2").notes)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model.architectures.roberta": "mine/tiny"}, "the model is tiny"),
        ({"data.eval_rows": 100}, "data.eval_rows leaves rows out"),
    ],
)
def test_another_setting_leaves_the_papers_number_out_and_says_why(
    settings: dict[str, Any], reason: str
) -> None:
    found = cell(filler(2, *seeds(Trial("apt", 0.6)), settings=settings), "APT", "SST2")
    assert found.published == ""
    assert found.notes == (f"The paper's number is left out: {reason}.",)


def test_what_was_not_run_says_so_beside_the_papers_number() -> None:
    fill = filler(2, *seeds(Trial("apt", 0.6)))
    found = cell(fill, "APT", "MNLI")
    assert (found.full_text, found.is_missing) == ("not run; paper 86.4", True)
    assert cell(fill, "APT", "CNN/DM R-1").full_text == "not run"
    failed = UnfinishedTrial("x", "failed", "boom", cell_of_report(make_report(Trial("lora"))))
    fill = filler(2, *seeds(Trial("ft")), unfinished=(failed,))
    assert cell(fill, "LoRA", "SST2").full_text == "failed; paper 95.1"


def test_another_sparsity_is_another_cell() -> None:
    assert cell(filler(2, *seeds(Trial("apt", 0.4))), "APT", "SST2").text == "not run"


def test_what_no_arm_does_says_so() -> None:
    runs = seeds(Trial("apt", 0.5))
    assert cell(filler(7, *runs), "MaP, density 50%", "MNLI").full_text == (
        "no such arm here; paper 83.6"
    )
    assert cell(filler(7, *runs), "MaP, density 50%", "average").text == "no such arm here"


def test_the_papers_ablations_come_first_and_others_are_told() -> None:
    near = seeds(Trial("apt", 0.6, ablation="w/o_Ds"))
    found = cell(filler(4, *near), "w/o D_S", "SST2")
    assert found.published == ""
    assert "w/o_Ds is not the paper's ablation" in found.notes[0]
    exact = seeds(Trial("apt", 0.6, ablation="paper:w/o_Ds"), metrics={"accuracy": 0.9})
    found = cell(filler(4, *near, *exact), "w/o D_S", "SST2")
    assert (found.text, found.published) == ("90.00 \u00b1 0.00 (n=3)", "92.9")


def test_several_variants_are_not_chosen_from() -> None:
    runs = seeds(Trial("apt", 0.6))
    by_run = {
        run.run_id: PAPERS | {"training.learning_rate": rate}
        for run, rate in zip(runs, (1e-4, 2e-4, 2e-4), strict=True)
    }
    found = cell(filler(2, *runs, by_run=by_run), "APT", "SST2")
    assert (found.text, found.is_missing) == ("2 variants: see the results", True)


def test_measured_numbers_stand_beside_the_papers_on_its_machine_and_batch_only() -> None:
    cpu = filler(11, *seeds(Trial("ft")))
    found = cell(cpu, "FT", "train memory (MB)")
    assert found.published == ""
    assert "the machine is cpu, the paper's an A100" in found.notes[-1]
    assert cell(cpu, "FT", "sparsity").published == "0%"
    gpu = filler(11, *seeds(Trial("ft"), environment=A100))
    assert cell(gpu, "FT", "train memory (MB)").published == "2,696"
    assert cell(gpu, "FT", "inference time (ms)").published == "220.8"
    runs = seeds(Trial("ft"), environment=A100)
    small = [
        replace(run, efficiency=replace(run.efficiency, inference=run.efficiency.inference[:1]))
        for run in runs
    ]
    found = cell(filler(11, *small), "FT", "inference time (ms)")
    assert "inference is at batch 32 here, at 128 there" in found.notes[-1]


def test_contradictions_stand_by_the_number_that_they_are_about() -> None:
    gpu = seeds(Trial("lora"), environment=A100)
    told = cell(filler(2, *seeds(Trial("ft"), environment=A100), *gpu), "LoRA", "inference time")
    assert told.published == "100%"
    assert any("181.8 ms" in note for note in told.notes)
    left_out = cell(filler(2, *seeds(Trial("ft")), *seeds(Trial("lora"))), "LoRA", "inference time")
    assert not any("181.8 ms" in note for note in left_out.notes)


def test_ratios_say_what_they_are_relative_to() -> None:
    fill = filler(2, *seeds(Trial("ft")), *seeds(Trial("apt", 0.6)))
    found = cell(fill, "APT", "train time")
    assert any("Each run over the mean of ft" in note for note in found.notes)
    assert any("evaluations and the training of an outside teacher" in n for n in found.notes)
    assert found.text.endswith("% (n=3)")
