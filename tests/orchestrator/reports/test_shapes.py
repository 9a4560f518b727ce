from dataclasses import replace

import pytest

from orchestrator.reports.shapes import cuts_of, rank_map, shape_history, short_names
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

APT = make_report(Trial("apt", 0.6))


def test_the_history_starts_with_the_shape_before_the_first_cut() -> None:
    history = shape_history(APT)
    assert history is not None
    assert history.moments == ("start", "65", "85", "105", "125")
    assert [row[0] for row in history.heads] == [12] * 6
    assert [row[-1] for row in history.heads] == APT.surgeries[-1]["heads"]
    assert history.hidden_sizes[0] == 768
    assert history.attention_names == history.ffn_names == ("0", "1", "2", "3", "4", "5")


def test_a_record_without_the_shape_before_starts_with_the_first_cut() -> None:
    old = tuple(
        {key: value for key, value in surgery.items() if key != "before"}
        for surgery in APT.surgeries
    )
    history = shape_history(replace(APT, surgeries=old, structure={}))
    assert history is not None
    assert history.moments == ("65", "85", "105", "125")
    assert history.attention_names == ("0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("surgeries", [(), ({"step": 65},), ({"step": 65, "pruned": True},)])
def test_without_recorded_cuts_there_is_no_history(surgeries: tuple[dict, ...]) -> None:
    assert shape_history(replace(APT, surgeries=surgeries)) is None


def test_growth_and_teachers_are_no_cuts() -> None:
    assert len(cuts_of(APT)) == 4
    assert cuts_of(make_report(Trial("apt", 0.6, ablation="w/o_Ap"))) == []


def test_adapters_that_left_have_no_rank() -> None:
    ranks = rank_map(APT)
    assert ranks is not None
    assert ranks.sites == ("self.query", "self.value", "intermediate.dense")
    assert ranks.layers == ("0", "1", "2", "3", "4", "5")
    assert APT.surgeries[-1]["heads"][-1] == 0
    assert ranks.ranks[5][:2] == (None, None)
    expected = APT.structure["ranks"]["roberta.encoder.layer.5.intermediate.dense"]
    assert ranks.ranks[5][2] == expected > 8


def test_the_layers_of_two_stacks_keep_the_stacks_name() -> None:
    sites = {
        "encoder.block.0.layer.0.SelfAttention.q": 8,
        "decoder.block.0.layer.0.SelfAttention.q": 7,
        "decoder.block.0.layer.1.EncDecAttention.q": 6,
    }
    ranks = rank_map(replace(APT, surgeries=(), structure={"ranks": sites}))
    assert ranks is not None
    assert ranks.layers == ("decoder", "encoder")
    assert ranks.sites == ("SelfAttention.q", "EncDecAttention.q")
    assert ranks.ranks == ((7, 6), (8, None))


def test_a_run_without_adapters_has_no_ranks() -> None:
    assert rank_map(make_report(Trial("ft"))) is None


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["m.0.attention", "m.1.attention"], ("0", "1")),
        (["encoder.b.0.l.0", "decoder.b.0.l.1"], ("encoder 0", "decoder 1")),
        (["a.0", "a.0.b"], ("a.0", "a.0.b")),
        (["only.one"], ("only.one",)),
        ([], ()),
    ],
)
def test_names_keep_what_tells_them_apart(paths: list[str], names: tuple[str, ...]) -> None:
    assert short_names(paths) == names
