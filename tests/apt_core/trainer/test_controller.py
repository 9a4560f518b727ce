"""Decisions on hand-made salience, and what carrying them out does to the modules."""

import copy

import pytest
import torch

from apt_core.errors import TrainingError
from apt_core.pruner.masks import BlockMasks
from apt_core.trainer.controller import FixedController
from apt_core.trainer.decision import Decision
from tests.reference.controller_scene import (
    DENSITIES,
    DISTILL_STOP,
    EVENTS,
    START,
    TEACHER_STEP,
    Scene,
)
from tests.reference.training_cases import check_mismatch
from tests.spawn import run_workers
from tests.tiny import tiny_batch
from tests.tiny_run import tiny_experiment


def test_between_windows_nothing_is_decided_and_no_salience_is_read():
    scene = Scene()
    for step in (1, 6, 11, 16, 31, 36):
        assert scene.decide(step) == Decision()
    assert scene.num_reads == 0


def test_inside_a_window_only_masks_move():
    decision = Scene(distill=False).decide(7)
    assert decision.mask is not None
    assert decision.prune is None
    assert decision.tune is None
    assert not decision.changes_shape


def test_an_event_prunes_to_its_density_and_grows_what_is_left():
    scene = Scene()
    decision = scene.decide(EVENTS[0])
    assert decision.mask is None
    assert decision.changes_shape
    left = decision.prune.structure.num_params() / scene.state.original.num_params()
    assert decision.prune.target_density == DENSITIES[0]
    assert 0.7 < left <= DENSITIES[0]
    assert set(decision.tune.ranks) == set(decision.prune.structure.ranks)
    assert max(decision.tune.ranks.values()) > 3


def test_a_window_points_to_the_density_of_its_own_event():
    scene = Scene()
    scene.apply(scene.decide(EVENTS[0]))
    assert scene.decide(EVENTS[1] - 1).mask.target_density == DENSITIES[1]


def test_an_event_that_lowers_no_density_only_grows_ranks():
    scene = Scene()
    for step in EVENTS[:2]:
        scene.apply(scene.decide(step))
    assert scene.decide(EVENTS[2] - 1) == Decision()
    decision = scene.decide(EVENTS[2])
    assert decision.prune is None
    assert decision.tune is not None


def test_ablated_parts_decide_nothing():
    assert Scene(prune=False).decide(EVENTS[0]).prune is None
    assert Scene(prune=False).decide(EVENTS[0] - 1) == Decision()
    assert Scene(tune=False).decide(EVENTS[0]).tune is None
    assert not Scene(distill=False).decide(TEACHER_STEP).take_teacher


def test_the_teacher_is_taken_once_and_dropped_at_the_end():
    scene = Scene()
    decision = scene.decide(TEACHER_STEP)
    assert decision.take_teacher
    assert decision.changes_shape
    assert decision.mask is not None
    surgery = scene.apply(decision)
    assert surgery.teacher_changed
    assert scene.modules.teacher is not None
    scene.state.teacher_structure = surgery.structure_after
    assert not scene.decide(TEACHER_STEP).take_teacher
    decision = scene.decide(DISTILL_STOP)
    assert decision == Decision(drop_teacher=True)
    scene.apply(decision)
    assert scene.modules.teacher is None
    assert scene.modules.projection is None
    scene.state.teacher_structure = None
    assert scene.decide(DISTILL_STOP) == Decision()


def test_deciding_changes_nothing_and_gives_the_same_again():
    scene = Scene()
    before = copy.deepcopy((scene.state, scene.controller.masks))
    first, second = scene.decide(EVENTS[0]), scene.decide(EVENTS[0])
    assert first.digest() == second.digest()
    before[0].step = EVENTS[0]
    assert (scene.state, scene.controller.masks) == before


def test_salience_is_needed_from_the_start_to_the_last_event():
    needed = [step for step in range(40) if Scene().controller.needs_salience(step)]
    assert needed == list(range(START, EVENTS[-1]))  # steps done before the one that is recorded
    nobody = Scene(prune=False, tune=False).controller
    assert not any(nobody.needs_salience(step) for step in range(40))


def test_a_window_waits_for_salience_but_an_event_cannot():
    scene = Scene(distill=False)
    assert scene.decide(EVENTS[0] - 1, seed=None) == Decision()
    with pytest.raises(TrainingError, match=r"step 10: .*since 2 overflowed.*precision"):
        scene.decide(EVENTS[0], seed=None)


def test_an_event_takes_the_masks_out_then_cuts_then_grows():
    scene = Scene()
    scene.controller.move_masks(scene.decide(EVENTS[0] - 1), scene.modules, scene.state.structure)
    assert scene.controller.masks is not None
    decision = scene.decide(EVENTS[0])
    surgery = scene.apply(decision)
    assert scene.controller.masks is None
    assert surgery.kept is decision.prune.kept
    assert surgery.structure_after == decision.prune.structure.with_ranks(decision.tune.ranks)
    for name, buffer in scene.modules.named_buffers():
        assert "mask" not in name, f"{name}: {buffer}"
    for site, rank in decision.tune.ranks.items():
        assert scene.modules.student.get_submodule(site).lora_a.shape[0] == rank
    assert scene.modules.student(**tiny_batch()).logits.shape == (4, 3)


def test_the_teacher_is_dense_and_the_projection_follows_the_student():
    scene = Scene()
    scene.apply(scene.decide(TEACHER_STEP))
    scene.apply(scene.decide(EVENTS[0]))
    scene.apply(scene.decide(EVENTS[1]))
    assert scene.state.structure.hidden_size < 16
    projection = scene.modules.projection
    assert projection.in_features == scene.state.structure.hidden_size
    assert projection.out_features == 16
    states = scene.modules.teacher(**tiny_batch(labels=False), output_hidden_states=True)
    assert states.hidden_states[-1].shape[-1] == 16


def test_masks_move_by_one_step_toward_the_plan():
    scene = Scene(distill=False)
    decision = scene.decide(EVENTS[0] - 3)
    kept = decision.mask.kept
    for expected in (0.75, 0.5):
        scene.controller.move_masks(decision, scene.modules, scene.state.structure)
        masks = scene.controller.masks
        for name, mask in [("", masks.hidden), *masks.units.items()]:
            indices = kept.units[name] if name else kept.hidden
            full = torch.full_like(mask, expected)
            full[indices] = 1.0
            assert torch.equal(mask, full)


def test_without_a_mask_plan_masks_stay():
    scene = Scene()
    scene.controller.move_masks(Decision(), scene.modules, scene.state.structure)
    assert scene.controller.masks is None


def test_restored_masks_act_in_the_model():
    scene, batch = Scene(), tiny_batch(labels=False)
    scene.modules.eval()
    before = scene.modules.student(**batch).logits
    masks = BlockMasks(scene.state.structure)
    masks.hidden[::2] = 0.5
    scene.controller.restore_masks(masks, scene.modules)
    assert scene.controller.masks is masks
    assert not torch.allclose(scene.modules.student(**batch).logits, before)


def test_the_controller_of_fixed_arms_does_nothing():
    scene, fixed = Scene(), FixedController()
    for scene.state.step in (TEACHER_STEP, *EVENTS, DISTILL_STOP):
        assert fixed.decide(scene.state, scene.salience) == Decision()
        assert not fixed.needs_salience(scene.state.step)
    before = copy.deepcopy(scene.modules.state_dict())
    surgery = fixed.apply(Decision(), scene.modules, scene.state)
    fixed.move_masks(Decision(), scene.modules, scene.state.structure)
    fixed.restore_masks(BlockMasks(scene.state.structure), scene.modules)
    assert surgery.structure_after == surgery.structure_before == scene.state.structure
    assert scene.modules.state_dict().keys() == before.keys()
    assert fixed.masks is None


@pytest.mark.distributed
def test_workers_that_decide_differently_stop(tmp_path):
    tiny_experiment(tmp_path)
    results = run_workers(check_mismatch, root=str(tmp_path), run_dir=str(tmp_path / "run"))
    for nothing_to_decide, event in results:
        assert nothing_to_decide == ""
        assert event.startswith("step 12: the workers decided differently")
