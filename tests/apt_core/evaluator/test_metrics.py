"""Metrics by hand, and against scikit-learn and scipy on random and degenerate cases."""

import math
import random

import pytest
import scipy.stats
import sklearn.metrics
import torch

from apt_core.evaluator.metrics import (
    METRICS,
    accuracy,
    f1,
    matthews,
    pearson,
    pearson_spearman,
    spearman,
)

CASES = 1000


def test_accuracy_is_the_fraction_of_hits() -> None:
    assert accuracy(torch.tensor([0, 1, 2, 1]), torch.tensor([0, 1, 1, 1])) == 0.75
    assert METRICS["accuracy"] is accuracy


def test_accuracy_is_exact_on_many_examples() -> None:
    labels = torch.zeros(872, dtype=torch.long)
    predictions = torch.cat([labels[:829], torch.ones(43, dtype=torch.long)])
    assert accuracy(predictions, labels) == 829 / 872


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        accuracy(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))


def random_classes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Few examples and classes, so that one-class cases are frequent; -1 is no class."""
    draw = random.Random(seed)
    size, classes = draw.randint(1, 30), draw.randint(1, 5)
    predictions = [draw.randint(-1, classes - 1) for _ in range(size)]
    labels = [p if draw.random() < 0.4 else draw.randrange(classes) for p in predictions]
    return torch.tensor(predictions), torch.tensor([max(label, 0) for label in labels])


@pytest.mark.filterwarnings("ignore")
def test_metrics_of_classes_equal_scikit_learns() -> None:
    degenerate = 0
    for seed in range(CASES):
        predictions, labels = random_classes(seed)
        known, given = labels.tolist(), predictions.tolist()
        assert accuracy(predictions, labels) == sklearn.metrics.accuracy_score(known, given)
        expected = sklearn.metrics.f1_score(
            [y == 1 for y in known], [p == 1 for p in given], zero_division=0.0
        )
        assert f1(predictions, labels) == pytest.approx(expected, abs=1e-15)
        expected = sklearn.metrics.matthews_corrcoef(known, given)
        assert matthews(predictions, labels) == pytest.approx(expected, abs=1e-12)
        degenerate += len(set(known)) == 1
    assert degenerate > 50


def random_scores(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of the cases on a grid, where ties abound; magnitudes differ by many powers of ten."""
    draw = random.Random(seed)
    size = draw.randint(2, 40)
    scale = 10.0 ** draw.randint(-6, 6)
    steps = draw.choice([2, 5, 0])
    one, other = (
        [draw.randint(0, steps) if steps else draw.gauss(0, 1) for _ in range(size)] for _ in "ab"
    )
    other = [x + draw.choice([0.0, 0.5]) * y for x, y in zip(other, one, strict=True)]
    return torch.tensor(one).double() * scale, torch.tensor(other).double()


@pytest.mark.filterwarnings("ignore")
def test_metrics_of_scores_equal_scipys_and_are_zero_for_constants() -> None:
    constant = 0
    for seed in range(CASES):
        predictions, labels = random_scores(seed)
        both = []
        for ours, theirs in (
            (pearson, scipy.stats.pearsonr),
            (spearman, scipy.stats.spearmanr),
        ):
            expected = float(theirs(predictions.numpy(), labels.numpy())[0])
            if min(len(set(predictions.tolist())), len(set(labels.tolist()))) == 1:
                constant += 1
                assert math.isnan(expected)
                expected = 0.0
            assert ours(predictions, labels) == pytest.approx(expected, abs=1e-10)
            both.append(expected)
        mean = sum(both) / 2
        assert pearson_spearman(predictions, labels) == pytest.approx(mean, abs=1e-10)
    assert constant > 10


def test_correlations_stay_in_range_for_extreme_scores() -> None:
    scores = torch.tensor([1e-300, 2e-300, 3e-300], dtype=torch.float64)
    assert pearson(scores, scores * 1e300 * 1e300) == pytest.approx(1.0)
    assert pearson(scores, -scores) == pytest.approx(-1.0)
    assert pearson(scores, -scores) >= -1.0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_metric_has_a_value_without_examples(name: str) -> None:
    nothing = torch.empty(0) if "ear" in name else torch.empty(0, dtype=torch.long)
    with pytest.raises(ValueError, match="no examples"):
        METRICS[name](nothing, nothing)
