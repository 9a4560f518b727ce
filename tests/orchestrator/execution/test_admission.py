import pickle
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from orchestrator.execution.admission import Admission
from orchestrator.execution.placement import Node
from orchestrator.execution.trial import WorkerGroup

SMALL, LARGE = WorkerGroup(), WorkerGroup(num_workers=3)


def cell(run_id: str, workers: WorkerGroup = SMALL) -> dict[str, Any]:
    return {"payload": {"run_id": run_id, "workers": asdict(workers)}}


def nodes_with(cpus: float) -> tuple[Node, ...]:
    return (Node("a", cpus, (), 64),)


def given(admission: Admission, trial_id: str) -> str | None:
    answer = admission.suggest(trial_id)
    return answer["cell"]["payload"]["run_id"] if isinstance(answer, dict) else answer


def test_trials_start_in_order_as_far_as_there_is_room_and_each_once() -> None:
    cells = [cell("a"), cell("large", LARGE), cell("b"), cell("c")]
    admission = Admission(cells, partial(nodes_with, 3))
    assert [given(admission, name) for name in "123"] == ["a", "b", "c"]
    assert given(admission, "4") is None
    for name in "12":
        admission.on_trial_complete(name, {"state": "FINISHED"})
        assert given(admission, "4") is None
    admission.on_trial_complete("3", error=True)
    assert given(admission, "4") == "large"
    assert given(admission, "5") == Searcher.FINISHED


def test_nodes_that_come_are_used() -> None:
    cpus = [1.0]
    admission = Admission([cell("a"), cell("b")], lambda: nodes_with(cpus[0]))
    assert given(admission, "1") == "a"
    assert given(admission, "2") is None
    cpus[0] = 2.0
    assert given(admission, "2") == "b"


def test_tune_may_pickle_it_and_gets_no_state_to_restore(tmp_path: Path) -> None:
    admission = Admission([cell("a")], partial(nodes_with, 1))
    admission.save_to_dir(str(tmp_path), "session")
    assert list(tmp_path.iterdir()) == []
    assert given(pickle.loads(pickle.dumps(admission)), "1") == "a"
