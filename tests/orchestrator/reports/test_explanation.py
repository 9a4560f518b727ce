from dataclasses import replace

from orchestrator.reports.explanation import Explanation, explain_report, explain_unfinished
from orchestrator.reports.grid import Grid
from orchestrator.reports.records import UnfinishedTrial
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

APT = make_report(Trial("apt", 0.6))


def grid_of(explanation: Explanation, name: str) -> Grid:
    return next(grid for grid in explanation.grids if grid.name == name)


def texts_of(grid: Grid) -> list[list[str]]:
    return [[cell.text for cell in row] for row in grid.rows]


def test_a_finished_run_is_told_with_events_layers_ranks_border_and_phases() -> None:
    told = explain_report(APT, [])
    names = [grid.name for grid in told.grids]
    assert names == ["events", "layers", "ranks", "border", "phases"]
    assert APT.run_id in told.title
    assert told.facts[0] == f"accuracy (%): {100 * APT.metric:.2f}"
    assert told.facts[1].endswith("target 60.0%")


def test_an_event_tells_what_was_left_before_and_after() -> None:
    events = texts_of(grid_of(explain_report(APT, []), "events"))
    first = APT.surgeries[0]
    assert [row[0] for row in events] == ["65", "85", "105", "125"]
    assert events[0][1] == "blocks removed, ranks of 18 adapters changed, teacher taken"
    assert events[0][3] == f"72 -> {sum(first['heads'])}"
    assert events[0][5] == f"768 -> {first['hidden_size']}"


def test_layers_and_ranks_are_those_of_the_record() -> None:
    told = explain_report(APT, [])
    last = APT.surgeries[-1]
    layers = texts_of(grid_of(told, "layers"))
    heads = [row for row in layers if row[1] == "heads"]
    assert [int(row[3]) for row in heads] == last["heads"]
    assert heads[-1][4] == "0.0%"
    ranks = texts_of(grid_of(told, "ranks"))
    site = "roberta.encoder.layer.5.intermediate.dense"
    before = APT.surgeries[0]["before"]["ranks"][site]
    assert ranks[5][3] == f"{before} -> {last['ranks'][site]}"
    assert ranks[5][1].endswith("-> gone")


def test_the_blocks_at_the_border_come_with_salience_and_density() -> None:
    border = texts_of(grid_of(explain_report(APT, []), "border"))
    assert len(border) == 4 * 3
    cut = APT.surgeries[0]["border"]["head"]
    block = cut["first_cut"][0]
    assert border[0][:3] == ["65", "heads", f"{cut['num_kept']} of 72"]
    expected = f"layer 5 no. {block['index']}: {block['salience']:.3g} ({block['density']:.3g})"
    assert border[0][4] == expected


def test_a_run_that_removed_nothing_says_so() -> None:
    told = explain_report(make_report(Trial("ft")), [])
    assert told.remarks[0].startswith("Nothing was removed: ft")
    assert [grid.name for grid in told.grids] == ["phases"]


def test_an_old_or_one_shot_record_names_what_it_lacks() -> None:
    old = tuple(
        {key: value for key, value in surgery.items() if key not in {"before", "border"}}
        for surgery in APT.surgeries
    )
    told = explain_report(replace(APT, surgeries=old, warnings=("slow",)), [])
    assert "not recorded" in told.remarks[0]
    assert told.remarks[-1] == "warning: slow"
    assert grid_of(told, "layers").title == "Structure since the cut at 65"
    assert texts_of(grid_of(told, "events"))[0][3] == str(sum(old[0]["heads"]))


def test_a_bare_record_of_a_surgery_is_told_without_numbers() -> None:
    told = explain_report(replace(APT, surgeries=({"step": 7},), structure={}), [])
    (event,) = texts_of(grid_of(told, "events"))
    assert event == ["7", "nothing that is recorded", *["-"] * 6]


def test_a_target_in_another_unit_says_what_it_counts() -> None:
    told = explain_report(replace(APT, cost_unit="MACs", cost=40.0, dense_cost=100.0), [])
    assert told.facts[1].endswith("target 60.0% of MACs, of which 60.0% are gone")


def test_an_unfinished_run_is_told_from_its_log() -> None:
    values = {
        "surgery/seconds": 0.5,
        "model/sparsity": 0.2,
        "model/num_heads": 60,
        "model/num_neurons": 900,
        "model/hidden_size": 700,
        "model/rank_mean": 8.5,
        "time/train_s": 3.0,
    }
    trial = UnfinishedTrial("abc", "running", "no result yet", None)
    told = explain_unfinished(trial, [(5, {"time/train_s": 1.0}), (9, values)])
    events = texts_of(grid_of(told, "events"))
    assert events == [["9", "60 heads, 900 neurons", "20.0%", "700", "8.5", "0.5 s"]]
    assert told.title == "abc: running"
    assert "result.json" in told.remarks[0]
    assert grid_of(told, "stretches").rows
