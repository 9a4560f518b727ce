"""The engines against an oracle, interrupted, overflowing and rebuilt, on one and two workers.

DeepSpeed takes seconds to import, so each number of workers runs all its cases in one go; the tests
look at the parts.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.reference.engine_cases import (
    RESUMES,
    run_on_one_worker,
    run_on_two_workers,
    save_after,
)
from tests.reference.engine_tools import largest_difference
from tests.spawn import run_workers

pytestmark = pytest.mark.xdist_group("engines")
WORKERS = [
    pytest.param(1, id="1-worker"),
    pytest.param(2, id="2-workers", marks=pytest.mark.distributed),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module", params=WORKERS)
def results(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    cases = run_on_one_worker if request.param == 1 else run_on_two_workers
    found = run_workers(cases, num_workers=request.param, timeout_s=280, folder=str(folder))
    assert all(result.keys() == found[0].keys() for result in found)
    merged: dict[str, Any] = found[0]
    merged["others"] = found[1:]
    return merged


def test_a_run_with_surgery_equals_plain_adamw_with_the_same_surgery(
    results: dict[str, Any],
) -> None:
    for case in ("oracle", "oracle_accumulating"):
        for kind, (weights, norms) in results.get(case, {}).items():
            assert weights < 1e-6, (case, kind)
            assert norms < 2e-6, (case, kind)


def test_deepspeed_stage_0_equals_the_torch_engine(results: dict[str, Any]) -> None:
    differences = results["oracle"]
    assert differences["torch"][0] + differences["0"][0] < 1e-6


def test_workers_agree_on_the_weights(results: dict[str, Any]) -> None:
    assert all(other["oracle"] == results["oracle"] for other in results["others"])


def test_a_resumed_run_is_bit_identical_in_weights_moments_and_steps(
    results: dict[str, Any],
) -> None:
    assert len(results["resume"]) >= 4
    assert set(results["resume"].values()) == {0.0}


def test_rebuilding_leaves_no_hook_no_engine_and_no_tensor_behind(results: dict[str, Any]) -> None:
    for kind, (early, late) in results["leaks"].items():
        hooks, engines, num_tensors, num_bytes = late
        assert (hooks, engines) == (0, 0), kind
        assert num_tensors <= early[2], kind
        assert num_bytes <= early[3], kind


def test_hooks_see_this_workers_own_full_gradients_over_the_accumulation_steps(
    results: dict[str, Any],
) -> None:
    assert results["hooks"]
    assert all(difference < 1e-6 for difference in results["hooks"].values())


def test_an_overflow_in_one_worker_skips_the_step_of_all_and_lowers_the_scale(
    results: dict[str, Any],
) -> None:
    for stage, found in results["overflow"].items():
        assert found["overflowed"], stage
        assert found["grad_norm"] == 0.0, stage
        assert found["loss_scale"] > 1.0, stage
        assert found["moved"] == 0.0, stage
        assert found["steps_kept"], stage
        assert found["scale_halved"], stage


def test_the_loss_scaler_is_restored_and_norms_are_reported_unscaled(
    results: dict[str, Any],
) -> None:
    for stage, found in results["overflow"].items():
        assert found["scaler_restored"], stage
        assert 0.1 < found["norms_after"][-1] < 10.0, stage


def test_a_step_with_nan_gradients_changes_nothing_and_training_goes_on(
    results: dict[str, Any],
) -> None:
    for kind, (overflowed, norm, moved, norm_after) in results["not_finite"].items():
        assert (overflowed, norm, moved) == (True, 0.0, 0.0), kind
        assert 0.1 < norm_after < 10.0, kind


def test_empty_tensors_late_parameters_and_evaluation_do_not_disturb(
    results: dict[str, Any],
) -> None:
    assert all(difference < 1e-6 for difference in results["odd_shapes"].values())


def test_another_process_continues_bit_identically(results: dict[str, Any], folder: Path) -> None:
    if results["others"]:
        pytest.skip("the run on one worker left the files")
    run_workers(save_after, num_workers=1, folder=str(folder), cases=RESUMES, start=3, stop=6)
    for kind, precision in RESUMES:
        path = folder / f"{kind}-{precision}.pt"
        resumed, straight = (
            torch.load(file, weights_only=False) for file in (path, path.with_suffix(".straight"))
        )
        assert largest_difference(resumed[0], straight[0]) == 0.0, path.name
        moments: list[dict[str, Tensor]] = [dict(s.exp_avg_sq) for _, s in (resumed, straight)]
        assert largest_difference(*moments) == 0.0, path.name
        assert resumed[1].steps == straight[1].steps, path.name


def test_deepspeed_comes_without_mlflow_and_leaves_it_importable() -> None:
    code = (
        "import sys, importlib.util; import apt_core.trainer.deepspeed_engine; "
        "assert 'mlflow' not in sys.modules; assert importlib.util.find_spec('mlflow')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
