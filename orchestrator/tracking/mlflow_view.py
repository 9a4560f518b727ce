"""The saved view of an experiment: MLflow's menu "Views" offers trials by cell, and their charts.

MLflow keeps a view in a tag of the experiment: name, two times, and the state of its page as JSON.
Without one, the page hides trials under their sweep and its charts know nothing of a grid.
"""

import json

from orchestrator.tracking.sink import SUMMARY_PREFIX

VIEW_TAG = "mlflow.sharedViewState.aptune"
"""MLflow's prefix of a view and our identifier, which ``?viewStateShareKey=aptune`` names, too."""
VIEW_NAME = "aptune: the grid"

GROUPS = ("arm", "ablation", "sparsity")
"""What tells cells apart; every trial has these tags and parameters."""
_METRIC = f"{SUMMARY_PREFIX}metric"
_COSTS = tuple(f"{SUMMARY_PREFIX}{name}" for name in ("train_time_s", "peak_train_memory_gib"))
_RUNS_DRAWN = 500


def grid_view(time_ms: int) -> str:
    """The value of `VIEW_TAG`: trials grouped by cell, results as columns and as charts.

    Args:
        time_ms: When it was made, in milliseconds since 1970.

    Returns:
        JSON with the names that the page of MLflow 3.17 reads; what it does not know it ignores.
    """
    return json.dumps(
        {"name": VIEW_NAME, "createdAt": time_ms, "updatedAt": time_ms, "state": _state()}
    )


def _state() -> str:
    results = [_METRIC, *_COSTS]
    keys = [{"mode": "tag", "groupByData": name} for name in GROUPS]
    state = {
        "selectedColumns": [f"metrics.`{name}`" for name in results],
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys},
        "useGroupedValuesInCharts": False,  # a line or a point is a trial: the spread is seen
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": _charts(),
        "compareRunSections": [
            _section("grid", "The grid", columns=1),
            _section("costs", "Results against costs", columns=2),
        ],
        "isAccordionReordered": True,  # or MLflow sorts its own sections before these
    }
    return json.dumps(state)


def _section(name: str, title: str, *, columns: int) -> dict[str, object]:
    common = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": title, "columns": columns, **common}


def _charts() -> list[dict[str, object]]:
    # Lines are coloured by the last axis.
    axes = {"selectedParams": GROUPS, "selectedMetrics": [*_COSTS, _METRIC], "showAllRuns": True}
    return [
        _chart("grid", "PARALLEL", axes),
        *(_chart("costs", "SCATTER", {"xaxis": _axis(x), "yaxis": _axis(_METRIC)}) for x in _COSTS),
    ]


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _chart(section: str, kind: str, settings: dict[str, object]) -> dict[str, object]:
    name = f"{section}-{kind}-{settings.get('xaxis', '')}"
    common = {"runsCountToCompare": _RUNS_DRAWN, "deleted": False, "isGenerated": False}
    return {"uuid": name, "type": kind, "metricSectionId": section, **common, **settings}
