"""Task metrics on numbers as pure functions."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

Classes = Int[Tensor, " examples"]
Scores = Float[Tensor, " examples"]


def accuracy(predictions: Classes, labels: Classes) -> float:
    """Fraction of predicted classes that equal the label, in [0, 1]."""
    _check_not_empty("accuracy", labels)
    return int((predictions == labels).sum()) / labels.numel()


def f1(predictions: Classes, labels: Classes) -> float:
    """F1 of class 1 against all others: 2 TP / (2 TP + FP + FN), in [0, 1].

    0.0 where class 1 is neither predicted nor expected (scikit-learn's value, which warns).

    Args:
        predictions: predicted class per example.
        labels: expected class per example.

    Returns:
        The harmonic mean of precision and recall.
    """
    _check_not_empty("f1", labels)
    predicted, expected = predictions == 1, labels == 1
    hits = int((predicted & expected).sum())
    total = int(predicted.sum()) + int(expected.sum())
    return 2 * hits / total if total else 0.0


def matthews(predictions: Classes, labels: Classes) -> float:
    """Matthews correlation of any number of classes, in [-1, 1].

    (c n - sum_k p_k t_k) / sqrt((n^2 - sum_k p_k^2)(n^2 - sum_k t_k^2)) with c hits among n
    examples, p_k predictions and t_k labels of class k. 0.0 where all predictions or all labels are
    one class.

    Args:
        predictions: predicted class per example.
        labels: expected class per example.

    Returns:
        The correlation.
    """
    _check_not_empty("matthews", labels)
    num_examples = labels.numel()
    predicted, expected = Counter(predictions.tolist()), Counter(labels.tolist())
    hits = int((predictions == labels).sum())
    covariance = hits * num_examples - sum(predicted[k] * expected[k] for k in expected)
    spread = (num_examples**2 - sum(n * n for n in predicted.values())) * (
        num_examples**2 - sum(n * n for n in expected.values())
    )
    return covariance / math.sqrt(spread) if spread else 0.0


def pearson(predictions: Scores, labels: Scores) -> float:
    """Linear correlation, in [-1, 1]; 0.0 where one side is constant (scipy: not a number).

    Args:
        predictions: predicted score per example.
        labels: expected score per example.

    Returns:
        The correlation, computed in float64.
    """
    _check_not_empty("pearson", labels)
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    x, y = (_unit_deviation(values.double()) for values in (predictions, labels))
    return max(-1.0, min(1.0, float(x @ y)))


def spearman(predictions: Scores, labels: Scores) -> float:
    """Correlation of the ranks, tied scores sharing their mean rank, in [-1, 1].

    0.0 where one side is constant (scipy: not a number).

    Args:
        predictions: predicted score per example.
        labels: expected score per example.

    Returns:
        The correlation.
    """
    return pearson(_average_ranks(predictions), _average_ranks(labels))


def pearson_spearman(predictions: Scores, labels: Scores) -> float:
    """Mean of `pearson` and `spearman`, in [-1, 1]: what GLUE reports for STS-B."""
    return (pearson(predictions, labels) + spearman(predictions, labels)) / 2


def _check_not_empty(name: str, labels: Tensor) -> None:
    if labels.numel() == 0:
        raise ValueError(f"{name} of no examples is undefined")


def _is_constant(values: Tensor) -> bool:
    return bool((values == values[0]).all())


def _unit_deviation(values: Tensor) -> Tensor:
    deviation = values - values.mean()
    deviation = deviation / deviation.abs().max()  # squares of tiny or huge deviations stay finite
    length = float(torch.linalg.vector_norm(deviation))
    return deviation / length


def _average_ranks(values: Tensor) -> Tensor:
    """Ranks from 1, ties sharing the mean of the ranks that they take up."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = last - (counts - 1) / 2
    return ranks[inverse]


METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "pearson_spearman": pearson_spearman,
}
"""Metric name -> function of (predictions, labels): one class, or one score, per example."""
