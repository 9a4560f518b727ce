"""Aims, fractions and the JSON of a report, by hand."""

import json

import pytest

from apt_core.bench.report import Ratio
from tests.reference.bench_report import FAST, REPORT


@pytest.mark.parametrize(
    ("ratio", "is_missed"),
    [
        (Ratio(1.08, 1.08), False),
        (Ratio(1.081, 1.08), True),
        (Ratio(9.0), False),
        (Ratio(1.9, 1.9, True), False),
        (Ratio(1.89, 1.9, True), True),
    ],
)
def test_an_aim_is_met_on_its_own_side(ratio: Ratio, is_missed: bool) -> None:
    assert ratio.is_missed == is_missed


def test_the_fraction_is_of_the_median() -> None:
    assert FAST.fraction == 0.25


def test_missed_aims_are_named() -> None:
    assert REPORT.missed() == ("peak memory, retraining",)


def test_the_report_is_json_with_plain_names() -> None:
    found = json.loads(json.dumps(REPORT.to_json()))
    assert found["format"] == 1
    assert found["missed_aims"] == ["peak memory, retraining"]
    step = found["training"][1]
    assert step["phase"] == "retraining"
    assert step["seconds"] == {"median": 2.0, "lower": 1.5, "upper": 3.0, "fastest": 1.0}
    assert step["ratio_to_control"] == {"value": 0.5, "aim": 0.5, "missed": False}
    assert step["fraction_of_bound"] == 0.25
    assert step["bound"]["limited_by"] == "matrix"
    memory = found["memory"][1]
    assert (memory["tensors_gib"], memory["resident_gib"]) == (1.5, None)
    assert memory["ratio_to_control"]["missed"]
    (point,) = found["inference"]
    assert (point["rows_per_s"], point["dense_rows_per_s"]) == (4.0, 2.0)
    assert found["surgery"][0]["seconds"]["median"] == 1.0
    control, pruned = found["profile"]
    assert sum(control["over_control"].values()) == 1.0
    assert pruned["what"] == "retraining"
    assert pruned["seconds"]["matrix products"] == 1.5
    assert pruned["over_control"]["matrix products"] == 0.375
    assert sum(pruned["over_control"].values()) == 0.5
    assert found["notes"] == ["a note"]
