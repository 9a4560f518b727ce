from pathlib import Path

from orchestrator.reports.collect import collect
from orchestrator.reports.page import NO_COMMAND, Page, make_page
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_report,
    write_sweep,
    write_trial,
)


def page_of(sweep: Path) -> Page:
    records = collect(sweep)
    tables = build_tables(records)
    return make_page(records, tables, [()] * len(tables))


def test_every_cell_links_to_a_place_with_the_commands_of_its_runs(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, demo_trials())
    write_trial(sweep, Trial("apt", 0.8), status={"state": "FAILED", "reason": "boom"})
    page = page_of(sweep)
    places = {r.anchor: r for section in page.sections for r in section.reruns}
    for grid in page.grids:
        for cell in (cell for row in grid.rows for cell in row if cell.anchor):
            commands = places[cell.anchor].commands
            assert cell.run_ids == tuple(command.run_id for command in commands)
            assert [page.commands[run_id] for run_id in cell.run_ids] == [c.text for c in commands]


def test_tables_have_names_of_their_own(tmp_path: Path) -> None:
    write_sweep(tmp_path, [*demo_trials(), *demo_trials(dataset="rte")])
    names = [grid.name for grid in page_of(tmp_path).grids]
    assert len(names) == len(set(names)) >= 4


def test_a_command_that_was_not_recorded_says_so(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"), report=make_report(Trial("ft"), command=""))
    (rerun,) = page_of(tmp_path).sections[0].reruns
    assert rerun.commands[0].text == NO_COMMAND
