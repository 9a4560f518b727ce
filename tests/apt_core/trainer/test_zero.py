"""ZeRO 0 to 3 in fp32 and bf16 on one and two workers: memory, decisions, ten rebuilds.

What a worker holds is looked at with every change; whole runs of all sixteen combinations and ten
rebuilds of each are made by night. fp16 needs a GPU.
"""

from typing import Any

import pytest

from apt_core.capacity.memory import Division, Params, optimizer_bytes
from tests.nightly import nightly
from tests.reference.training_cases import logged, run_tiny
from tests.reference.zero_cases import (
    FROZEN,
    PRECISIONS,
    STAGES,
    TRAINED,
    key,
    run_all,
    run_held,
)
from tests.spawn import run_workers
from tests.tiny_run import EVENTS

WORKERS = (1, 2)
WIDTHS = {"fp32": 4, "bf16": 2}
BF16_PRECISION = 2**-8
"""Distance of neighbours, relative to them; a sum of a few rounded numbers is as close."""
BF16_ON_TWO = pytest.param(
    2, "bf16", marks=pytest.mark.xfail(reason="near ties fall apart by rounding", strict=False)
)
"""Wanted, and not reached; what holds is in a test of its own."""
EVERYTHING = [(stage, precision) for stage in STAGES for precision in PRECISIONS]


@pytest.fixture(scope="module")
def held() -> dict[int, dict[str, int]]:
    """Workers -> stage and number format -> bytes of the first of them."""
    found = {count: run_workers(run_held, num_workers=count, timeout_s=280) for count in WORKERS}
    for count, results in found.items():
        assert {result["num_workers"] for result in results} == {count}
    return {count: results[0]["held"] for count, results in found.items()}


def predicted(stage: int, precision: str, num_workers: int) -> tuple[int, int]:
    """Bytes between two steps as the planner counts them: without and with gradients' buffers."""
    width, params = WIDTHS[precision], Params(FROZEN, TRAINED)
    division = Division(stage, num_workers)
    state = division.share(width * params.total, 3) + optimizer_bytes(TRAINED, width, division)
    return state, state + 2 * width * TRAINED


@pytest.mark.distributed
@pytest.mark.parametrize("num_workers", WORKERS)
@pytest.mark.parametrize(("stage", "precision"), EVERYTHING)
def test_a_worker_holds_what_the_planner_says(
    held: dict[int, dict[str, int]], stage: int, precision: str, num_workers: int
) -> None:
    least, most = predicted(stage, precision, num_workers)
    assert 0.99 * least < held[num_workers][key(stage, precision)] < 1.02 * most


@pytest.mark.distributed
@pytest.mark.parametrize("precision", PRECISIONS)
def test_memory_of_a_worker_falls_with_the_workers_and_most_under_zero_3(
    held: dict[int, dict[str, int]], precision: str
) -> None:
    ratios = {s: held[2][key(s, precision)] / held[1][key(s, precision)] for s in STAGES}
    assert ratios[0] == pytest.approx(1.0, abs=0.01)
    assert ratios[1] < 0.99
    assert ratios[2] < 0.99
    assert ratios[3] < 0.65
    assert min(ratios, key=ratios.__getitem__) == 3
    two = [held[2][key(stage, precision)] for stage in STAGES]
    assert two[3] < min(two[:3])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What plain PyTorch decides, and everything under ZeRO by number of workers."""
    root = tmp_path_factory.mktemp("zero")
    found: dict[str, Any] = {"root": root} | {
        p: run_tiny(str(root), str(root / p), [f"hardware.precision={p}"]) for p in PRECISIONS
    }
    for count in WORKERS:
        found[str(count)] = run_workers(
            run_all,
            num_workers=count,
            timeout_s=900,
            root=str(root),
            run_dir=str(root / str(count)),
        )
    return found


@nightly("takes many minutes")
@pytest.mark.distributed
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("num_workers", "precision"), [(1, "fp32"), (1, "bf16"), (2, "fp32"), BF16_ON_TWO]
)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_decides_what_plain_pytorch_does(
    runs: dict[str, Any], stage: int, precision: str, num_workers: int
) -> None:
    expected = runs[precision]
    assert any(d["hidden_size"] or d["heads"] for d in expected["decisions"])
    for worker in runs[str(num_workers)]:
        assert worker["runs"][key(stage, precision)]["decisions"] == expected["decisions"]


@nightly("takes many minutes")
@pytest.mark.distributed
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", STAGES)
def test_in_bf16_two_workers_differ_from_one_by_rounding(runs: dict[str, Any], stage: int) -> None:
    """Two workers round their gradients before they are summed, so that near ties may fall apart.

    One worker with other micro-batches does too. What must hold: workers agree, gradients are
    those of one worker to a number's precision, and the first cut differs by a unit at most.
    """
    expected = runs["bf16"]
    found, other = (worker["runs"][key(stage, "bf16")] for worker in runs["2"])
    assert found == other
    assert found["sparsity"] == pytest.approx(expected["sparsity"], abs=0.01)
    norms = logged(runs["root"] / "2" / f"{stage}-bf16", "train/grad_norm")
    for step, norm in logged(runs["root"] / "bf16", "train/grad_norm").items():
        if step <= EVENTS[0]:
            assert norms[step] == pytest.approx(norm, rel=BF16_PRECISION)
    cut, expected_cut = (
        next(d for d in run["decisions"] if d["step"] == EVENTS[0]) for run in (found, expected)
    )
    for shape in ("heads", "neurons"):
        for kept, wanted in zip(cut[shape], expected_cut[shape], strict=True):
            assert abs(kept - wanted) <= 1
    assert abs(cut["hidden_size"] - expected_cut["hidden_size"]) <= 1


@nightly("takes many minutes")
@pytest.mark.distributed
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("num_workers", WORKERS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_memory_is_flat_over_ten_rebuilds(
    runs: dict[str, Any], precision: str, num_workers: int
) -> None:
    for worker in runs[str(num_workers)]:
        for stage, (early, late) in worker["leaks"][precision].items():
            hooks, engines, num_tensors, num_bytes = late
            assert (hooks, engines) == (0, 0), stage
            assert num_tensors <= early[2], stage
            assert num_bytes <= early[3], stage
