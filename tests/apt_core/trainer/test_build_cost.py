"""The constraint in whole runs: what is counted, that it is met, that a resume decides alike."""

import json
import shutil

import pytest
import torch

from apt_core.evaluator.efficiency import macs_per_sample
from apt_core.models.structure import Structure
from apt_core.pruner.cost import PARAMS, MacCost
from apt_core.pruner.latency import LatencyCost, kind_of
from apt_core.report import RunReport
from apt_core.trainer import build_cost as module
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build import run_training
from apt_core.trainer.build_cost import LATENCY_TABLE, build_cost
from tests.reference.family_cases import run_family
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, outcome
from tests.spawn import run_workers
from tests.tiny_families import family_experiment
from tests.tiny_run import EVENTS, tiny_experiment

CPU = torch.device("cpu")
QUICK = ("evaluation.latency_repeats=2", "evaluation.latency_warmup=1")
LATENCY = ("pruning.constraint=latency_ms", "pruning.latency_batch_size=2", *QUICK)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cost")


def cost_of(config, folder, run_id=ID):
    loaded = parts.load_task_model(config)
    return build_cost(config, loaded, device=CPU, run_dir=folder, run_id=run_id), loaded


def test_parameters_are_the_default_and_all_that_an_unpruned_arm_knows(root, tmp_path):
    assert cost_of(tiny_experiment(root), tmp_path)[0] is PARAMS
    assert cost_of(tiny_experiment(root, "arm=lora", *LATENCY), tmp_path)[0] is PARAMS
    assert list(tmp_path.iterdir()) == []


def test_macs_count_the_lengths_that_were_asked_for(root, tmp_path):
    macs = "pruning.constraint=macs"
    assert cost_of(tiny_experiment(root, macs), tmp_path)[0] == MacCost(16, 0)
    config = tiny_experiment(root, macs, "pruning.constraint_length=5")
    assert cost_of(config, tmp_path)[0] == MacCost(5, 0)
    t5 = family_experiment(root, "t5", "summarization", macs)
    assert cost_of(t5, tmp_path)[0] == MacCost(64, 8)


def test_a_run_within_a_number_of_macs_reports_what_it_reached(root, tmp_path):
    config = tiny_experiment(root, "pruning.constraint=macs", "pruning.constraint_length=200")
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    left = Structure.from_json(report.structure)
    assert (report.cost_unit, report.cost) == ("MACs", macs_per_sample(left, 200))
    assert 0.5 <= report.cost_sparsity < 0.51
    # At 200 tokens scores weigh as much as projections: the count of parameters is another one.
    assert abs(report.sparsity - report.cost_sparsity) > 0.001
    assert report.warnings == ()
    loaded = RunReport.load(tmp_path / "result.json")
    assert (loaded.cost, loaded.dense_cost) == (report.cost, report.dense_cost)


@pytest.fixture(scope="module")
def undisturbed(root):
    folder = root / "whole"
    report = run_training(tiny_experiment(root, *LATENCY), run_dir=folder, run_id=ID)
    return report, folder


def test_a_run_within_a_latency_keeps_its_table_and_reports_what_it_promises(undisturbed):
    report, folder = undisturbed
    table = json.loads((folder / LATENCY_TABLE).read_text())
    cost = LatencyCost.from_json(table["tables"])
    left = Structure.from_json(report.structure)
    assert report.cost_unit == "ms"
    assert report.cost == cost.total(left) <= 0.5 * report.dense_cost
    assert {kind_of(s) for s in left.sub_blocks} == cost.tables.keys()
    for checkpoint in (folder / "checkpoints").iterdir():
        assert json.loads((checkpoint / LATENCY_TABLE).read_text()) == table


@pytest.mark.parametrize("lost", [False, True], ids=["with its table", "from the checkpoint's"])
def test_a_resumed_run_decides_by_the_table_it_began_with(
    root, undisturbed, lost, tmp_path, monkeypatch
):
    shutil.copy(undisturbed[1] / LATENCY_TABLE, tmp_path / LATENCY_TABLE)
    config = tiny_experiment(root, *LATENCY)
    # Were anything measured anew, the run would decide otherwise, if only by noise.
    monkeypatch.delattr(module, "measure_latencies")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(EVENTS[0])])
    if lost:
        (tmp_path / LATENCY_TABLE).unlink()
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))
    assert (tmp_path / LATENCY_TABLE).is_file()


def test_a_table_of_another_run_or_a_torn_one_is_measured_anew(root, tmp_path):
    config = tiny_experiment(root, *LATENCY)
    path = tmp_path / LATENCY_TABLE
    for text in ('{"run_id": "other", "tables": {}}', '{"run_id": '):
        path.write_text(text)
        cost, loaded = cost_of(config, tmp_path)
        assert isinstance(cost, LatencyCost)
        assert cost.total(loaded.structure) > 0
        assert json.loads(path.read_text())["run_id"] == ID


@pytest.mark.distributed
def test_two_workers_decide_by_the_first_one_s_table(tmp_path):
    overrides = ["hardware.num_workers=2", *LATENCY]
    family_experiment(tmp_path, "llama", "instruction", dropout=0.0)  # files for both workers
    results = run_workers(
        run_family,
        root=str(tmp_path),
        run_dir=str(tmp_path / "run"),
        family="llama",
        kind="instruction",
        overrides=overrides,
    )
    # Each measured for itself they would rarely agree, and a disagreement ends the run.
    assert results[0]["decisions"] == results[1]["decisions"]
    assert len(results[0]["decisions"]) >= len(EVENTS)
    assert (tmp_path / "run" / LATENCY_TABLE).is_file()
