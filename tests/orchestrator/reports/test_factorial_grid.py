from dataclasses import replace

import pytest

from apt_core.report import RunReport
from orchestrator.reports.factorial_grid import factorial_grids, levels_of
from orchestrator.reports.grid import Grid
from orchestrator.reports.records import SweepRecords, UnfinishedTrial, cell_of_report
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

ABLATIONS = (
    *("full", "w/o_Ap", "w/o_AT", "w/o_Ds"),
    *("w/o_Ap+AT", "w/o_Ap+Ds", "w/o_AT+Ds", "w/o_Ap+AT+Ds"),
)


def design(seeds: tuple[int, ...] = (1, 2, 3)) -> list[RunReport]:
    """Pruning costs 3 points, growth gives 1, distillation gives 2, and 1 more if it prunes."""
    runs = []
    for ablation in ABLATIONS:
        prunes, grows, distils = (part not in ablation for part in ("Ap", "AT", "Ds"))
        for seed in seeds:
            metric = 0.9 + 0.001 * seed - 0.03 * prunes + 0.01 * grows + 0.02 * distils
            metric += 0.01 * (prunes and distils)
            runs.append(make_report(Trial("apt", 0.6, seed, ablation), metric=metric))
    return runs


def only_grid(*runs: RunReport, unfinished: tuple[UnfinishedTrial, ...] = ()) -> Grid:
    (grid,) = factorial_grids(build_tables(SweepRecords("sweep", runs, unfinished)))
    return grid


def texts(grid: Grid) -> dict[str, tuple[str, str]]:
    return {label.text: (value.text, reading.text) for label, value, reading in grid.rows}


def test_effects_are_read_from_the_eight_cells() -> None:
    runs = design()
    grid = only_grid(*runs)
    found = texts(grid)
    # The extra point is shared: half to either main effect, half to the interaction.
    assert found["main effect A_P"] == ("-2.50 \u00b1 0.00 (n=3)", "lowers")
    assert found["main effect A_T"] == ("+1.00 \u00b1 0.00 (n=3)", "raises")
    assert found["main effect D_S"] == ("+2.50 \u00b1 0.00 (n=3)", "raises")
    assert found["interaction A_P x D_S"][0] == "+0.50 \u00b1 0.00 (n=3)"
    assert found["interaction A_P x A_T x D_S"][0].lstrip("+-") == "0.00 \u00b1 0.00 (n=3)"
    assert found["A_P + A_T + D_S (apt 60%)"][0].startswith("91.20 \u00b1 ")
    assert len(grid.rows) == 15
    assert set(grid.rows[-1][1].run_ids) == {run.run_id for run in runs}
    assert "3 seeds that ran in all eight cells" in grid.notes[0]


def test_a_failed_cell_is_named() -> None:
    runs = [run for run in design() if run.ablation != "w/o_AT"]
    key = cell_of_report(make_report(Trial("apt", 0.6, ablation="w/o_AT")))
    grid = only_grid(*runs, unfinished=(UnfinishedTrial("x", "failed", "boom", key),))
    assert texts(grid)["main effect A_P"] == ("not run: apt w/o_AT 60%", "unknown")
    assert texts(grid)["A_P + D_S (apt w/o_AT 60%)"][0] == "failed"


def test_one_seed_makes_no_claim_and_different_ones_none_at_all() -> None:
    assert texts(only_grid(*design((1,))))["main effect A_T"] == (
        "+1.00 (n=1)",
        "one seed, no claim",
    )
    runs = design((1,))
    runs[0] = replace(runs[0], seed=2)
    assert texts(only_grid(*runs))["main effect A_T"] == ("no common seed", "unknown")


@pytest.mark.parametrize("left_out", ABLATIONS)
def test_without_all_eight_cells_there_is_no_table(left_out: str) -> None:
    runs = [run for run in design() if run.ablation != left_out]
    assert factorial_grids(build_tables(SweepRecords("sweep", tuple(runs)))) == ()


def test_levels_are_what_an_ablation_leaves_on() -> None:
    assert levels_of("full") == (True, True, True)
    assert levels_of("w/o_Ap+Ds") == (False, True, False)
