"""What an optimizer snapshot becomes after a surgery."""

import torch

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, TensorEdit
from apt_core.trainer.engine import OptimizerSnapshot

NAMES = ("cut", "gone", "same")


def snapshot() -> OptimizerSnapshot:
    tensors = {name: torch.arange(4.0).reshape(2, 2) for name in NAMES}
    steps = dict.fromkeys(NAMES, 5.0)
    return OptimizerSnapshot(tensors, tensors, tensors, steps, {"cur_scale": 4.0})


def surgery() -> Surgery:
    edit = TensorEdit(keep=((0, torch.tensor([1])),), pad=((1, 3),))
    structure = Structure(2, ())
    return Surgery(structure, structure, edits={"cut": edit}, removed=frozenset({"gone"}))


def test_surviving_slices_keep_their_moments_and_grown_entries_get_zeros() -> None:
    after = snapshot().after(surgery())
    for moments in (after.exp_avg, after.exp_avg_sq):
        assert moments.keys() == {"cut", "same"}
        assert moments["cut"].tolist() == [[2.0, 3.0, 0.0]]
    assert after.steps == {"cut": 5.0, "same": 5.0}
    assert after.loss_scaler == {"cur_scale": 4.0}


def test_masters_of_edited_parameters_are_dropped_because_the_module_has_the_truth() -> None:
    assert snapshot().after(surgery()).masters.keys() == {"same"}


def test_reset_forgets_moments_and_steps_but_not_values_and_loss_scale() -> None:
    after = snapshot().after(surgery(), reset=True)
    assert not after.exp_avg
    assert not after.exp_avg_sq
    assert not after.steps
    assert after.masters.keys() == {"same"}
    assert after.loss_scaler == {"cur_scale": 4.0}
