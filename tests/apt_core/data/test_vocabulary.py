"""Tokenizers that do not fit, and ids that pad and end."""

from types import SimpleNamespace

import pytest

from apt_core.data.tokenized import Ragged, TokenizedSplit
from apt_core.data.vocabulary import check_ids, check_is_fast, check_vocabulary, eos_id, pad_id
from apt_core.errors import DataError
from tests.tiny_tasks import tokenizer


def test_a_tokenizer_without_padding_pads_with_its_end() -> None:
    gpt2, t5 = tokenizer("gpt2"), tokenizer("t5")
    assert gpt2.pad_token_id is None
    assert pad_id(gpt2) == gpt2.eos_token_id == eos_id(gpt2)
    assert pad_id(t5) == t5.pad_token_id != t5.eos_token_id
    assert pad_id(SimpleNamespace(pad_token_id=None, eos_token_id=None)) == 0


def test_a_tokenizer_without_an_end_cannot_write() -> None:
    with pytest.raises(DataError, match=r"no end-of-sequence token.*; set eos_token"):
        eos_id(tokenizer("bert"))


def test_a_slow_tokenizer_is_refused() -> None:
    check_is_fast(tokenizer("bert"))
    with pytest.raises(DataError, match=r"where its tokens are .*; use a model folder with a tok"):
        check_is_fast(SimpleNamespace(is_fast=False))


def test_a_tokenizer_larger_than_the_model_is_refused() -> None:
    tokens = tokenizer("t5")
    check_vocabulary(tokens, len(tokens))
    with pytest.raises(
        DataError, match=rf"tokenizer has {len(tokens)} tokens, but the model's voc"
    ):
        check_vocabulary(tokens, len(tokens) - 1)


@pytest.mark.parametrize(("ids", "labels", "pad"), [([9], [1], 0), ([1], [9], 0), ([1], [1], 9)])
def test_an_id_that_the_model_does_not_have_is_refused(
    ids: list[int], labels: list[int], pad: int
) -> None:
    tokens = TokenizedSplit({"input_ids": Ragged.of([ids]), "labels": Ragged.of([labels])}, {})
    check_ids(tokens, pad, 10)
    with pytest.raises(
        DataError, match=r"gives token id 9, but the model's vocabulary has 9; take"
    ):
        check_ids(tokens, pad, 9)
