import csv
from pathlib import Path

import pytest

from orchestrator.reports.collect import collect
from orchestrator.reports.drawing import make_styles
from orchestrator.reports.figures import draw_figures
from orchestrator.reports.rows import label_of
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, write_sweep, write_trial


def test_each_figure_has_its_data_beside_it(tmp_path: Path) -> None:
    trials = [Trial("ft"), Trial("lora"), Trial("apt", 0.6, 1), Trial("apt", 0.6, 2)]
    records = collect(write_sweep(tmp_path, trials))
    (table,) = build_tables(records)
    styles = make_styles(label_of(row.key) for row in table.rows)
    figures = draw_figures(table, records, tmp_path / "figures", styles=styles, suffix="_x")
    assert [figure.svg.name for figure in figures] == [
        "metric_over_time_x.svg",
        "shape_over_steps_x.svg",
        "metric_vs_sparsity_x.svg",
        "metric_vs_speedup_x.svg",
    ]
    assert all(file.stat().st_size for f in figures for file in (f.svg, f.png, f.csv))

    rows = list(csv.DictReader(figures[2].csv.open()))
    apt = next(row for row in rows if row["arm"] == "apt 60%")
    expected = table.rows[-1]
    assert expected.sparsity.mean is not None
    assert float(apt["x"]) == pytest.approx(100 * expected.sparsity.mean)
    assert expected.metric.min_max is not None
    assert float(apt["y_low"]) == pytest.approx(100 * expected.metric.min_max[0])
    assert (apt["x_label"], apt["y_label"]) == ("sparsity (%)", "accuracy (%)")


def test_a_running_trial_is_in_the_curves_but_not_in_the_means(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("apt", 0.6), status={"state": "RUNNING"}, stop_at=100)
    records = collect(tmp_path)
    (table,) = build_tables(records)
    styles = make_styles(label_of(row.key) for row in table.rows)
    figures = draw_figures(table, records, tmp_path / "figures", styles=styles)
    assert [f.svg.stem for f in figures] == ["metric_over_time", "shape_over_steps"]


@pytest.mark.parametrize(("num_runs", "words"), [(3, "diamonds"), (30, "mean of each row")])
def test_the_caption_says_what_is_drawn(tmp_path: Path, num_runs: int, words: str) -> None:
    trials = [Trial("apt", 0.6, seed) for seed in range(num_runs)]
    records = collect(write_sweep(tmp_path, trials))
    (table,) = build_tables(records)
    styles = make_styles(["apt 60%"])
    figure = draw_figures(table, records, tmp_path / "figures", styles=styles)[0]
    assert words in figure.caption
