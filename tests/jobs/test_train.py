from itertools import product
from pathlib import Path

import pytest

from apt_core.config import load_config, seed_flag_overrides
from jobs.common import EXIT_OK, exit_code_of
from jobs.planning import make_plan
from jobs.preflight import Place
from jobs.train import train

MODELS = ("roberta", "t5", "llama")
DATASETS = ("sst2", "mnli", "squad", "cnn_dm", "alpaca")
IMPOSSIBLE = {("roberta", "cnn_dm"), ("roberta", "alpaca")}
"""An encoder writes no text."""
ABLATIONS = ("full", "w/o_Ap", "w/o_AT", "w/o_Ds")
POSSIBLE = sorted(set(product(MODELS, DATASETS)) - IMPOSSIBLE)


@pytest.mark.parametrize(("model", "dataset"), POSSIBLE)
def test_every_specified_combination_of_flags_is_planned_without_a_download(
    model: str, dataset: str
) -> None:
    for sparsity, ablation in product((0.3, 0.4, 0.6), ABLATIONS):
        overrides = seed_flag_overrides(model, dataset, sparsity, ablation)
        config = load_config([], overrides)
        chosen = (config.model.model_type, config.data.dataset)
        assert chosen == (model, dataset)
        assert config.pruning.target_sparsity == sparsity
        assert config.ablation == ablation
        (trial,) = make_plan(config, [], Place.NOWHERE).trials
        assert trial.facts.model is None  # on the hub, and not looked at
        assert trial.facts.plan is not None
        assert trial.spec.total_steps > 0


@pytest.mark.parametrize(("model", "dataset"), sorted(IMPOSSIBLE))
def test_an_encoder_is_refused_with_code_2_for_a_task_of_texts(
    model: str, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = exit_code_of(lambda: train(model_type=model, dataset=dataset, dry_run=True))
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: model.architectures.{model}: ")
    assert "choose one that writes text, such as t5 or llama" in error


def test_a_hub_dataset_of_unknown_size_is_planned_when_it_has_been_fetched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = "{path: somebody/mail, task: instruction, text_columns: [mail]}"
    sets = [f"data.datasets.mail={entry}"]
    code = train(sets=sets, model_type="t5", dataset="mail", dry_run=True)
    assert code == EXIT_OK
    assert "unknown until the dataset has been fetched" in capsys.readouterr().out


def test_train_ignores_the_grid_and_takes_the_flags(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = train(
        [str(project / "config.yaml")],
        sets=["training.seed=3"],
        model_type="mine",
        dataset="mine",
        sparsity_level=0.3,
        ablation="w/o_Ds",
        dry_run=True,
    )
    assert code == 0
    out = capsys.readouterr().out
    assert "# 1 trials" in out
    assert "apt w/o_Ds 0.3 mine mine seed 3" in out
