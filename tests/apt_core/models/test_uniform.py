"""The format uniform: stock classes of transformers give the same logits, or it is refused."""

from pathlib import Path

import pytest
import torch
import transformers

from apt_core.errors import UnsupportedModelError
from apt_core.evaluator.export_check import answers_of_fresh_process
from apt_core.models.export import Exported, open_export
from apt_core.models.export_hf import auto_class
from apt_core.models.loading import AUTO_CLASSES
from apt_core.models.spec import HeadKind
from apt_core.models.uniform import uniform_model, write_uniform
from tests.pruned import answers, inputs, write_pruned
from tests.tiny import CASES, CAUSAL, ENCODERS, tiny_batch


def room_for(family: str, head_kind: HeadKind) -> int:
    """A hidden size that the family's configuration can say with 3 heads of 4 channels."""
    if family not in ENCODERS:
        return 11
    return 16 if head_kind == "sequence_classification" else 12


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_a_stock_model_gives_the_same_logits(
    family: str, head_kind: HeadKind, tmp_path: Path
) -> None:
    exported = write_pruned(
        tmp_path / "export", family, head_kind, hidden=room_for(family, head_kind)
    )
    write_uniform(exported, tmp_path / "uniform")
    model = AUTO_CLASSES[head_kind].from_pretrained(tmp_path / "uniform").eval()
    assert type(model).__module__.startswith("transformers.models.")
    assert not list((tmp_path / "uniform").glob("*.py"))
    expected = answers(exported.model, head_kind)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(answers(model, head_kind), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "head_kind"),
    [("bert", "sequence_classification"), ("t5", "seq2seq_lm"), ("llama", "causal_lm")],
)
def test_it_loads_where_aptune_is_not(family: str, head_kind: HeadKind, tmp_path: Path) -> None:
    exported = write_pruned(
        tmp_path / "export", family, head_kind, hidden=room_for(family, head_kind)
    )
    write_uniform(exported, tmp_path / "uniform")
    batch = inputs(head_kind)
    (given,) = answers_of_fresh_process(
        tmp_path / "uniform", [batch], to="uniform", auto_class=auto_class(head_kind)
    )
    with torch.no_grad():
        expected = exported.model(**batch).logits
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dead", [(0, 1), (2, 3, 4), (0, 1, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("family", ENCODERS)
def test_several_norms_in_a_row_may_belong_to_nothing(
    family: str, dead: tuple[int, ...], tmp_path: Path
) -> None:
    exported = write_pruned(tmp_path / "export", family, "question_answering", dead=dead, hidden=12)
    model = uniform_model(exported)
    expected = answers(exported.model, "question_answering")
    torch.testing.assert_close(answers(model, "question_answering"), expected, atol=1e-5, rtol=0)


def test_heads_may_become_wider(tmp_path: Path) -> None:
    """15 dimensions and 3 heads of 4 channels: the stock class makes 3 heads of 5."""
    exported = write_pruned(tmp_path / "export", "bert", "question_answering", hidden=15)
    model = uniform_model(exported)
    assert model.config.num_attention_heads == 3
    expected = answers(exported.model, "question_answering")
    torch.testing.assert_close(answers(model, "question_answering"), expected, atol=1e-5, rtol=0)


def test_the_hidden_size_of_a_llama_is_padded_to_a_multiple_of_its_heads(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "llama", "causal_lm")
    write_uniform(exported, tmp_path / "uniform")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "uniform")
    assert (config.hidden_size, config.num_attention_heads, config.num_key_value_heads) == (
        12,
        4,
        2,
    )
    assert (config.intermediate_size, config.head_dim) == (13, 6)
    assert config.rms_norm_eps == pytest.approx(1e-6 * 11 / 12)
    assert config.architectures == ["LlamaForCausalLM"]


def test_an_encoder_without_room_for_its_heads_is_refused(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "bert", "question_answering", hidden=11)
    with pytest.raises(UnsupportedModelError, match=r"11 now.*pruning\.round_to"):
        write_uniform(exported, tmp_path / "uniform")
    assert not (tmp_path / "uniform").exists()


def test_a_classifier_that_is_wider_than_the_hidden_size_is_refused(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "roberta", "sequence_classification", hidden=12)
    with pytest.raises(UnsupportedModelError, match=r"classifier.*pruning\.min_hidden=16"):
        write_uniform(exported, tmp_path / "uniform")


def test_tables_of_positions_that_were_trained_apart_are_refused(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "t5", "seq2seq_lm", dead=())
    with torch.no_grad():
        for name, parameter in exported.model.named_parameters():
            if "relative_attention_bias" in name:
                parameter.add_(torch.randn_like(parameter))
    with pytest.raises(UnsupportedModelError, match="trained apart"):
        write_uniform(exported, tmp_path / "uniform")


@pytest.mark.parametrize("family", ["t5", *CAUSAL])
def test_it_writes_the_same_text(family: str, tmp_path: Path) -> None:
    head_kind: HeadKind = "seq2seq_lm" if family == "t5" else "causal_lm"
    exported: Exported = write_pruned(tmp_path / "export", family, head_kind)
    model = uniform_model(exported)
    prompt = {n: t[:2] for n, t in tiny_batch(labels=False).items()}
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 1}
    expected = exported.model.generate(**prompt, **settings)
    assert torch.equal(model.generate(**prompt, **settings), expected)


def test_the_random_stream_is_left_alone(tmp_path: Path) -> None:
    write_pruned(tmp_path / "export", "t5", "seq2seq_lm")
    exported = open_export(tmp_path / "export")
    state = torch.get_rng_state()
    uniform_model(exported)
    assert torch.equal(torch.get_rng_state(), state)
