from dataclasses import replace

from orchestrator.reports.panels import Boxes, Heat
from orchestrator.reports.run_figures import figures_of_run
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

APT = make_report(Trial("apt", 0.6))


def test_a_pruned_run_shows_structure_ranks_and_salience() -> None:
    structure, ranks, salience = figures_of_run(APT)
    assert [figure.name for figure in (structure, ranks, salience)] == [
        "structure",
        "ranks",
        "salience",
    ]
    heads, neurons, hidden = structure.contents
    assert isinstance(heads, Heat)
    assert isinstance(hidden, Heat)
    cut = APT.surgeries[-1]
    assert [row[-1] for row in heads.texts] == [str(n) for n in cut["heads"]]
    assert [row[-1] for row in heads.values] == [n / 12 for n in cut["heads"]]
    assert [heat.title for heat in structure.contents] == ["heads", "neurons", "hidden size"]
    assert hidden.values[0][-1] == cut["hidden_size"] / 768
    assert neurons.columns == ("start", "65", "85", "105", "125")


def test_the_border_is_the_most_salient_block_that_was_cut() -> None:
    contents = figures_of_run(APT)[2].contents
    for boxes, kind in zip(contents, ("head", "neuron", "hidden_dim"), strict=True):
        assert isinstance(boxes, Boxes)
        cuts = [surgery["border"][kind] for surgery in APT.surgeries]
        assert boxes.borders == tuple(cut["first_cut"][0]["density"] for cut in cuts)
        assert boxes.quantiles == tuple(tuple(cut["quantiles"]) for cut in cuts)


def test_a_run_that_removed_nothing_shows_its_ranks_only() -> None:
    assert [figure.name for figure in figures_of_run(make_report(Trial("lora")))] == ["ranks"]
    assert figures_of_run(make_report(Trial("ft"))) == []


def test_an_old_record_says_what_it_lacks() -> None:
    old = tuple(
        {key: value for key, value in surgery.items() if key not in {"before", "border"}}
        for surgery in APT.surgeries
    )
    structure, ranks = figures_of_run(replace(APT, surgeries=old))
    assert "before the first cut is not recorded" in structure.caption
    assert ranks.name == "ranks"
