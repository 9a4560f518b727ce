"""The planner against measured training steps: within 15% of their peak, in every phase."""

import itertools

import pytest

from apt_core.bench.flops import Rows
from apt_core.bench.phases import (
    CONTROL,
    DISTILLING,
    PLAIN,
    PRUNING,
    RETRAINING,
    TAUGHT,
    TUNING,
    Phase,
)
from apt_core.trainer.build_capacity import planned_phases, subject_of
from jobs.common import read_config
from tests.nightly import nightly
from tests.reference.measured_memory import (
    TOYS,
    measured_peak,
    predicted_peak,
    toy_config,
    toy_subject,
)

WITHIN = 0.15
PHASES_OF = {
    "lora": (CONTROL,),
    "ft": (PLAIN,),
    "apt": (TUNING, PRUNING, TAUGHT, DISTILLING, RETRAINING),
}
FEW = (
    ("roberta", "apt", TAUGHT, "fp32", False),
    ("roberta", "apt", RETRAINING, "fp32", False),
    ("roberta", "ft", PLAIN, "bf16", True),
    ("t5", "lora", CONTROL, "fp32", False),
    ("t5", "apt", PRUNING, "fp32", True),
    ("llama", "ft", PLAIN, "fp32", False),
    ("llama", "apt", DISTILLING, "fp32", False),
    ("llama", "apt", PRUNING, "bf16", False),
)
"""Every family, arm, number format, checkpointing and phase is in one of them."""
ALL = tuple(
    (family, arm, phase, precision, recomputes)
    for family, precision, recomputes in itertools.product(TOYS, ("fp32", "bf16"), (False, True))
    for arm, phases in PHASES_OF.items()
    for phase in phases
)
CASES = [
    pytest.param(
        *case,
        marks=() if case in FEW else nightly("takes many minutes"),
        id="-".join(map(str, name)),
    )
    for case in ALL
    for name in [(case[0], case[1], case[2].name, case[3], "again" if case[4] else "kept")]
]


@pytest.mark.parametrize(("family", "arm", "phase", "precision", "recomputes"), CASES)
def test_predicted_memory_is_within_15_percent_of_the_measured_peak(
    family: str, arm: str, phase: Phase, precision: str, recomputes: bool
) -> None:
    config = toy_config(
        family,
        f"arm={arm}",
        f"hardware.precision={precision}",
        f"hardware.gradient_checkpointing={str(recomputes).lower()}",
    )
    measured, structure = measured_peak(config, phase)
    cut = structure if phase.is_pruned else None
    predicted = predicted_peak(toy_subject(config, phase), phase, cut)
    assert predicted == pytest.approx(measured, rel=WITHIN)


@nightly("takes minutes")
@pytest.mark.parametrize("family", list(TOYS))
def test_a_guess_of_the_cut_shape_errs_towards_more_memory(family: str) -> None:
    config = toy_config(family, "arm=apt")
    measured, _ = measured_peak(config, RETRAINING)
    guessed = predicted_peak(toy_subject(config, RETRAINING), RETRAINING, None)
    assert 0.95 < guessed / measured < 1.6


def subject(*overrides: str, model: str = "embedded:toy-roberta"):
    config = read_config(None, ["training.batch_size=8", "orchestration.grid=[]", *overrides])
    return subject_of(config, model, Rows(8, 32, 16))


def by_name(*overrides: str):
    return {phase.name: phase for phase in planned_phases(subject(*overrides))}


def test_a_subject_has_a_shape_but_no_weights() -> None:
    found = subject()
    assert {p.device.type for p in found.loaded.model.parameters()} == {"meta"}
    assert found.structure.num_params() == 1_189_632
    # An encoder writes nothing.
    assert found.rows == Rows(8, 32, 0)
    assert subject(model="embedded:toy-t5").rows.target_tokens == 16


def test_apt_goes_through_every_phase_and_between_them_has_two_models() -> None:
    phases = by_name()
    names = ["tuning", "pruning", "pruning, taught", "first cut", "distilling", "retraining"]
    assert list(phases) == names
    dense = phases["tuning"].params
    assert phases["pruning, taught"].params.teacher < 0.1 * dense.total
    assert phases["first cut"].params.teacher > dense.frozen
    assert phases["distilling"].params.frozen < dense.frozen
    assert phases["retraining"].params.teacher == 0


def test_other_arms_have_the_phases_that_they_go_through() -> None:
    assert list(by_name("arm=ft")) == ["tuning"]
    assert list(by_name("ablation=w/o_Ds")) == ["tuning", "pruning", "retraining"]


def test_parameters_are_those_of_the_adapted_model() -> None:
    adapted = subject()
    tuning = by_name()["tuning"].params
    counts = {
        learns: sum(
            p.numel() for p in adapted.loaded.model.parameters() if p.requires_grad is learns
        )
        for learns in (True, False)
    }
    assert (tuning.frozen, tuning.trained) == (counts[False], counts[True])
    whole = by_name("arm=ft")["tuning"].params
    assert (whole.frozen, whole.trained) == (
        0,
        sum(p.numel() for p in subject("arm=ft").loaded.model.parameters()),
    )


def test_the_cut_model_has_the_density_asked_for_and_grown_adapters() -> None:
    phases = by_name("pruning.target_sparsity=0.6")
    dense, cut = (phases[n].network.structure for n in ("tuning", "retraining"))
    assert 0.38 < cut.num_params() / dense.num_params() <= 0.4
    growth = cut.num_adapter_params() / dense.num_adapter_params()
    assert growth == pytest.approx(4.0, rel=0.1)


def test_the_kurtosis_is_taken_of_one_writer_at_a_time() -> None:
    phases = by_name("pruning.use_kurtosis=true")
    assert phases["pruning"].params.writer == 512 * 128
    assert phases["tuning"].params.writer == 0
    assert by_name("pruning.use_kurtosis=false")["pruning"].params.writer == 0


def test_steps_are_counted_where_the_dataset_or_a_maximum_says_how_many() -> None:
    assert {p.num_steps for p in planned_phases(subject())} == {None}
    times = ("training.num_epochs=null", "training.max_steps=100", "pruning.start=10 steps")
    cuts = ("pruning.stop=40 steps", "pruning.num_events=3", "pruning.window=5 steps")
    more = (*cuts, "pruning.mask_step=0.2", "distillation.stop=60 steps")
    steps = {p.name: p.num_steps for p in planned_phases(subject(*times, *more))}
    # Events at 20, 30 and 40; the first window opens at 15.
    assert steps["tuning"] + steps["pruning, taught"] == 40
    assert (steps["distilling"], steps["retraining"]) == (20, 40)
    assert steps["first cut"] is None
    rows = planned_phases(subject("training.num_epochs=50", *times[2:], *more), train_rows=400)
    assert sum(p.num_steps or 0 for p in rows) == 50 * 50


def test_salience_holds_the_gradient_of_one_factor_of_every_branch() -> None:
    found = subject()
    structure = found.structure
    pruning = by_name()["pruning"].params.salience
    # Rank 8; outputs of q and v 128 each, of the neurons 512; 6 layers.
    assert pruning == 8 * (128 + 128 + 512) * 6
    assert structure.num_adapter_params() > pruning
    assert by_name("ablation=w/o_AT")["pruning"].params.salience == 0
