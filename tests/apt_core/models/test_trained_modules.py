import torch
from torch import nn

from apt_core.distiller.projection import LayerProjection
from apt_core.distiller.teacher import snapshot_teacher
from apt_core.models.trained_modules import STUDENT, TrainedModules
from tests.tiny import tiny_model


def modules_with_teacher() -> TrainedModules:
    modules = TrainedModules(nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1)))
    modules.teacher = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1))
    modules.teacher[0].weight = modules.student[0].weight
    modules.teacher[2].bias = modules.student[2].bias
    modules.projection = LayerProjection(
        3, rank=1, scaling=1.0, seed=0, like=modules.student[0].weight
    )
    return modules


def test_absent_children_have_no_parameters() -> None:
    modules = TrainedModules(nn.Linear(2, 3))
    assert modules.teacher is None
    assert modules.projection is None
    assert modules.gates is None
    assert {n for n, _ in modules.named_parameters()} == {f"{STUDENT}weight", f"{STUDENT}bias"}
    assert list(modules.shared_with_teacher()) == []


def test_the_teacher_evaluates_whatever_the_mode() -> None:
    modules = modules_with_teacher()
    assert modules.train() is modules
    assert modules.student[1].training
    assert modules.projection.training
    assert not modules.teacher[1].training
    modules.eval()
    assert not modules.student[1].training
    assert not modules.projection.training


def test_only_the_students_own_objects_count_as_shared() -> None:
    modules = modules_with_teacher()
    assert set(modules.shared_with_teacher()) == {"0.weight", "2.bias"}


def test_forward_calls_the_function_with_the_modules_themselves() -> None:
    modules = modules_with_teacher()
    assert modules(lambda root, a, b: (root is modules, a + b), 1, 2) == (True, 3)


def test_the_student_parts_from_the_teacher_where_it_is_told_to() -> None:
    loaded, _ = tiny_model("t5")
    modules = TrainedModules(loaded.model)
    modules.teacher = snapshot_teacher(modules.student)
    shared = set(modules.shared_with_teacher())
    own = ["shared.weight", "encoder.embed_tokens.weight"]
    assert set(own) < shared
    before = modules.student.get_parameter(own[0])
    modules.part_from_teacher([f"teacher.{name}" for name in own] + ["student.lm_head.weight"])
    assert not shared.intersection(own) & set(modules.shared_with_teacher())
    after = [modules.student.get_parameter(name) for name in own]
    assert after[0] is after[1]  # tied as before
    assert torch.equal(after[0], before)
    assert after[0].requires_grad == before.requires_grad
    assert modules.teacher.get_parameter(own[0]) is before


def test_without_a_teacher_there_is_nothing_to_part_from() -> None:
    loaded, _ = tiny_model("bert")
    modules = TrainedModules(loaded.model)
    before = dict(modules.named_parameters())
    modules.part_from_teacher([f"teacher.{name}" for name in before])
    assert all(p is before[name] for name, p in modules.named_parameters())
