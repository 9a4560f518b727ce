"""Distillation losses by hand and against Python floats; the schedule of mu."""

import math

import pytest
import torch
from torch import Tensor

from apt_core.distiller.losses import (
    distill_weight,
    layer_loss,
    mix,
    prediction_loss,
    rms_normalized,
    score_loss,
)
from tests.reference import distillation


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [2.0 / 3.0, 1.0, 2.0])
def test_the_prediction_loss_agrees_with_the_slow_one(temperature: float) -> None:
    student, teacher = normal(5, 3), normal(5, 3, seed=1)
    expected = distillation.prediction_loss(student.tolist(), teacher.tolist(), temperature)
    assert prediction_loss(student, teacher, temperature).item() == pytest.approx(
        expected, rel=1e-12
    )


def test_the_teacher_weighs_the_divergence() -> None:
    # p_t = (3/4, 1/4), p_s = (1/2, 1/2): KL(p_t || p_s) = 3/4 log(3/2) + 1/4 log(1/2).
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert prediction_loss(student, teacher, 1.0).item() == pytest.approx(forward, rel=1e-6)
    assert prediction_loss(teacher, student, 1.0).item() != pytest.approx(forward, rel=1e-2)


def test_equal_predictions_have_no_loss_and_no_gradient() -> None:
    student = normal(4, 3).requires_grad_()
    loss = prediction_loss(student, student.detach() + 7.0, 2.0 / 3.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(0.0, abs=1e-14)
    assert gradient.abs().max() < 1e-14


def test_the_gradient_at_temperature_one_is_the_difference_of_probabilities() -> None:
    student, teacher = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    (gradient,) = torch.autograd.grad(prediction_loss(student, teacher, 1.0), student)
    difference = (student.detach().softmax(dim=1) - teacher.softmax(dim=1)) / 4
    torch.testing.assert_close(gradient, difference)


def test_half_precision_logits_are_compared_in_fp32() -> None:
    student, teacher = normal(5, 3).half(), normal(5, 3, seed=1).half()
    loss = prediction_loss(student, teacher, 2.0 / 3.0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, prediction_loss(student.float(), teacher.float(), 2.0 / 3.0))


def test_confident_predictions_stay_finite() -> None:
    student, teacher = torch.tensor([[300.0, -300.0]]), torch.tensor([[-300.0, 300.0]])
    # log p_s of the teacher's class is -600 at temperature 1.
    assert prediction_loss(student, teacher, 1.0).item() == pytest.approx(600.0)


def test_the_layer_loss_is_the_mean_over_all_elements() -> None:
    student = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    teacher = torch.tensor([[[0.0, 4.0], [3.0, 0.0]]])
    # (1 + 4 + 9 + 0) / 4
    assert layer_loss(student, teacher).item() == 3.5


def test_a_token_mask_leaves_padding_out() -> None:
    student = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[5.0, 5.0], [5.0, 5.0]]])
    teacher = torch.tensor([[[0.0, 4.0], [3.0, 0.0]], [[5.0, 6.0], [9.0, 9.0]]])
    # First row: (1 + 4) / 2 and (9 + 0) / 2, mean 3.5. Second row: (0 + 1) / 2. Mean of both: 2.
    mask = torch.tensor([[1, 1], [1, 0]])
    assert layer_loss(student, teacher, mask).item() == 2.0
    assert layer_loss(student, teacher, mask.bool()).item() == 2.0


def test_a_row_without_tokens_is_left_out() -> None:
    student, teacher = normal(3, 4, 2), normal(3, 4, 2, seed=1)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    others = layer_loss(student[[0, 2]], teacher[[0, 2]], mask[[0, 2]])
    torch.testing.assert_close(layer_loss(student, teacher, mask), others)


def test_with_a_mask_the_mean_over_equal_parts_is_the_loss_of_the_batch() -> None:
    student, teacher = normal(6, 5, 4), normal(6, 5, 4, seed=1)
    mask = torch.arange(5) < torch.tensor([5, 4, 3, 2, 1, 1])[:, None]
    whole = layer_loss(student, teacher, mask)
    for rows in (1, 2, 3):
        # Every part is padded to its own longest row.
        widths = [int(part.sum(1).max()) for part in mask.split(rows)]
        tensors = (tensor.split(rows) for tensor in (student, teacher, mask))
        parts = [
            layer_loss(ours[:, :width], theirs[:, :width], part[:, :width])
            for width, ours, theirs, part in zip(widths, *tensors, strict=True)
        ]
        torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_a_full_mask_changes_nothing_and_an_empty_one_gives_zero() -> None:
    student, teacher = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    full = layer_loss(student, teacher, torch.ones(2, 3))
    torch.testing.assert_close(full, layer_loss(student, teacher))
    assert layer_loss(student, teacher, torch.zeros(2, 3)).item() == 0.0


def test_half_precision_layers_do_not_overflow() -> None:
    student = torch.full((1, 2, 4), 400.0, dtype=torch.float16)
    assert layer_loss(student, -student).item() == 640_000.0


def test_the_mixed_loss_moves_from_task_to_distillation() -> None:
    task, distill = torch.tensor(2.0), torch.tensor(10.0)
    assert mix(task, distill, 0.0).item() == 2.0
    assert mix(task, distill, 0.25).item() == 4.0
    assert mix(task, distill, 1.0).item() == 10.0


def test_mu_has_the_reference_values() -> None:
    assert distill_weight(200, start=200, stop=6315) == 0.0
    assert distill_weight(6315, start=200, stop=6315) == 1.0
    assert distill_weight(3258, start=200, stop=6315) == pytest.approx(3058 / 6115)


def test_mu_is_held_outside_its_window_and_rises_inside() -> None:
    values = [distill_weight(step, start=10, stop=20) for step in range(30)]
    assert values[:11] == [0.0] * 11
    assert values[20:] == [1.0] * 10
    assert values[11:20] == pytest.approx([0.1 * step for step in range(1, 10)])


def test_mu_runs_between_the_given_ends() -> None:
    values = [distill_weight(step, start=0, stop=4, first=0.9, last=0.1) for step in range(6)]
    assert values == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1, 0.1])


def test_an_empty_window_is_a_step() -> None:
    assert [distill_weight(step, start=5, stop=5) for step in (4, 5, 6)] == [0.0, 1.0, 1.0]


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stop \(4\) comes before start \(5\)"):
        distill_weight(1, start=5, stop=4)


def test_scores_are_compared_by_their_squared_distance() -> None:
    # (1 - 3)^2 = 4 and (2 - 2.5)^2 = 0.25: mean 2.125.
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.5]])
    assert float(score_loss(student, teacher)) == pytest.approx(2.125)
    assert float(score_loss(student.half(), student.half())) == 0.0


def test_normalized_states_have_a_mean_square_of_one_and_keep_their_direction() -> None:
    states = torch.randn(2, 3, 64) * torch.tensor([0.1, 1.0, 50.0]).reshape(1, 3, 1)
    normalized = rms_normalized(states)
    mean_square = normalized.square().mean(-1)
    torch.testing.assert_close(mean_square, torch.ones(2, 3), atol=1e-3, rtol=0)
    cosine = torch.cosine_similarity(states, normalized, dim=-1)
    torch.testing.assert_close(cosine, torch.ones(2, 3))
    assert float(rms_normalized(torch.zeros(1, 1, 4)).abs().max()) == 0.0
