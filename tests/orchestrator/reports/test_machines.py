from orchestrator.reports.machines import describe_machine, machines_of
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

GPU = {"device": "NVIDIA H100", "num_workers": 2, "precision": "bf16"}


def test_runs_are_counted_by_what_they_were_measured_on() -> None:
    reports = (
        make_report(Trial("ft", seed=1)),
        make_report(Trial("ft", seed=2)),
        make_report(Trial("lora"), environment=GPU),
    )
    cpu, gpu = machines_of(build_tables(SweepRecords("s", reports)))
    assert (cpu.what, cpu.num_runs, cpu.rows) == ("device cpu, num_workers 1", 2, ("ft",))
    assert (gpu.what, gpu.num_runs) == ("device NVIDIA H100, num_workers 2", 1)


def test_rows_of_several_tables_carry_the_tables_name() -> None:
    reports = (make_report(Trial("ft")), make_report(Trial("ft", dataset="rte")))
    (machine,) = machines_of(build_tables(SweepRecords("s", reports)))
    assert machine.rows == ("roberta on rte: ft", "roberta on sst2: ft")


def test_an_old_record_has_no_machine() -> None:
    assert describe_machine(make_report(Trial("ft"), environment={})) == "not recorded"
