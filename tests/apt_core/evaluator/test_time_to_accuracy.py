"""Time-to-accuracy by hand."""

import pytest

from apt_core.evaluator.time_to_accuracy import TimeToAccuracy, accuracy_target, time_to_accuracy
from apt_core.report import EvalPoint

HISTORY = (
    EvalPoint(step=100, train_time_s=10.0, eval_time_s=1.0, metric=0.70, sparsity=0.0),
    EvalPoint(step=200, train_time_s=20.0, eval_time_s=2.0, metric=0.91, sparsity=0.0),
    EvalPoint(step=300, train_time_s=30.0, eval_time_s=3.0, metric=0.89, sparsity=0.5994),
    EvalPoint(step=400, train_time_s=40.0, eval_time_s=4.0, metric=0.92, sparsity=0.6001),
)


def test_the_target_is_a_fraction_of_the_best_baseline_evaluation() -> None:
    assert accuracy_target(HISTORY) == pytest.approx(0.97 * 0.92)
    assert accuracy_target(HISTORY, 0.5) == pytest.approx(0.46)
    assert accuracy_target(()) is None


def test_the_first_good_evaluation_counts_with_and_without_evaluation_time() -> None:
    assert time_to_accuracy(HISTORY, 0.9) == TimeToAccuracy(
        step=200, metric=0.91, train_time_s=20.0, total_time_s=22.0
    )


def test_evaluations_before_the_model_is_sparse_do_not_count() -> None:
    found = time_to_accuracy(HISTORY, 0.9, sparsity_target=0.6)
    assert found is not None
    assert found.step == 400


def test_sparsity_may_miss_its_target_by_the_tolerance() -> None:
    default = time_to_accuracy(HISTORY, 0.8, sparsity_target=0.6)
    strict = time_to_accuracy(HISTORY, 0.8, sparsity_target=0.6, tolerance=0.0)
    assert default is not None
    assert strict is not None
    assert (default.step, strict.step) == (300, 400)


def test_the_metric_is_rounded_to_three_decimals() -> None:
    def point(metric: float) -> EvalPoint:
        return EvalPoint(1, 1.0, 0.0, metric, 0.0)

    assert time_to_accuracy([point(0.8996)], 0.9) is not None
    assert time_to_accuracy([point(0.8994)], 0.9) is None


def test_a_training_that_never_gets_there_has_no_time() -> None:
    assert time_to_accuracy(HISTORY, 0.95) is None
    assert time_to_accuracy((), 0.5) is None
    assert time_to_accuracy(HISTORY, 0.9, sparsity_target=0.9) is None
