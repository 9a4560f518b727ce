from pathlib import Path

from orchestrator.reports.collect import collect
from orchestrator.reports.page import make_page
from orchestrator.reports.tables import build_tables
from orchestrator.reports.time_spent import WAITING_TEXT, goodput_grid, run_time_grid
from orchestrator.traces import Record
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report, write_trial
from tests.orchestrator.test_goodput import LAUNCH, TRIAL, sum_up
from tests.orchestrator.test_traces import begin, end, write


def test_the_goodput_comes_first_and_the_greatest_loss_next() -> None:
    goodput = sum_up(LAUNCH, [TRIAL])
    assert goodput is not None
    grid = goodput_grid(goodput)
    assert grid.title == "Where the time went: 2 slots x 1 min 40 s"
    texts = [[cell.text for cell in row] for row in grid.rows]
    assert texts[:2] == [["training steps", "30.0 s", "15.0%"], ["empty slots", "88.0 s", "44.0%"]]
    assert sum(row[1].value for row in grid.rows if isinstance(row[1].value, int | float)) == 200


def test_one_runs_time_stands_in_the_order_of_its_life_beside_what_it_waited() -> None:
    texts = [[cell.text for cell in row] for row in run_time_grid(TRIAL).rows]
    assert texts[0] == [WAITING_TEXT, "7.0 s", "-"]
    assert texts[1] == ["training steps", "30.0 s", "50.0%"]  # of 60 s, in which it held a slot
    assert run_time_grid(Record()).rows == ()


def test_a_report_has_the_table_exactly_if_there_are_traces(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("ft"))

    def tables() -> list[str]:
        records = collect(tmp_path)
        built = build_tables(records)
        return [grid.name for grid in make_page(records, built, [()] * len(built)).grids]

    assert "goodput" not in tables()
    trials = begin("trials", 1, args={"slots": 1}), end("trials", 9)
    write(tmp_path / "trace.json", begin("launch", 0), *trials, end("launch", 10))
    write(folder / "trace.json", begin("training", 2), end("training", 7))
    assert "goodput" in tables()
    assert folder.name == make_report(Trial("ft")).run_id
