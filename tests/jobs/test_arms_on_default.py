"""Every arm on the embedded default, cut to half: a pretrained model, and its own budget met."""

from pathlib import Path
from typing import get_args

import pytest

from apt_core.config import Ablation, Arm, arm_switches, load_config
from apt_core.config.arms import is_known, same_ablation
from apt_core.trainer.build import run_training

DEMO = Path(__file__).parents[2] / "jobs" / "configs" / "demo.yaml"
TARGET, ONE_POINT = 0.5, 0.01
SHORT = (
    "orchestration.grid=[]",
    f"pruning.target_sparsity={TARGET}",
    "data.train_rows=512",
    "data.eval_rows=64",
    "training.max_steps=32",
    "training.batch_size=8",
    "training.micro_batch_size=8",
    "training.warmup=0",
    "training.eval_every=32",
    "training.save_every=32",
    "pruning.start=6 steps",
    "pruning.stop=22 steps",
    "pruning.num_events=3",
    "pruning.window=4 steps",
    "pruning.mask_step=0.25",
    "pruning.calibration_batches=2",
    "distillation.stop=28 steps",
    "evaluation.measure_efficiency=false",
    "hardware.engine=torch",
)
WRITES = ("model.model_type=toy_llama", "data.dataset=toy_instruction", "data.max_length=64")
CASES = [
    (arm, ablation)
    for arm in get_args(Arm)
    for ablation in get_args(Ablation)
    if is_known(arm, ablation) and ablation == same_ablation(ablation)
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def short_run(arm, ablation, *, run_dir, cache):
    settings = [*SHORT, f"arm={arm}", f"ablation={ablation}", f"data.cache_dir={cache}"]
    switches = arm_switches(arm, ablation)
    if switches.decoder_only:
        settings += WRITES
    if switches.teacher != "self":
        teacher = run_dir / "teacher"
        short_run(switches.teacher, "full", run_dir=teacher, cache=cache)
        settings.append(f"distillation.teacher_path={teacher / 'export'}")
    return run_training(load_config([DEMO], settings), run_dir=run_dir, run_id="0123456789")


@pytest.mark.parametrize(("arm", "ablation"), CASES)
def test_every_arm_keeps_within_a_point_of_its_target(arm, ablation, tmp_path, cache):
    report = short_run(arm, ablation, run_dir=tmp_path, cache=cache)
    target = TARGET if arm_switches(arm, ablation).prune else 0.0
    assert report.target_sparsity == target
    assert target <= report.sparsity <= target + ONE_POINT
    assert not [warning for warning in report.warnings if "target" in warning]
