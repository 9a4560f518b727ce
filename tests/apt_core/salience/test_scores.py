"""Salience formulas by hand, against a slow oracle, and the identities that justify them."""

import math

import pytest
import torch
from torch import Tensor

from apt_core.salience.scores import (
    adapter_importance,
    block_salience,
    ema,
    head_kurtosis,
    hidden_kurtosis,
    kurtosis,
    neuron_kurtosis,
    outlier_aware,
    parameter_salience,
    signed_rank_importance,
)
from tests.reference.moments import excess_kurtosis


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_parameter_salience_is_the_magnitude_of_weight_times_gradient() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    grad = torch.tensor([[-4.0, -5.0], [6.0, 0.5]])
    assert parameter_salience(weight, grad).tolist() == [[4.0, 10.0], [0.0, 1.5]]


def test_block_salience_is_a_product_of_sums_not_a_sum_of_products() -> None:
    # One channel, two tokens: |H| = (1, 2), |g| = (3, 5).
    # (1 + 2) * (3 + 5) = 24, not 1 * 3 + 2 * 5 = 13.
    activation, gradient = torch.tensor([[1.0], [-2.0]]), torch.tensor([[-3.0], [5.0]])
    salience = block_salience(activation.abs().sum(dim=0), gradient.abs().sum(dim=0))
    assert salience.tolist() == [24.0]


def test_the_channels_of_a_head_are_neighbours_and_their_products_are_summed() -> None:
    activation_sums = torch.tensor([1.0, 2.0, 3.0, 4.0])
    gradient_sums = torch.tensor([10.0, 20.0, 30.0, 40.0])
    # Heads of 2 channels: 1 * 10 + 2 * 20 and 3 * 30 + 4 * 40.
    assert block_salience(activation_sums, gradient_sums, unit_width=2).tolist() == [50.0, 250.0]


def test_no_channels_are_no_units() -> None:
    assert block_salience(torch.empty(0), torch.empty(0), unit_width=64).shape == (0,)


def test_channels_that_do_not_make_whole_units_are_refused() -> None:
    with pytest.raises(RuntimeError):
        block_salience(torch.ones(5), torch.ones(5), unit_width=2)


def test_half_precision_products_do_not_overflow() -> None:
    sums = torch.tensor([60_000.0], dtype=torch.float16)
    assert block_salience(sums, sums).item() == float(sums) ** 2
    assert parameter_salience(sums, sums).item() == float(sums) ** 2


def test_activation_products_count_frozen_and_adapter_weights_by_output() -> None:
    # Paper Eq. 9: sum_l dL/dH_il H_il = sum_p dL/dW_ip W_ip + s sum_q dL/dB_iq B_iq, with dL/dB
    # taken before the scaling; autograd's gradient of B already holds the factor s.
    layer = _TinyLayer()
    left = (layer.outputs.grad_ * layer.outputs.value).sum(dim=1)
    right = layer.signed("weight").sum(dim=1) + layer.signed("lora_b").sum(dim=1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_activation_products_count_frozen_and_adapter_weights_by_input() -> None:
    layer = _TinyLayer()  # Paper Eq. 10, the same for inputs and W_A.
    left = (layer.inputs.grad_ * layer.inputs.value).sum(dim=1)
    right = layer.signed("weight").sum(dim=0) + layer.signed("lora_a").sum(dim=0)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_both_adapter_matrices_have_the_same_signed_salience_per_rank() -> None:
    layer = _TinyLayer()  # Paper Eq. 11.
    by_a, by_b = layer.signed("lora_a").sum(dim=1), layer.signed("lora_b").sum(dim=0)
    torch.testing.assert_close(by_a, by_b, rtol=1e-12, atol=1e-12)
    importance = signed_rank_importance(layer.lora_a.value, layer.lora_a.grad_)
    torch.testing.assert_close(importance, by_b.abs().mean(), rtol=1e-12, atol=1e-12)


def test_with_absolute_values_the_adapter_matrices_disagree() -> None:
    layer = _TinyLayer()
    by_a = parameter_salience(layer.lora_a.value, layer.lora_a.grad_).sum()
    by_b = adapter_importance(layer.lora_b.value, layer.lora_b.grad_)
    assert not math.isclose(by_a.item(), by_b.item(), rel_tol=1e-3)


def test_adapter_importance_sums_magnitudes() -> None:
    lora_b, grad = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[5.0, 1.0], [-1.0, 0.5]])
    assert adapter_importance(lora_b, grad).item() == 5.0 + 2.0 + 3.0 + 2.0


def test_signed_rank_importance_cancels_within_a_rank_and_averages_over_ranks() -> None:
    lora_a, grad = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[2.0, -1.0], [-2.0, 2.0]])
    # Ranks: |2 - 2| = 0 and |-6 + 2| = 4.
    assert signed_rank_importance(lora_a, grad).item() == 2.0


def test_an_adapter_without_ranks_is_not_important() -> None:
    assert signed_rank_importance(torch.empty(0, 5), torch.empty(0, 5)).item() == 0.0
    assert adapter_importance(torch.empty(5, 0), torch.empty(5, 0)).item() == 0.0


def test_kurtosis_by_hand() -> None:
    # 0, 0, 0, 4: mean 1, unbiased variance (1 + 1 + 1 + 9) / 3 = 4, z = -.5, -.5, -.5, 1.5;
    # mean z^4 = (3 * 0.0625 + 5.0625) / 4 = 1.3125.
    assert kurtosis(torch.tensor([0.0, 0.0, 0.0, 4.0]), dim=0).item() == pytest.approx(-1.6875)


@pytest.mark.parametrize("seed", range(5))
def test_kurtosis_agrees_with_the_slow_one(seed: int) -> None:
    values = normal(6, 9, seed=seed) ** 3
    expected = [excess_kurtosis(row) for row in values.tolist()]
    assert kurtosis(values, dim=1).tolist() == pytest.approx(expected, rel=1e-10)
    assert kurtosis(values, dim=(0, 1)).item() == pytest.approx(
        excess_kurtosis(values.flatten().tolist()), rel=1e-10
    )


def test_kurtosis_of_a_large_normal_sample_is_near_zero() -> None:
    # The standard error is sqrt(24 / n) = 0.0155.
    assert abs(kurtosis(normal(100_000), dim=0).item()) < 0.06


@pytest.mark.filterwarnings("error")
def test_undefined_kurtosis_is_zero() -> None:
    assert kurtosis(torch.tensor([[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]), dim=1).tolist() == [0.0, 0.0]
    assert kurtosis(torch.tensor([5.0]), dim=0).item() == 0.0
    assert kurtosis(torch.tensor([[5.0], [6.0]]), dim=1).tolist() == [0.0, 0.0]
    assert kurtosis(torch.empty(2, 0), dim=1).tolist() == [0.0, 0.0]


def test_an_outlier_planted_in_head_2_of_4_shows_up_in_head_2() -> None:
    hidden, num_heads, head_dim = 6, 4, 3
    weight = normal(hidden, num_heads * head_dim)
    weight[4, 2 * head_dim + 1] = 100.0
    result = head_kurtosis(weight, torch.ones(num_heads * head_dim, dtype=torch.float64), num_heads)
    assert result.argmax().item() == 2
    assert result[2] > 10 * result[[0, 1, 3]].abs().max()


def test_head_kurtosis_runs_over_all_products_of_the_head() -> None:
    hidden, num_heads, head_dim = 5, 3, 2
    weight, mean = normal(hidden, 6), normal(6, seed=1)
    expected = []
    for head in range(num_heads):
        channels = range(head * head_dim, (head + 1) * head_dim)
        products = [float(weight[i, j] * mean[j]) for i in range(hidden) for j in channels]
        expected.append(excess_kurtosis(products))
    assert head_kurtosis(weight, mean, num_heads).tolist() == pytest.approx(expected, rel=1e-10)


def test_neuron_kurtosis_is_that_of_the_weights_column() -> None:
    weight, mean = normal(7, 4), normal(4, seed=1)
    expected = [excess_kurtosis(column) for column in weight.T.tolist()]
    assert neuron_kurtosis(weight, mean).tolist() == pytest.approx(expected, rel=1e-10)


def test_a_silent_neuron_has_no_kurtosis() -> None:
    mean = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    assert (neuron_kurtosis(normal(7, 3), mean) == 0.0).tolist() == [False, True, False]


def test_hidden_kurtosis_runs_over_the_inputs_of_one_row() -> None:
    weight, mean = normal(3, 8), normal(8, seed=1)
    expected = [
        excess_kurtosis([w * m for w, m in zip(row, mean.tolist(), strict=True)])
        for row in weight.tolist()
    ]
    assert hidden_kurtosis(weight, mean).tolist() == pytest.approx(expected, rel=1e-10)


def test_the_outlier_term_is_measured_in_means_of_the_salience() -> None:
    salience, kurt = torch.tensor([1.0, 3.0, 8.0]), torch.tensor([9.0, -1.0, 0.25])
    # mean 4; 1 + 0.5 * 4 * 3, 3 + 0 (negative kurtosis counts nothing), 8 + 0.5 * 4 * 0.5
    assert outlier_aware(salience, kurt, 0.5).tolist() == [7.0, 3.0, 9.0]


def test_the_outlier_term_follows_the_scale_of_the_loss() -> None:
    salience, kurt = normal(20).abs(), normal(20, seed=1) * 10
    scaled = outlier_aware(1e-4 * salience, kurt, 1.0)
    torch.testing.assert_close(scaled, 1e-4 * outlier_aware(salience, kurt, 1.0))


def test_without_weight_or_outliers_the_salience_is_unchanged() -> None:
    salience, kurt = normal(20).abs(), normal(20, seed=1) * 10
    assert torch.equal(outlier_aware(salience, kurt, 0.0), salience)
    assert torch.equal(outlier_aware(salience, -kurt.abs(), 1.0), salience)


def test_kurtosis_of_several_sources_is_summed_after_the_root() -> None:
    salience = torch.tensor([2.0, 2.0])
    kurt = torch.tensor([[4.0, 1.0], [9.0, -5.0]])
    # mean 2; roots 2 + 3 and 1 + 0
    assert outlier_aware(salience, kurt, 1.0).tolist() == [12.0, 4.0]


def test_salience_of_zero_or_of_nothing_stays_finite() -> None:
    assert outlier_aware(torch.zeros(2), torch.ones(2), 1.0).tolist() == [0.0, 0.0]
    assert outlier_aware(torch.empty(0), torch.empty(0), 1.0).shape == (0,)


def test_the_first_value_starts_the_average_and_later_ones_move_it() -> None:
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0])
    average = ema(None, first, 0.85)
    assert torch.equal(average, first)
    torch.testing.assert_close(ema(average, second, 0.85), torch.tensor([1.3, 1.7]))


class _Leaf:
    """A tensor and the gradient of the loss with respect to it."""

    def __init__(self, value: Tensor) -> None:
        self.tensor = value.requires_grad_()

    @property
    def value(self) -> Tensor:
        return self.tensor.detach()

    @property
    def grad_(self) -> Tensor:
        assert self.tensor.grad is not None
        return self.tensor.grad


def _loss(outputs: Tensor) -> Tensor:
    return outputs.tanh().square().sum()


class _TinyLayer:
    """H = (W + s W_B W_A) X, column per token, after one backward pass of a nonlinear loss."""

    def __init__(self, scaling: float = 2.0) -> None:
        self.weight = _Leaf(normal(4, 5, seed=1))
        self.lora_a = _Leaf(normal(3, 5, seed=2))
        self.lora_b = _Leaf(normal(4, 3, seed=3))
        self.inputs = _Leaf(normal(5, 7, seed=4))
        merged = self.weight.tensor + scaling * self.lora_b.tensor @ self.lora_a.tensor
        outputs = merged @ self.inputs.tensor
        self.outputs = _Leaf(outputs.detach())
        self.outputs.tensor.grad = torch.autograd.grad(
            _loss(self.outputs.tensor), self.outputs.tensor
        )[0]
        leaves = [self.weight, self.lora_a, self.lora_b, self.inputs]
        gradients = torch.autograd.grad(_loss(outputs), [leaf.tensor for leaf in leaves])
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.tensor.grad = gradient

    def signed(self, name: str) -> Tensor:
        """Weight times gradient, with its sign, of one leaf."""
        leaf: _Leaf = getattr(self, name)
        return leaf.value * leaf.grad_
