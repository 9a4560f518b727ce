"""Pruned classes: built from a configuration alone, trained, copied; see also test_export_hf."""

import copy

import pytest
import torch

from apt_core.models.configuration_apt import CONFIGS
from apt_core.models.export_hf import auto_class
from apt_core.models.modeling_apt import MODELS
from apt_core.models.pruned_config import pruned_config
from apt_core.models.pruned_layers import Bypass
from apt_core.models.spec import HeadKind
from tests.pruned import answers, uneven
from tests.tiny import tiny_batch, tiny_model


def build(family: str, head_kind: HeadKind):
    loaded, structure = tiny_model(family, head_kind=head_kind)
    kept = uneven(structure, dead=(0, 3), hidden=11)
    after = structure.with_units({n: i.numel() for n, i in kept.units.items()}, 11)
    config = pruned_config(loaded.config, head_kind, after)
    return next(m for m in MODELS[auto_class(head_kind)] if m.config_class is type(config))(config)


CASES = [
    ("bert", "question_answering"),
    ("distilbert", "sequence_classification"),
    ("mt5", "seq2seq_lm"),
    ("t5", "seq2seq_lm"),
    ("gemma", "causal_lm"),
]


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_a_model_of_random_weights_learns_and_can_be_copied(
    family: str, head_kind: HeadKind
) -> None:
    model = build(family, head_kind)
    batch = tiny_batch(head_kind=head_kind)
    if head_kind == "question_answering":
        batch = {**tiny_batch(labels=False), "start_positions": torch.zeros(4, dtype=torch.long)}
        batch["end_positions"] = batch["start_positions"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    first = model(**batch).loss
    first.backward()
    optimizer.step()
    assert float(model(**batch).loss.detach()) < float(first.detach())
    other = copy.deepcopy(model).eval()
    torch.testing.assert_close(
        answers(other, head_kind), answers(model.eval(), head_kind), atol=0, rtol=0
    )


def test_tied_weights_stay_one_parameter() -> None:
    model = build("t5", "seq2seq_lm")
    assert model.lm_head.weight is model.shared.weight is model.decoder.embed_tokens.weight
    assert model.shared.weight.shape == (50, 11)
    tables = [
        block.layer[0].SelfAttention.relative_attention_bias.weight
        for block in model.encoder.block[1:]
    ]
    assert len({id(table) for table in tables}) == len(tables)


def test_what_is_gone_is_bypassed_and_configurations_inside_know_the_new_size() -> None:
    model = build("t5", "seq2seq_lm")
    assert isinstance(model.encoder.block[0].layer[0], Bypass)
    assert isinstance(model.encoder.block[1].layer[1], Bypass)
    assert (
        model.config.d_model == model.encoder.config.d_model == model.decoder.config.d_model == 11
    )


def test_the_embedding_of_new_words_grows_by_the_pruned_size() -> None:
    model = build("gemma", "causal_lm")
    model.resize_token_embeddings(53)
    assert model.get_input_embeddings().weight.shape == (53, 11)


def test_there_is_a_configuration_class_for_every_model_class() -> None:
    kinds = {model.config_class for models in MODELS.values() for model in models}
    assert kinds == set(CONFIGS.values())
