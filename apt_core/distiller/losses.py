"""Losses of self-distillation and their weight over time [paper section 4.4, Eq. 7]."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor


def prediction_loss(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    temperature: float,
) -> Float[Tensor, ""]:
    """How far the student's predictions are from the teacher's [paper section 4.4].

    ``L_pred = tau^2 * mean over the batch of KL(softmax(z_t / tau) || softmax(z_s / tau))``, in
    fp32. Range [0, inf), nats. Deviation from the paper, which prints ``KL(p_s || p_t)``: the
    direction here is the usual one of distillation, and the one that the published results were
    made with.
    """
    student = F.log_softmax(_at_least_fp32(student_logits) / temperature, dim=-1)
    teacher = F.log_softmax(_at_least_fp32(teacher_logits) / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def layer_loss(
    student: Float[Tensor, "batch tokens hidden"],
    teacher: Float[Tensor, "batch tokens hidden"],
    token_mask: Shaped[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, ""]:
    """One term of L_layer [paper Eq. 7]: ``MSE(Tr(H_s^phi(i)), H_t^i)``.

    Without a mask the mean runs over batch, tokens and hidden size. With one it runs over the
    hidden size, then over the tokens of a row that count, then over the rows:
    ``mean_b (sum_t m_bt mean_h d_bth^2 / sum_t m_bt)``. Range [0, inf), squared activation units;
    computed in fp32.

    With a mask, the mean of equally large parts of a batch is the loss of the batch. Without one
    it is not, because a part is padded to its own longest row.

    Args:
        student: The student's hidden states, already brought to the teacher's hidden size by Tr.
        teacher: The teacher's hidden states.
        token_mask: Non-zero where a token counts; rows where none does are left out. Without a
            mask padding counts too, as in the paper's experiments.

    Returns:
        The loss; 0 when the mask excludes every token.
    """
    squared = (_at_least_fp32(student) - _at_least_fp32(teacher)).square()
    if token_mask is None:
        return squared.mean()
    counts = (token_mask != 0).to(squared.dtype)
    num_tokens = counts.sum(dim=-1)
    rows = (squared.mean(dim=-1) * counts).sum(dim=-1) / num_tokens.clamp(min=1.0)
    return rows.sum() / (num_tokens > 0).sum().clamp(min=1)


def score_loss(
    student: Float[Tensor, "batch 1"], teacher: Float[Tensor, "batch 1"]
) -> Float[Tensor, ""]:
    """L_pred where a score is predicted: the mean squared distance, in fp32.

    Range [0, inf), squared units of the score. The paper distils classes only; of a single score
    the softmax is always 1.
    """
    return (_at_least_fp32(student) - _at_least_fp32(teacher)).square().mean()


def rms_normalized(
    states: Float[Tensor, "batch tokens hidden"],
) -> Float[Tensor, "batch tokens hidden"]:
    """Hidden states divided by their root mean square over the hidden dimensions, in fp32.

    ``H / sqrt(mean(H^2) + 1e-6)``. For models that normalise in front of their layers; their raw
    states have no common scale.
    """
    wide = _at_least_fp32(states)
    return wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + 1e-6)


def mix(task: Float[Tensor, ""], distill: Float[Tensor, ""], mu: float) -> Float[Tensor, ""]:
    """The loss that is differentiated [paper Eq. 7]: ``L = mu * L_distill + (1 - mu) * L_ft``."""
    return mu * distill + (1.0 - mu) * task


def distill_weight(
    step: int, *, start: int, stop: int, first: float = 0.0, last: float = 1.0
) -> float:
    """The weight mu of distillation at a step [paper section 4.4].

    ``mu = first + (last - first) * (step - start) / (stop - start)``, held at `first` before and at
    `last` after.

    Args:
        step: Optimizer steps done.
        start: Step where mu begins to move.
        stop: Step from which mu is `last`; not before `start`.
        first: mu up to `start`.
        last: mu from `stop` on.

    Returns:
        mu.

    Raises:
        ValueError: `stop` comes before `start`.
    """
    if stop < start:
        raise ValueError(f"distillation weight: stop ({stop}) comes before start ({start})")
    if step >= stop:
        return last
    if step <= start:
        return first
    return first + (last - first) * (step - start) / (stop - start)


def _at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or in fp64 if it is already there."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
