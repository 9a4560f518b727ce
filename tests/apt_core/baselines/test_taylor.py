"""Taylor importance by hand."""

import pytest
import torch

from apt_core.baselines.taylor import (
    CoupledWeight,
    element_importance,
    keep_most_important,
    unit_importance,
)


def test_an_element_counts_by_its_size_times_its_gradient() -> None:
    weight, gradient = torch.tensor([[2.0, -3.0]]), torch.tensor([[-0.5, 1.0]])
    assert element_importance(weight, gradient).tolist() == [[1.0, 3.0]]


def test_a_unit_sums_its_rows_its_biases_and_its_columns() -> None:
    # Two units of two rows in the reader, of one column in the writer.
    reader = torch.tensor([[1.0], [2.0], [3.0], [-4.0]])
    bias = torch.tensor([1.0, 1.0, 0.0, 5.0])
    writer = torch.tensor([[10.0, 20.0], [-1.0, 2.0]])
    parts = [
        CoupledWeight(reader, torch.ones(4, 1), 0, 2),
        CoupledWeight(bias, torch.full((4,), -2.0), 0, 2),
        CoupledWeight(writer, torch.full((2, 2), 0.5), 1, 1),
    ]
    # 1 + 2 + 2 * (1 + 1) + (10 + 1) / 2 and 3 + 4 + 2 * (0 + 5) + (20 + 2) / 2
    assert unit_importance(parts).tolist() == [12.5, 28.0]


def test_half_precision_is_multiplied_in_fp32() -> None:
    small = torch.full((1, 1), 2.0**-14, dtype=torch.float16)
    assert element_importance(small, small).item() == 2.0**-28


def test_the_most_important_stay_in_their_order_and_ties_go_to_the_first() -> None:
    importance = torch.tensor([1.0, 5.0, 2.0, 5.0, 2.0])
    assert keep_most_important(importance, 3).tolist() == [1, 2, 3]
    assert keep_most_important(importance, 0).tolist() == []
    assert keep_most_important(importance, 5).tolist() == [0, 1, 2, 3, 4]


def test_an_importance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 3 importances are not finite"):
        keep_most_important(torch.tensor([1.0, float("nan"), float("inf")]), 1)
