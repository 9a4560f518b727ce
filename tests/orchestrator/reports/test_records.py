import pytest

from orchestrator.reports.records import (
    CellKey,
    Curves,
    SweepRecords,
    cell_of_report,
    cell_of_settings,
    effective_target,
)
from orchestrator.reports.settings import flatten
from tests.orchestrator.reports.synthetic_sweep import Trial, make_config, make_report


@pytest.mark.parametrize(
    ("arm", "ablation", "target"),
    [
        ("ft", "full", 0.0),
        ("lora", "full", 0.0),
        ("lora_prune", "full", 0.6),
        ("apt", "w/o_Ap", 0.0),
        ("apt", "full", 0.6),
        ("llm_pruner", "full", 0.6),
        ("apt", "w/o_AT", 0.6),
        ("apt", "w/o_Ds", 0.6),
    ],
)
def test_only_what_prunes_has_a_target_sparsity(arm: str, ablation: str, target: float) -> None:
    assert effective_target(arm, ablation, 0.6) == target


@pytest.mark.parametrize(
    "trial", [Trial("ft"), Trial("apt", 0.6), Trial("apt", 0.6, ablation="w/o_Ap")]
)
def test_a_finished_run_and_its_config_name_the_same_cell(trial: Trial) -> None:
    assert cell_of_report(make_report(trial)) == cell_of_settings(flatten(make_config(trial)))


def test_a_config_without_an_arm_names_no_cell() -> None:
    with pytest.raises(KeyError, match="arm"):
        cell_of_settings({"ablation": "full"})


def test_full_means_no_part_is_switched_off() -> None:
    assert CellKey("apt", "full", 0.6, "m", "d").is_full
    assert not CellKey("apt", "w/o_Ds", 0.6, "m", "d").is_full


def test_runs_keep_the_order_in_which_they_were_read() -> None:
    reports = (make_report(Trial("lora")), make_report(Trial("ft")))
    ids = [report.run_id for report in reports]
    assert SweepRecords("s", reports).order == tuple(ids)
    read = {ids[1]: Curves(), ids[0]: Curves()}
    assert SweepRecords("s", reports, curves=read).order == (ids[1], ids[0])
