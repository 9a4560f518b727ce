import csv
from pathlib import Path

import pytest

from orchestrator.reports.collect import collect
from orchestrator.reports.figures import FigureFiles, draw_planned, plan_figures
from orchestrator.reports.rows import TaskTable, label_of
from orchestrator.reports.styles import make_styles
from orchestrator.reports.tables import build_tables
from orchestrator.reports.tradeoffs import method_of
from tests.orchestrator.reports.synthetic_sweep import Trial, write_sweep, write_trial


def drawn(sweep: Path, **options) -> tuple[TaskTable, list[FigureFiles]]:
    records = collect(sweep)
    (table,) = build_tables(records)
    styles = make_styles({label_of(row.key): method_of(row.key) for row in table.rows})
    planned = plan_figures(table, records, sweep / "figures", styles=styles, **options)
    return table, draw_planned(planned)


def rows_of(figure: FigureFiles) -> list[dict[str, str]]:
    with figure.csv.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskTable, list[FigureFiles]]:
    trials = [Trial("ft"), Trial("lora"), Trial("apt", 0.6, 1), Trial("apt", 0.6, 2)]
    return drawn(write_sweep(tmp_path_factory.mktemp("sweep"), trials), suffix="_x", max_rows=2)


def test_each_figure_is_there_in_every_format_with_its_data_beside_it(sweep) -> None:
    _, figures = sweep
    assert [figure.svg.stem for figure in figures] == [
        "metric_over_time_x",
        "shape_over_steps_x",
        "metric_vs_sparsity_x",
        "inference_tradeoff_x",
        "training_tradeoff_x",
        "pareto_x",
        "ranks_1_x",
        "structure_2_x",
        "ranks_2_x",
        "salience_2_x",
    ]
    assert all(file.stat().st_size for f in figures for file in (f.svg, f.png, f.pdf, f.csv))


def test_the_data_of_points_are_the_rows_means_with_their_spread(sweep) -> None:
    table, figures = sweep
    apt = next(row for row in rows_of(figures[2]) if row["arm"] == "apt 60%")
    expected = table.rows[-1]
    assert expected.sparsity.mean is not None
    assert float(apt["x"]) == pytest.approx(100 * expected.sparsity.mean)
    assert float(apt["y_low"]) < float(apt["y"]) < float(apt["y_high"])
    assert (apt["x_label"], apt["y_label"]) == ("sparsity (%)", "accuracy (%)")


def test_the_papers_figures_have_speed_and_memory_with_units(sweep) -> None:
    _, figures = sweep
    inference = list(dict.fromkeys(row["x_label"] for row in rows_of(figures[3])))
    assert inference == [
        "speed-up over dense, batch size 32 (x)",
        "speed-up over dense, batch size 128 (x)",
        "inference memory, batch size 32 (GiB)",
        "inference memory, batch size 128 (GiB)",
    ]
    training = list(dict.fromkeys(row["x_label"] for row in rows_of(figures[4])))
    assert training == ["training speed over FT (x)", "peak training memory (GiB)"]


def test_figures_of_runs_say_which_run(sweep) -> None:
    table, figures = sweep
    run = table.rows[-1].runs[0]
    assert [figure.about for figure in figures[6:]] == ["lora", "apt 60%", "apt 60%", "apt 60%"]
    assert f"Run {run.run_id}, seed 1." in figures[7].caption
    assert {row["run_id"] for row in rows_of(figures[7])} == {run.run_id}


def test_rows_that_never_got_to_the_target_are_named(tmp_path: Path) -> None:
    _, figures = drawn(write_sweep(tmp_path, [Trial("ft"), Trial("apt", 0.9)]), max_rows=0)
    (training,) = (figure for figure in figures if figure.svg.stem == "training_tradeoff")
    assert "did not get there: apt 90%." in training.caption


def test_a_running_trial_is_in_the_curves_but_not_in_the_means(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("apt", 0.6), status={"state": "RUNNING"}, stop_at=100)
    _, figures = drawn(tmp_path)
    assert [f.svg.stem for f in figures] == ["metric_over_time", "shape_over_steps"]


@pytest.mark.parametrize(("num_runs", "words"), [(3, "diamonds"), (30, "mean of each row")])
def test_the_caption_says_what_is_drawn(tmp_path: Path, num_runs: int, words: str) -> None:
    trials = [Trial("apt", 0.6, seed) for seed in range(num_runs)]
    _, figures = drawn(write_sweep(tmp_path, trials), max_rows=0)
    assert words in figures[0].caption
