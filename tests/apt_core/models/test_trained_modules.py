from torch import nn

from apt_core.models.trained_modules import STUDENT, TrainedModules


def modules_with_teacher() -> TrainedModules:
    modules = TrainedModules(nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1)))
    modules.teacher = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1))
    modules.teacher[0].weight = modules.student[0].weight
    modules.teacher[2].bias = modules.student[2].bias
    modules.projection = nn.Linear(3, 3)
    return modules


def test_absent_children_have_no_parameters() -> None:
    modules = TrainedModules(nn.Linear(2, 3))
    assert modules.teacher is None
    assert modules.projection is None
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
