"""`report.html` as a reader uses it: in a real browser, with mouse and keyboard."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.reports.render import build_report
from tests.orchestrator.reports.browser import DESKTOP, PHONE, Watched, open_browser
from tests.orchestrator.reports.synthetic_sweep import (
    ENVIRONMENT,
    Trial,
    demo_trials,
    make_config,
    make_report,
    write_sweep,
    write_trial,
)

pytestmark = pytest.mark.browser
SECTION = "#roberta_on_sst2"
TABLE = f"{SECTION} table.sortable >> nth=0"
ROWS = f"{SECTION} .scroll >> nth=0 >> tbody tr:visible"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that must be marked: one seed, failed, running, other hardware, other mode."""
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "demo", demo_trials())
    write_trial(sweep, Trial("apt", 0.8, 1))
    write_trial(sweep, Trial("apt", 0.9, 1), status={"state": "RUNNING"}, stop_at=50)
    failed = {"state": "FAILED", "reason": "OutOfMemoryError"}
    write_trial(sweep, Trial("apt", 0.7, 1), status=failed, stop_at=90)
    official = make_config(Trial("apt", 0.5, 1)) | {"mode": "official"}
    elsewhere = make_report(Trial("apt", 0.5, 1), environment=ENVIRONMENT | {"device": "H100"})
    write_trial(sweep, Trial("apt", 0.5, 1), report=elsewhere, config=official)
    write_trial(sweep, Trial("lora", 0.0, 1, dataset="rte"))
    return build_report(sweep).html


@pytest.fixture
def watched(browser, report: Path):
    """The page at desktop width; nothing may go wrong on it, nothing be asked for."""
    watched = Watched(browser)
    watched.open(report)
    yield watched
    assert watched.complaints == []
    assert {url.partition(":")[0] for url in watched.requests} <= {"file", "data"}
    watched.page.close()


@pytest.fixture
def page(watched):
    return watched.page


def names(page) -> list[str]:
    texts = page.locator(ROWS).locator("th").all_inner_texts()
    return [text.removesuffix("!").strip() for text in texts]


def column(page, heading: str) -> list[str]:
    headings = page.locator(TABLE).locator("thead th").all_inner_texts()
    place = [text.strip().rstrip("\u25b2\u25bc ") for text in headings].index(heading)
    rows = page.locator(ROWS).all()
    return [row.locator("th, td").nth(place).inner_text() for row in rows]


def first_numbers(texts: list[str]) -> list[float]:
    return [float(found.group()) for text in texts if (found := re.match(r"[-+]?[\d.]+", text))]


def test_a_click_sorts_up_then_down_then_as_it_was(page) -> None:
    button = page.locator(TABLE).locator("thead button", has_text="accuracy")
    heading = page.locator(TABLE).locator("thead th", has_text="accuracy")
    before = names(page)
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    numbers = first_numbers(column(page, "accuracy (%)"))
    assert numbers == sorted(numbers)
    assert len(numbers) >= 8
    # What has no number stays at the end, whichever way.
    assert column(page, "accuracy (%)")[-2:] == ["failed", "running"]
    button.click()
    numbers = first_numbers(column(page, "accuracy (%)"))
    assert numbers == sorted(numbers, reverse=True)
    assert column(page, "accuracy (%)")[-1] in {"failed", "running"}
    button.click()
    assert heading.get_attribute("aria-sort") is None
    assert names(page) == before


def test_the_keyboard_sorts_and_says_so(page) -> None:
    page.locator(TABLE).locator("thead button", has_text="sparsity").focus()
    page.keyboard.press("Enter")
    numbers = first_numbers(column(page, "sparsity"))
    assert numbers == sorted(numbers)
    assert page.locator("#said").inner_text() == "sorted by sparsity, ascending"
    page.keyboard.press("Space")
    numbers = first_numbers(column(page, "sparsity"))
    assert numbers == sorted(numbers, reverse=True)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_filter_keeps_rows_with_all_words_and_what_belongs_to_them(page) -> None:
    box = page.locator(f"{SECTION} .filter input")
    total = len(names(page))
    box.fill("apt 60% -w/o")
    assert names(page) == ["apt 60%"]
    assert page.locator(f"{SECTION} .filter output").inner_text() == f"1 of {total} rows"
    details = page.locator(f"{SECTION} .scroll >> nth=1 >> tbody tr:visible")
    [name] = details.locator("th").all_inner_texts()
    assert name.removesuffix("!").strip() == "apt 60%"
    assert page.locator(f"{SECTION} details[data-row]:visible summary").all_inner_texts() == [
        "apt 60%"
    ]
    box.press("Escape")
    assert len(names(page)) == total
    box.fill("no such row")
    assert names(page) == []


def test_every_link_leads_somewhere(page) -> None:
    targets = page.eval_on_selector_all(
        "a[href]", "links => links.map(link => link.getAttribute('href'))"
    )
    assert len(targets) > 20
    assert all(target.startswith("#") for target in targets)
    missing = page.evaluate(
        "targets => targets.filter(t => document.getElementById(decodeURIComponent(t.slice(1)))"
        " === null)",
        targets,
    )
    assert missing == []


def test_a_rows_name_leads_to_its_commands_even_when_folded_or_filtered(page) -> None:
    link = page.locator(ROWS).locator("th a", has_text="lora").first
    target = link.get_attribute("href")[1:]
    page.evaluate("id => { document.getElementById(id).open = false; }", target)
    link.click()
    command = page.locator(f"[id='{target}'] code").first
    command.wait_for(state="visible", timeout=10_000)  # the page learns of the link afterwards
    box = command.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < DESKTOP["height"]
    assert command.inner_text() == make_report(Trial("lora", seed=1)).command


def test_what_weakens_a_row_stands_beside_its_name(page) -> None:
    marks = {
        row.locator("th a").inner_text(): row.locator("th abbr").get_attribute("title")
        for row in page.locator(ROWS).filter(has=page.locator("abbr")).all()
    }
    assert "one seed" in marks["apt 80%"]
    assert "1 failed" in marks["apt 70%"]
    assert "1 running" in marks["apt 90%"]
    assert "hardware unlike the baseline's" in marks["apt 50%"]
    assert "mixed modes: this row is official" in marks["apt 50%"]
    warnings = page.locator("#warnings").inner_text()
    for words in ("No finished full fine-tuning", "in mode official", "Fewer than 3 seeds"):
        assert words in warnings
    assert "device differs between runs" in warnings
    assert "OutOfMemoryError" in page.locator(SECTION).inner_text()
    assert page.locator("header").inner_text().count("kinds of machine") == 1
    # Times and memory stand in the second table: its rows are marked too.
    details = page.locator(f"{SECTION} .scroll >> nth=1 >> tbody tr")
    elsewhere = details.filter(has_text="apt 50%").locator("th abbr").get_attribute("title")
    assert "hardware unlike the baseline's" in elsewhere


def test_figures_of_a_run_unfold(page) -> None:
    summary = page.locator("summary", has_text="One run of apt 40%")
    figure = page.locator(f"{SECTION} details", has=summary).locator("figure").first
    assert not figure.is_visible()
    summary.click()
    assert figure.is_visible()
    assert figure.locator("svg").bounding_box()["width"] > 300


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_the_page_fits_the_screen_and_its_text_is_readable(browser, report: Path, viewport) -> None:
    watched = Watched(browser, viewport)
    page = watched.open(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    sizes = page.eval_on_selector_all(
        "main td, main p, main summary", "parts => parts.map(p => getComputedStyle(p).fontSize)"
    )
    assert min(float(size.removesuffix("px")) for size in sizes) >= 14
    first = page.locator(ROWS).locator("th").first.bounding_box()
    assert first["width"] < viewport["width"] / 2
    # Tables and drawings scroll inside themselves, and with the keyboard.
    assert page.locator(f"{SECTION} .scroll").first.get_attribute("tabindex") == "0"
    assert watched.complaints == []
    page.close()


def test_print_shows_everything_on_white(browser, report: Path) -> None:
    page = browser.new_page(viewport=DESKTOP, color_scheme="dark")
    page.goto(report.resolve().as_uri())
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.pdf().startswith(b"%PDF-")  # fires beforeprint, as a user's print does
    page.emulate_media(media="print", color_scheme="dark")
    white = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != white == "rgb(255, 255, 255)"
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    overflow = page.locator(f"{SECTION} .scroll").first.evaluate(
        "e => getComputedStyle(e).overflow"
    )
    assert overflow == "visible"
    page.close()


@pytest.mark.slow
def test_504_trials_of_one_task_render_in_time_and_stay_usable(browser, tmp_path: Path) -> None:
    cells = [Trial("ft"), Trial("lora"), *(Trial("apt", i / 100) for i in range(10, 90, 2))]
    write_sweep(tmp_path, [replace(cell, seed=seed) for cell in cells for seed in range(12)])
    start = time.process_time()
    html = build_report(tmp_path).html
    assert time.process_time() - start < 30
    assert html.stat().st_size < 12e6

    watched = Watched(browser)
    start = time.monotonic()
    page = watched.open(html)
    assert time.monotonic() - start < 20
    assert len(names(page)) == 42
    start = time.monotonic()
    page.locator(f"{SECTION} .filter input").fill("apt 44%")
    page.locator(TABLE).locator("thead button", has_text="accuracy").click()
    assert names(page) == ["apt 44%"]
    assert time.monotonic() - start < 5
    assert watched.complaints == []
    page.close()
