import pytest
import torch

from apt_core.distiller.teacher import snapshot_teacher
from apt_core.models.calls import call_model
from apt_core.models.spec import HeadKind
from tests.tiny import CASES, tiny_batch, tiny_model


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_a_teacher_is_the_student_of_this_moment_over_the_same_frozen_weights(
    family: str, head_kind: HeadKind
) -> None:
    loaded, _ = tiny_model(family, head_kind=head_kind)
    student = loaded.model.eval()
    teacher = snapshot_teacher(student)
    batch = tiny_batch(head_kind=head_kind)
    with torch.no_grad():
        theirs = call_model(teacher, head_kind, batch).loss
        torch.testing.assert_close(theirs, call_model(student, head_kind, batch).loss)
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
        torch.testing.assert_close(call_model(teacher, head_kind, batch).loss, theirs)
    own = {id(p) for p in student.parameters() if not p.requires_grad}
    shared = [p for p in teacher.parameters() if id(p) in own]
    assert len(shared) == len(own)
    assert not any(p.requires_grad for p in teacher.parameters())
