"""Whole tiny runs, one per arm; engines and worker counts that must not matter."""

import json
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from apt_core.data.batch import model_inputs
from apt_core.data.loader import DatasetLoader
from apt_core.data.tasks import TaskSpec
from apt_core.errors import ConfigError
from apt_core.evaluator.metrics import METRICS
from apt_core.models.export import load_pruned
from apt_core.models.loading import load_tokenizer
from apt_core.report import RunReport
from apt_core.trainer.build import build_trainer, run_training
from tests.nightly import BETWEEN
from tests.reference.training_cases import ID, decisions, logged, run_tiny
from tests.spawn import run_workers
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, TOTAL_STEPS, tiny_experiment

TARGET = 0.5
ARMS = {
    "ft": ("arm=ft",),
    "lora": ("arm=lora",),
    "apt": (),
    "w/o_Ap": ("ablation=w/o_Ap",),
    "w/o_AT": ("ablation=w/o_AT",),
    "w/o_Ds": ("ablation=w/o_Ds",),
}
PRUNES = {"apt", "w/o_AT", "w/o_Ds"}
GROWS = {"apt", "w/o_Ap", "w/o_Ds"}
DISTILS = {"apt", "w/o_Ap", "w/o_AT"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def arms(root):
    """Every arm once: its report and its folder."""
    return {
        name: (
            run_training(
                tiny_experiment(root, *overrides),
                run_dir=root / ID / str(i),
                run_id=ID,
                command=name,
            ),
            root / ID / str(i),
        )
        for i, (name, overrides) in enumerate(ARMS.items())
    }


@pytest.fixture(params=ARMS)
def arm(request, arms):
    return request.param, *arms[request.param]


def test_an_arm_reaches_its_sparsity_and_is_never_denser_than_its_target(arm):
    name, report, _ = arm
    target = TARGET if name in PRUNES else 0.0
    assert report.target_sparsity == target
    assert target <= report.sparsity < target + 0.01
    assert report.warnings == ()
    assert any(surgery["pruned"] for surgery in report.surgeries) == (name in PRUNES)


def test_each_surgery_tells_where_it_began_and_each_cut_what_it_turned_on(arm):
    _, report, _ = arm
    shape = ("hidden_size", "heads", "neurons", "ranks")
    for earlier, later in pairwise(report.surgeries):
        assert {key: earlier[key] for key in shape} == later["before"]
    for surgery in report.surgeries:
        assert ("border" in surgery) == surgery["pruned"]
        if surgery["pruned"]:
            assert surgery["border"]["neuron"]["num_kept"] == sum(surgery["neurons"])
            assert surgery["border"]["hidden_dim"]["num"] == surgery["before"]["hidden_size"]


def test_ranks_grow_exactly_in_arms_that_grow_them(arm):
    name, report, _ = arm
    ranks = report.structure["ranks"].values()
    assert {s["step"] for s in report.surgeries if s["grown"]} <= set(EVENTS)
    if name == "ft":
        assert not ranks
    elif name in GROWS:
        assert max(ranks) > min(ranks) == 2
    else:
        assert set(ranks) == {2}


def test_there_is_a_teacher_exactly_in_arms_that_distil(arm):
    name, report, folder = arm
    changes = [(s["step"], s["has_teacher"]) for s in report.surgeries if s["teacher_changed"]]
    expected = [(TEACHER_STEP, True), (DISTILL_STOP, False)] if name in DISTILS else []
    assert changes == expected
    taught = {step for step, value in logged(folder, "train/loss_distill").items() if value > 0}
    # The teacher is taken after its step, and at that moment equals the student.
    between = set(range(TEACHER_STEP + 2, DISTILL_STOP + 1))
    assert between <= taught <= between | {TEACHER_STEP + 1} if name in DISTILS else not taught


def test_mu_rises_from_the_start_to_the_end_of_pruning(arms):
    mu = logged(arms["apt"][1], "train/mu")
    rising = [mu[step] for step in range(TEACHER_STEP + 1, EVENTS[-1] + 1)]
    assert rising == sorted(rising)
    assert rising[0] < 0.2
    assert rising[-1] > 0.9
    assert {mu[step] for step in range(EVENTS[-1] + 2, DISTILL_STOP + 1)} == {1.0}
    assert {mu[step] for step in range(DISTILL_STOP + 1, TOTAL_STEPS + 1)} == {0.0}


def test_only_full_tuning_trains_the_pretrained_weights(arms, root):
    before = load_file(root / "model" / "model.safetensors")
    name = "roberta.encoder.layer.0.attention.output.dense.weight"  # adapted in no arm
    moved = {
        arm: not torch.equal(load_file(arms[arm][1] / "export" / "model.safetensors")[name], old)
        for old in [before[name]]
        for arm in ("ft", "lora", "w/o_Ap")
    }
    assert moved == {"ft": True, "lora": False, "w/o_Ap": False}
    peaks = {arm: arms[arm][0].efficiency.num_trainable_params_peak for arm in ARMS}
    assert peaks["lora"] < peaks["w/o_AT"] < peaks["w/o_Ap"] < peaks["ft"]


def test_the_export_loads_again_and_scores_the_same(arm, root):
    _, report, folder = arm
    config = tiny_experiment(root)
    loader = DatasetLoader(
        TaskSpec.of("tiny", config.data.spec),
        load_tokenizer(str(folder / "export"), revision=None, trust_remote_code=False),
        max_length=16,
        seed=1,
        batch_size=8,
        eval_batch_size=24,
        cache_dir=config.data.cache_path,
    )
    ((batch, num_rows),) = list(loader.eval_batches())
    with torch.no_grad():
        outputs = load_pruned(folder / "export")(**model_inputs(batch))
    assert num_rows == 24
    assert METRICS["accuracy"](outputs.logits.argmax(-1), batch["labels"]) == report.metric
    # The tiny model's accuracy is coarse; its loss is not.
    loss = logged(folder, "eval/loss")[TOTAL_STEPS]
    torch.testing.assert_close(outputs.loss, torch.tensor(loss), rtol=1e-5, atol=0)


def test_the_report_comes_back_from_its_file(arm):
    name, report, folder = arm
    loaded = RunReport.load(folder / "result.json")
    written = json.loads(json.dumps(report.to_json()))
    assert loaded == RunReport.from_json(written)
    assert json.loads(json.dumps(loaded.to_json())) == written
    assert loaded.command == name
    assert [point.step for point in loaded.history] == [12, 24, 36]
    assert loaded.environment["engine"] == "torch"


def test_after_the_last_step_a_run_only_reports_again(root, arms):
    report, folder = arms["apt"]
    (folder / "result.json").unlink()
    again = run_training(tiny_experiment(root), run_dir=folder, run_id=ID)
    assert (folder / "result.json").is_file()
    assert again.metric == report.metric
    assert again.structure == report.structure
    assert decisions(again) == decisions(report)


def test_in_bf16_the_pruned_and_the_dense_model_are_timed_and_the_export_is_fp32(root, tmp_path):
    config = tiny_experiment(
        root,
        "hardware.precision=bf16",
        "evaluation.measure_efficiency=true",
        "evaluation.inference_batch_size=[4]",
        "evaluation.latency_repeats=2",
    )
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    (point,) = report.efficiency.inference
    assert point.batch_size == 4
    assert point.latency_ms > 0
    assert point.dense_latency_ms > 0
    tensors = load_file(tmp_path / "export" / "model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_a_wrong_number_of_workers_is_refused(root, tmp_path):
    config = tiny_experiment(root, "hardware.num_workers=2")
    with pytest.raises(ConfigError, match=r"is 2, but 1 worker\(s\).*num_workers=1"):
        run_training(config, run_dir=tmp_path, run_id=ID)


def test_equal_seeds_build_equal_models_and_other_seeds_others(root, tmp_path):
    def weights(seed):
        config = tiny_experiment(root, f"training.seed={seed}")
        return build_trainer(config, run_dir=tmp_path, run_id=ID).modules.state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A model without dropout: only then do engines and worker counts compute the same."""
    root = tmp_path_factory.mktemp("quiet")
    return root, run_tiny(str(root), str(root / "reference"), [])


def assert_same_decisions(result, expected):
    assert result["decisions"] == expected["decisions"]
    assert result["metric"] == expected["metric"]
    assert any(d["hidden_size"] or d["heads"] for d in expected["decisions"])


@pytest.mark.distributed
@pytest.mark.parametrize("engine", ["torch", "deepspeed"])
def test_two_workers_decide_what_one_decides(engine, quiet, tmp_path):
    root, expected = quiet
    overrides = ["hardware.num_workers=2", f"hardware.engine={engine}", "hardware.zero_stage=2"]
    results = run_workers(run_tiny, root=str(root), run_dir=str(tmp_path), overrides=overrides)
    for result in results:
        assert_same_decisions(result, expected)
    # The loss that is logged is that of the step, not of the first worker's half of it. Once there
    # is a teacher each worker's own padding counts in hidden states.
    one, both = logged(root / "reference", "train/loss"), logged(tmp_path, "train/loss")
    for step in range(1, TEACHER_STEP + 1):
        assert both[step] == pytest.approx(one[step], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, *BETWEEN, 3])
def test_every_zero_stage_decides_and_scores_like_the_torch_engine(zero_stage, quiet, tmp_path):
    root, expected = quiet
    overrides = ["hardware.engine=deepspeed", f"hardware.zero_stage={zero_stage}"]
    (result,) = run_workers(
        run_tiny, num_workers=1, root=str(root), run_dir=str(tmp_path), overrides=overrides
    )
    assert_same_decisions(result, expected)
