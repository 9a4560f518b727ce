import csv
from pathlib import Path

from orchestrator.reports.figure_csv import write_figure_csv
from orchestrator.reports.panels import Content
from orchestrator.reports.run_figures import figures_of_run
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report
from tests.orchestrator.reports.test_panels import PANEL

APT = make_report(Trial("apt", 0.6))


def rows_of(path: Path, contents: list[Content]) -> list[dict[str, str]]:
    write_figure_csv(path, contents, arm="apt 60%", run_id="abc")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_panel_is_a_line_per_point(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", [PANEL]) == [
        {
            "arm": "a",
            "run_id": "1",
            "x_label": "x",
            "x": "0.0",
            "y_label": "y",
            "y": "1.0",
            "y_low": "1.0",
            "y_high": "1.0",
        }
    ]


def test_a_map_is_a_line_per_cell_with_its_own_number(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", list(figures_of_run(APT)[0].contents))
    cells = {(r["quantity"], r["row"], r["column"]): r["value"] for r in rows}
    last = APT.surgeries[-1]
    assert cells["heads", "3", "125"] == str(last["heads"][3])
    assert cells["neurons", "0", "start"] == "3072"
    assert cells["hidden size", "all", "125"] == str(last["hidden_size"])
    assert {(row["arm"], row["run_id"]) for row in rows} == {("apt 60%", "abc")}


def test_a_distribution_is_a_line_per_quantile_and_one_for_its_border(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", list(figures_of_run(APT)[2].contents))
    heads = [row for row in rows if (row["blocks"], row["step"]) == ("heads", "65")]
    assert [row["quantile"] for row in heads][:2] == ["0.0", "0.05"]
    border = APT.surgeries[0]["border"]["head"]
    assert [float(row["value"]) for row in heads[:-1]] == border["quantiles"]
    assert heads[-1]["quantile"] == "most salient cut"
    assert float(heads[-1]["value"]) == border["first_cut"][0]["density"]
