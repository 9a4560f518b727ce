import json
import math
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from apt_core.errors import DataError
from orchestrator.execution.local_node import num_local_cpus
from orchestrator.reports.render import build_report
from tests.nightly import nightly
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_report,
    write_504_trials,
    write_sweep,
    write_trial,
)


class Page(HTMLParser):
    """What a test asks of a page: texts by tag, references, headings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.open_tags: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    @property
    def outside(self) -> set[str]:
        """References that lead out of the page."""
        return {reference for reference in self.references if not reference.startswith("#")}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open_tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "data", "action", "srcset"}:
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        while self.open_tags and self.open_tags.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open_tags:
            self.texts.setdefault(self.open_tags[-1], []).append(data)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's grid, one trial failed, one running, one torn."""
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "demo", demo_trials(seeds=(1, 2)))
    failed = {"state": "FAILED", "reason": "<script>alert('boom')</script> | pipe"}
    write_trial(sweep, Trial("apt", 0.6, 3), status=failed, stop_at=90)
    write_trial(sweep, Trial("apt", 0.8, 1), status={"state": "RUNNING"}, stop_at=50)
    (write_trial(sweep, Trial("lora", seed=3)) / "result.json").write_text('{"torn')
    build_report(sweep)
    return sweep


@pytest.fixture(scope="module")
def page(sweep: Path) -> Page:
    return Page(sweep / "report" / "report.html")


def test_the_report_is_where_it_says(tmp_path: Path) -> None:
    paths = build_report(write_sweep(tmp_path / "demo", [Trial("ft")]), tmp_path / "elsewhere")
    assert paths.html == tmp_path / "elsewhere" / "report.html"
    assert all(p.is_file() for p in (paths.html, paths.markdown, paths.csv, *paths.figures))
    assert len(paths.figures) == 6
    assert not (tmp_path / "demo" / "report").exists()


def test_the_page_loads_nothing_from_anywhere(page: Page) -> None:
    assert page.references
    assert page.outside <= {"data:,"}  # the empty icon: no browser asks for another
    assert "http://" not in page.source
    assert "https://" not in page.source
    assert "@import" not in page.source
    assert "default-src 'none'" in page.source


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    inside = set(page.references) - page.outside
    assert {reference[1:] for reference in inside} <= set(page.ids)


def test_the_page_has_every_section(sweep: Path, page: Page) -> None:
    headings = page.texts["h2"] + page.texts["h3"]
    for heading in ("Warnings", "roberta on sst2", "Figures", "Settings", "Environment"):
        assert heading in headings
    assert "Common to all runs" in headings
    assert page.source.count("<svg") == len(list((sweep / "report" / "figures").glob("*.svg"))) > 6


def test_texts_from_runs_are_escaped(page: Page) -> None:
    assert "<script>alert" not in page.source
    assert "&lt;script&gt;alert(" in page.source


def test_each_run_has_the_command_that_repeats_it(sweep: Path, page: Page) -> None:
    commands = [make_report(trial).command for trial in demo_trials(seeds=(1, 2))]
    assert all(command in page.texts["code"] for command in commands)
    markdown = (sweep / "report" / "report.md").read_text()
    assert all(f"```\n{command}\n```" in markdown for command in commands)


def test_a_run_without_a_command_says_so(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"), report=make_report(Trial("ft"), command=""))
    assert "not recorded" in Page(build_report(tmp_path).html).texts["code"]


def test_missing_runs_are_told_in_the_table_the_warnings_and_the_markdown(
    sweep: Path, page: Page
) -> None:
    cells = [text.strip() for text in page.texts["td"]]
    assert "2 of 3 (1 failed)" in cells
    assert "2 of 3 (1 unreadable)" in cells
    assert cells.count("running") > 8
    assert any("3 of 17 trials have no result" in text for text in page.texts["li"])
    markdown = (sweep / "report" / "report.md").read_text()
    assert "14 of 17 trials finished. Mode: paper." in markdown
    assert "| [apt 80%](#runs-roberta-sst2-apt_80) | running | running |" in markdown


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_heading(sweep: Path) -> None:
    markdown = (sweep / "report" / "report.md").read_text()
    for block in markdown.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.replace(r"\|", "").count("|") for row in rows}) <= 1
    assert markdown.count("| :---") >= 2


def test_numbers_of_the_page_agree_with_the_result_files(sweep: Path, page: Page) -> None:
    files = [
        json.loads(path.read_text()) for path in sweep.glob("trials/*apt-full-0.4*/result.json")
    ]
    metrics = sorted(100 * file["metric"] for file in files)
    # Of two values half the interval is t(0.975, 1) = tan(0.475 pi) times half their distance.
    half = math.tan(0.475 * math.pi) * (metrics[1] - metrics[0]) / 2
    text = f"{sum(metrics) / 2:.2f} \u00b1 {half:.2f} (n=2)"
    assert text in [cell.strip() for cell in page.texts["td"]]


def test_a_sweep_without_a_finished_trial_still_reports(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"), status={"state": "FAILED", "reason": "boom"}, stop_at=0)
    paths = build_report(tmp_path)
    assert paths.figures == ()
    assert "no run has logged anything to draw" in paths.html.read_text()


def test_a_sweep_without_trials_still_reports(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    assert "No trial has been started." in build_report(tmp_path).markdown.read_text()


def test_a_trial_without_a_config_is_listed(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("ft"), status={"state": "FAILED", "reason": "boom"})
    (folder / "config.json").unlink()
    page = Page(build_report(tmp_path).html)
    assert "Trials without a readable config" in page.texts["h2"]
    assert folder.name in page.source


def test_a_folder_that_is_no_sweep_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trials/ folder"):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_sweep_gives_the_same_report(sweep: Path, tmp_path: Path) -> None:
    again = build_report(sweep, tmp_path)
    for path in (again.html, again.markdown, again.csv):
        assert path.read_bytes() == (sweep / "report" / path.name).read_bytes()


@nightly("draws 24 figures")
def test_504_trials_render_within_30_seconds(tmp_path: Path) -> None:
    write_504_trials(tmp_path)
    start = time.monotonic()
    paths = build_report(tmp_path, max_processes=num_local_cpus())  # as `aptune report` does
    assert time.monotonic() - start < 30
    # Six over all rows of each table; with four tables no figures of single runs.
    assert len(paths.figures) == 4 * 6
