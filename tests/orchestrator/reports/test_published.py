import re
from statistics import fmean

import pytest

from orchestrator.reports.published import PaperTable, load_published

AVERAGED = {
    3: ("ARC", "HellaSwag", "MMLU", "TruthfulQA"),
    5: ("ARC", "HellaSwag", "MMLU", "TruthfulQA"),
    7: ("MNLI", "QQP", "QNLI", "SST2", "CoLA", "STS-B", "MRPC", "RTE"),
    8: ("MNLI", "QQP", "QNLI", "SST2", "CoLA", "MRPC", "RTE"),
    9: ("ARC", "HellaSwag", "MMLU", "TruthfulQA"),
}


def table(number: int) -> PaperTable:
    return next(t for t in load_published().tables if t.number == number)


def number(text: str) -> float:
    return float(text.replace(",", "").removesuffix("%"))


def test_every_table_of_numbers_is_there_with_its_place() -> None:
    tables = load_published().tables
    assert [t.number for t in tables] == [2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert all(t.source.startswith(f"Table {t.number}, ") for t in tables)
    assert all(
        re.fullmatch(r"[\d,.]+%?", v) for t in tables for r in t.rows for v in r.values.values()
    )


@pytest.mark.parametrize("which", AVERAGED)
def test_printed_averages_are_those_of_the_printed_scores_unless_told(which: int) -> None:
    off = []
    for row in table(which).rows:
        scores = fmean(number(row.values[heading]) for heading in AVERAGED[which])
        # Scores and average are rounded to 0.1 each.
        if number(row.values["average"]) != pytest.approx(scores, abs=0.101):
            off.append(row)
    assert [row.label for row in off] == (["LRP, density 50%"] if which == 7 else [])
    assert all("average" in row.notes for row in off)


def test_ratios_of_table_2_follow_from_table_11_but_for_what_footnotes_tell() -> None:
    pairs = {
        "train time": "97% TTA (s)",
        "train memory": "train memory (MB)",
        "inference time": "inference time (ms)",
        "inference memory": "inference memory (MB)",
    }
    raw = {(row.model, row.label): row for row in table(11).rows}
    off = []
    for row in table(2).rows:
        mine, base = raw[row.model, row.label].values, raw[row.model, "FT"].values
        for heading, raw_heading in pairs.items():
            ratio = 100 * number(mine[raw_heading]) / number(base[raw_heading])
            if number(row.values[heading]) != pytest.approx(ratio, rel=0.005, abs=0.6):
                assert heading in row.notes
                off.append((row.model, row.label, heading))
    assert off == [
        ("roberta", "LoRA", "inference time"),
        ("t5", "LoRA", "inference time"),
        ("t5", "LoRA+Prune", "train time"),
    ]


def test_the_same_cell_has_the_same_number_in_every_table_unless_a_footnote_tells() -> None:
    table_2 = {(row.model, row.label): row for row in table(2).rows}
    for row in table(8).rows:
        for heading in ("MNLI", "SST2"):
            printed = table_2["roberta", row.label].values[heading]
            assert row.values[heading] == printed or heading in row.notes
    for row in (table(4).rows[0], table(10).rows[0]):
        assert row.values["SST2"] == table_2["roberta", "APT"].values["SST2"]


@pytest.mark.parametrize(
    ("which", "label", "heading", "part"),
    [
        (3, "LLMPruner", "train memory", "72.8%"),
        (3, "APT", "inference speed-up", "speed-ups"),
        (3, "LLMPruner", "average", "relative"),
        (4, "w/o D_S", "train memory", "69.2%"),
        (4, "w/o A_T", "MNLI", "84.4"),
        (4, "w/o salience", "MNLI", "84.4"),
        (5, "w/o A_P", "sparsity", "density"),
        (8, "FT", "CoLA", "STS-B"),
        (8, "APT", "sparsity", "60%"),
    ],
)
def test_known_contradictions_are_footnotes(
    which: int, label: str, heading: str, part: str
) -> None:
    (row,) = (row for row in table(which).rows if row.label == label)
    assert part in row.notes[heading]


def test_every_footnote_belongs_to_a_column() -> None:
    for paper_table in load_published().tables:
        headings = {column.heading for column in paper_table.columns}
        assert all(set(row.notes) <= headings for row in paper_table.rows)


def test_a_borrowed_layout_has_no_published_number() -> None:
    borrowed = table(2).borrowed("toy", ("a", "b"), 0.4)
    assert [column.heading for column in borrowed.columns[:3]] == ["a", "b", "train time"]
    assert {column.dataset for column in borrowed.columns[2:]} == {"a"}
    assert [row.label for row in borrowed.rows] == [
        *("FT", "LoRA", "LoRA+Prune", "Prune+Distill", "LoRA+Prune+Distill", "APT")
    ]
    assert {row.sparsity for row in borrowed.rows} == {0.0, 0.4}
    assert not any(row.values or row.notes for row in borrowed.rows)
    assert all(row.model == "toy" for row in borrowed.rows)
    # The table of raw numbers has no metric, and the instruction models' two sparsities are one.
    assert table(11).borrowed("toy", ("a",), 0.4).columns[0].quantity == "sparsity"
    assert len(table(5).borrowed("toy", ("a",), 0.2).rows) == 4


SETTINGS = {
    "model.model_type": "mine",
    "model.architectures.mine": "/models/roberta-base/",
    "data.dataset": "sst2",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"data.datasets.sst2.path": "/data/glue"}, ""),
        ({"model.architectures.mine": "some/tiny"}, "the model is tiny"),
        ({"data.datasets.sst2.path": "other/data"}, "the data is data"),
        ({"data.train_rows": 100}, "data.train_rows leaves rows out"),
    ],
)
def test_another_setting_is_told(changes: dict[str, object], reason: str) -> None:
    published = load_published()
    assert published.other_setting(SETTINGS | changes, "roberta", "sst2") == reason
    assert published.other_setting(None, "roberta", "sst2") == "the run's settings are not known"


def test_a_model_is_known_by_its_checkpoint() -> None:
    published = load_published()
    assert published.model_of("mine", SETTINGS) == "roberta"
    assert published.model_of("mine", {}) == "mine"
