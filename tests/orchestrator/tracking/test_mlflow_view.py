import json

from orchestrator.identity import GRID_PATHS
from orchestrator.tracking.mlflow_view import GROUPS, grid_view

SHORT_TAG = 5000
"""Characters; MLflow 3.17 takes 20,000 in a tag of an experiment."""


def test_the_view_groups_by_keys_that_every_trial_has_and_ends_in_the_result() -> None:
    text = grid_view(1_700_000_000_000)
    assert len(text) < SHORT_TAG
    view = json.loads(text)
    assert view["createdAt"] == view["updatedAt"] == 1_700_000_000_000
    state = json.loads(view["state"])
    assert [key["groupByData"] for key in state["groupBy"]["groupByKeys"]] == list(GROUPS)
    assert set(GROUPS) <= set(GRID_PATHS)
    parallel = state["compareRunCharts"][0]
    assert parallel["selectedParams"] == list(GROUPS)
    assert parallel["selectedMetrics"][-1] == "final/metric"


def test_every_chart_has_a_name_of_its_own_and_a_section() -> None:
    state = json.loads(json.loads(grid_view(1))["state"])
    charts = state["compareRunCharts"]
    assert len({chart["uuid"] for chart in charts}) == len(charts) == 3
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts} == sections
