"""A better student takes its teacher's place: the decision, the modules, and whole runs."""

import pytest
import torch

from apt_core.trainer.build import run_training
from apt_core.trainer.reporter import Reporter
from tests.reference.controller_scene import EVENTS, TEACHER_STEP, WINDOW, Scene
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, outcome
from tests.tiny import tiny_batch
from tests.tiny_run import tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("refresh")


def needing(scene):
    """Steps whose decision rests on the held-out rows."""
    steps = []
    for scene.state.step in range(40):
        if scene.controller.needs_held_out(scene.state):
            steps.append(scene.state.step)
    return steps


def test_held_out_rows_are_looked_at_where_a_teacher_may_be_taken():
    assert needing(Scene()) == []
    scene = Scene(refresh=True)
    assert needing(scene) == [TEACHER_STEP]
    scene.state.teacher_structure = scene.state.structure
    # Every window opens with a comparison; the event at 30 only grows ranks, so it has none.
    assert needing(scene) == [TEACHER_STEP, 17]
    assert needing(Scene(refresh=True, distill=False)) == []


@pytest.mark.parametrize(("score", "taken"), [(0.5, False), (0.6, False), (0.7, True)])
def test_only_a_better_student_takes_the_place_of_the_teacher(score, taken):
    scene = Scene(refresh=True)
    assert scene.decide(TEACHER_STEP, held_out=0.6).take_teacher
    scene.state.teacher_structure, scene.state.teacher_metric = scene.state.structure, 0.6
    decision = scene.decide(EVENTS[1] - WINDOW + 1, held_out=score)
    assert decision.take_teacher == taken
    assert decision.mask is not None
    assert not scene.decide(EVENTS[1] - WINDOW + 2, held_out=score).take_teacher


def test_without_the_switch_the_first_teacher_stays():
    scene = Scene()
    scene.apply(scene.decide(TEACHER_STEP))
    scene.state.teacher_structure, scene.state.teacher_metric = scene.state.structure, 0.1
    assert not scene.decide(EVENTS[1] - WINDOW + 1, held_out=0.9).take_teacher


def test_the_new_teacher_is_the_pruned_student_of_the_moment_with_a_fresh_projection():
    scene, batch = Scene(refresh=True), tiny_batch(labels=False)
    scene.apply(scene.decide(TEACHER_STEP, held_out=0.1))
    scene.state.teacher_structure, scene.state.teacher_metric = scene.state.structure, 0.1
    scene.apply(scene.decide(EVENTS[0]))
    hidden = scene.state.structure.hidden_size
    scene.modules.projection.lora_b.data.fill_(1.0)
    scene.modules.student.eval()
    surgery = scene.apply(scene.decide(EVENTS[1] - WINDOW + 1, held_out=0.2))
    assert surgery.teacher_changed
    student, teacher = scene.modules.student, scene.modules.teacher
    assert torch.equal(teacher(**batch).logits, student(**batch).logits)
    frozen = {id(p) for p in student.parameters() if not p.requires_grad}
    assert {id(p) for p in teacher.parameters()} >= frozen
    states = torch.randn(2, hidden)
    assert torch.equal(scene.modules.projection(states), states)
    # Its moments are those of another projection: they are dropped, and nobody else's.
    names = {n for n, _ in scene.modules.named_parameters() if n.startswith("projection.")}
    assert surgery.added == names
    gone = surgery.removed
    assert names <= gone
    assert not any(name.startswith("student.") for name in gone)


def test_the_time_that_a_candidate_for_teacher_takes_is_evaluation_time(
    root, tmp_path, monkeypatch
):
    clock = [0.0]

    def slow(self, engine):
        clock[0] += 1000.0
        return clock[0]

    monkeypatch.setattr(Reporter, "held_out", slow)
    monkeypatch.setattr("apt_core.trainer.loop.time.perf_counter", lambda: clock[0])
    config = tiny_experiment(root, "data.holdout_rows=24", "distillation.refresh_teacher=true")
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    assert report.train_time_s == 0.0
    assert report.eval_time_s == 3000.0
    taken = [s["step"] for s in report.surgeries if s["teacher_changed"] and s["has_teacher"]]
    assert taken == [7, 13, 19]


REFRESHING = (
    "data.holdout_rows=24",
    "distillation.refresh_teacher=true",
    "training.save_every=1 steps",
)


@pytest.fixture(scope="module")
def refreshed(root):
    """An undisturbed run whose every candidate becomes the teacher."""
    rising = iter(range(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "held_out", lambda self, engine: next(rising))
        folder = root / "refreshed"
        run_training(tiny_experiment(root, *REFRESHING), run_dir=folder, run_id=ID)
        yield outcome(folder)


@pytest.mark.parametrize("crash", [14, 21])
def test_a_run_whose_teacher_changes_ends_bit_identical(root, refreshed, tmp_path, crash):
    config = tiny_experiment(root, *REFRESHING)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(crash)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), refreshed)
