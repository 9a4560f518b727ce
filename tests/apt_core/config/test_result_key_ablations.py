"""What an ablation switches off changes no run's identity."""

import pytest

from tests.apt_core.config.test_result_key import key

ABLATED_SAME = [
    ("w/o_kurtosis", "pruning.use_kurtosis=true"),
    ("w/o_kurtosis", "pruning.kurtosis_weight=2"),
    ("w/o_salience", "tuning.rank_increase_strategy=uniform"),
    ("w/o_salience", "tuning.importance=signed"),
    ("w/o_layer_loss", "distillation.layer_weight=0.1"),
    ("w/o_layer_loss", "distillation.num_teacher_layers=2"),
    ("w/o_Ap+AT", "training.momentum_salience=0.5"),
    ("paper:w/o_Ds", "training.train_head=false"),
]


@pytest.mark.parametrize(("ablation", "setting"), ABLATED_SAME)
def test_settings_of_what_is_ablated_do_not_count(ablation: str, setting: str) -> None:
    assert key(f"ablation={ablation}") == key(f"ablation={ablation}", setting)
    assert key() != key(setting)


@pytest.mark.parametrize("arm", ["random", "magnitude"])
def test_the_outlier_term_does_not_count_where_blocks_have_no_salience(arm: str) -> None:
    assert key(f"arm={arm}") == key(f"arm={arm}", "pruning.use_kurtosis=true")


def test_two_spellings_of_one_ablation_are_one_run() -> None:
    assert key("ablation=paper:w/o_Ap") == key("ablation=w/o_Ap+Ds")
    assert key("ablation=paper:w/o_AT") == key("ablation=w/o_AT")
    assert key("ablation=paper:w/o_Ds") != key("ablation=w/o_Ds")


def test_a_teacher_that_is_taken_where_a_window_would_open_counts_the_window() -> None:
    assert key("ablation=w/o_Ap") != key("ablation=w/o_Ap", "pruning.window=100")
    assert key("ablation=w/o_Ap+Ds") == key("ablation=w/o_Ap+Ds", "pruning.window=100")


def test_who_learns_counts_where_it_may_be_chosen() -> None:
    assert key("training.train_head=false") != key()
    assert key("arm=ft", "training.train_head=false") == key("arm=ft")
    assert key("arm=ft", "training.freeze_embeddings=true") != key("arm=ft")
    assert key("training.freeze_embeddings=true") == key()
