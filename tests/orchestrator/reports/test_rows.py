from typing import Any

import pytest

from orchestrator.reports.records import CellKey, UnfinishedTrial
from orchestrator.reports.rows import Row, TaskTable, label_of, name_variants, order_of
from orchestrator.reports.stat import Stat


def key(arm: str, sparsity: float = 0.0, ablation: str = "full", **variant: object) -> CellKey:
    return CellKey(arm, ablation, sparsity, "roberta", "sst2", tuple(variant.items()))


def test_rows_are_ordered_ft_lora_apt_by_sparsity_then_ablations() -> None:
    in_order = [
        key("ft"),
        key("lora"),
        key("llm_pruner", 0.6),
        key("apt", 0.4),
        key("apt", 0.6),
        key("newcomer"),
        key("apt", 0.0, "w/o_Ap"),
        key("apt", 0.4, "w/o_AT"),
        key("apt", 0.6, "w/o_AT"),
        key("apt", 0.6, "w/o_Ds"),
    ]
    assert sorted(reversed(in_order), key=order_of) == in_order


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (key("ft"), "ft"),
        (key("apt", 0.6), "apt 60%"),
        (key("apt", 0.6, "w/o_Ds"), "apt w/o_Ds 60%"),
        (key("apt", 0.625, learning_rate=0.001), "apt 62.5% learning_rate=0.001"),
    ],
)
def test_a_label_names_what_tells_a_row_from_its_neighbours(cell: CellKey, label: str) -> None:
    assert label_of(cell) == label


def test_a_variant_of_several_settings_gets_a_letter_and_the_same_one_the_same_letter() -> None:
    two: dict[str, Any] = {"pruning.start": 50, "pruning.stop": 60}
    cells = [
        key("lora", rate=0.1),
        key("apt", 0.4, **two),
        key("apt", 0.6, **two),
        key("apt", 0.6, **two | {"pruning.stop": 70}),
    ]
    table = TaskTable("m", "d", tuple(Row(named) for named in name_variants(cells).values()))
    assert [label_of(row.key) for row in table.rows] == [
        "lora rate=0.1",
        "apt 40% [A]",
        "apt 60% [A]",
        "apt 60% [B]",
    ]
    assert table.variants == (("A", "start=50, stop=60"), ("B", "start=50, stop=70"))


def test_there_are_letters_for_any_number_of_variants() -> None:
    cells = [key("apt", first=0, second=number) for number in range(100, 129)]
    names = [named.variant_name for named in name_variants(cells).values()]
    assert names[0] == "A"
    assert names[25:] == ["Z", "AA", "AB", "AC"]


def test_density_is_what_sparsity_leaves() -> None:
    assert Row(key("apt"), sparsity=Stat((0.25, 0.75))).density.values == (0.75, 0.25)


def test_a_row_without_runs_has_the_states_of_its_trials() -> None:
    trials = tuple(
        UnfinishedTrial(state, state, "why", key("apt")) for state in ("running", "failed")
    )
    row = Row(key("apt"), unfinished=trials)
    assert (row.state, row.num_trials) == ("failed, running", 2)
    assert TaskTable("roberta", "sst2", (row,)).metric_name == "metric"
