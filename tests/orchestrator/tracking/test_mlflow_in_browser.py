"""MLflow's own pages over runs as we log them: comparing, grouping, the saved view of the grid."""

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest

from apt_core.report import StepMetrics
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.mlflow_view import VIEW_NAME
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.sink import TrialInfo
from tests.orchestrator.reports.browser import Watched, open_browser

pytestmark = [pytest.mark.browser, pytest.mark.services, pytest.mark.slow]
KNOWN = ("404 (Not Found)", "ReadPixels", "AG Grid:")
"""What MLflow's page says on the console by itself."""
ARMS = ("ft", "lora", "apt")


def group_by(page, address: str, keys: tuple[str, ...]) -> None:
    """As one does it by hand; the menu closes after each choice."""
    page.goto(address)
    for key in keys:
        page.get_by_text("Group by").first.click(timeout=60_000)
        page.get_by_role("menuitemcheckbox", name=key, exact=True).first.click()
    page.get_by_text("Group: arm").first.wait_for(timeout=60_000)


def write_sweep(
    sink: MlflowSink, trial: TrialInfo, step_metrics: Callable[..., StepMetrics]
) -> list[str]:
    """One trial of each arm below a sweep; the runs' names at the server."""
    runs = []
    for number, arm in enumerate(ARMS):
        keys = {"arm": arm, "ablation": "none", "sparsity": "0.6"}
        own = replace(trial, run_id=f"run{number}", name=f"{arm} 0.6", keys=keys)
        runs.append(sink.start_trial(own))
        values = {"eval/metric": 0.9 + number / 100, "model/sparsity": 0.6}
        values |= {"final/metric": 0.9 + number / 100, "final/train_time_s": 100.0 - number}
        values |= {"final/peak_train_memory_gib": 1.5 + number / 10}
        sink.log(runs[-1], [step_metrics(step, values=values) for step in range(3)])
        sink.finish_trial(runs[-1], "FINISHED", time_ms=1_700_000_000_000)
    return runs


def complaints(watched: Watched) -> list[str]:
    """What the console says beyond what MLflow's page says by itself."""
    # MLflow asks who is logged in, on a server without accounts.
    assert {url.rsplit("/mlflow/")[-1] for url in watched.missing} <= {"users/current"}
    return [c for c in watched.complaints if not any(known in c for known in KNOWN)]


def test_the_compare_page_tells_arms_and_metrics_apart(
    server: LocalMlflowServer, trial: TrialInfo, step_metrics: Callable[..., StepMetrics]
) -> None:
    sink = MlflowSink(server.uri, "compared")
    sink.open()
    runs = write_sweep(sink, trial, step_metrics)
    experiment = sink._experiment_id
    sink.close()

    query = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
    with open_browser() as browser:
        watched = Watched(browser)
        page = watched.page
        page.goto(f"{server.uri}/#/compare-runs?{query}")
        page.get_by_text("apt 0.6").first.wait_for(timeout=60_000)
        text = page.locator("body").inner_text()
        assert all(f"{arm} 0.6" in text for arm in ARMS)
        for words in ("Comparing 3 Runs", "Parallel Coordinates"):
            assert words in text
        for name in ("arm", "sparsity", "eval/metric", "model/sparsity"):
            assert page.get_by_text(name, exact=True).count() > 0
        group_by(page, f"{server.uri}/#/experiments/{experiment}/runs", ("arm", "sparsity"))
        text = page.locator("body").inner_text()
        assert all(f"Group: arm: {arm}, sparsity: 0.6" in text for arm in ARMS)
        assert complaints(watched) == []
        assert all(url.startswith((server.uri, "data:", "blob:")) for url in watched.requests)


def test_the_saved_view_shows_cells_and_parallel_coordinates_up_to_the_result(
    server: LocalMlflowServer, trial: TrialInfo, step_metrics: Callable[..., StepMetrics]
) -> None:
    sink = MlflowSink(server.uri, "viewed")
    sink.open()
    write_sweep(sink, trial, step_metrics)
    address = f"{server.uri}/#/experiments/{sink._experiment_id}/runs"
    sink.close()

    with open_browser() as browser:
        watched = Watched(browser)
        page = watched.page
        page.goto(address)
        page.get_by_text("Views", exact=True).click(timeout=60_000)
        page.get_by_text(VIEW_NAME).click()
        page.get_by_text("Group: arm").first.wait_for(timeout=60_000)
        page.locator("label", has=page.locator("input[value=CHART]")).click()
        page.get_by_text("Parallel Coordinates").wait_for(timeout=60_000)
        page.locator("svg .axis", has_text="metric").first.wait_for(timeout=60_000)
        text = page.locator("body").inner_text()
        assert all(f"Group: arm: {arm}, ablation: none, sparsity: 0.6" in text for arm in ARMS)
        axes = page.locator("svg .dimension .label").all_text_contents()
        assert axes[:3] == ["arm", "ablation", "sparsity"]
        assert axes[-1] == "final/metric"
        assert "Results against costs" in text
        assert complaints(watched) == []
