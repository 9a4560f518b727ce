"""Distillation losses with nothing but Python floats."""

import math
from collections.abc import Sequence


def prediction_loss(
    student: Sequence[Sequence[float]], teacher: Sequence[Sequence[float]], temperature: float
) -> float:
    """tau^2 * mean over the batch of sum_c p_t log(p_t / p_s)."""
    total = 0.0
    for student_row, teacher_row in zip(student, teacher, strict=True):
        p_student = _softmax([z / temperature for z in student_row])
        p_teacher = _softmax([z / temperature for z in teacher_row])
        total += sum(t * math.log(t / s) for t, s in zip(p_teacher, p_student, strict=True))
    return temperature**2 * total / len(student)


def _softmax(logits: Sequence[float]) -> list[float]:
    exponentials = [math.exp(z) for z in logits]
    return [e / sum(exponentials) for e in exponentials]
