"""Whether a tokenizer fits its model, and which ids end and pad a text."""

from typing import Any

from apt_core.data.tokenized import TokenizedSplit
from apt_core.errors import DataError


def pad_id(tokenizer: Any) -> int:
    """Id that fills up short rows; of a tokenizer without one (GPT-2, LLaMA) the id of its end.

    The attention mask hides padding, so that no new token is needed.
    """
    for found in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if found is not None:
            return int(found)
    return 0


def eos_id(tokenizer: Any) -> int:
    """Id that ends a generated text.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Returns:
        Its end-of-sequence id.

    Raises:
        DataError: When it has none.
    """
    if tokenizer.eos_token_id is None:
        raise DataError(
            "model.architectures: the tokenizer has no end-of-sequence token, which a model that "
            "writes needs; set eos_token in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def check_is_fast(tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot say where in the text its tokens are.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Raises:
        DataError: When it is a slow one.
    """
    if not tokenizer.is_fast:
        raise DataError(
            "model.architectures: the tokenizer does not say where its tokens are in the text (got "
            f"{type(tokenizer).__name__}); use a model folder with a tokenizer.json"
        )


def check_vocabulary(tokenizer: Any, vocab_size: int) -> None:
    """Refuse a tokenizer that knows more tokens than the model.

    Args:
        tokenizer: A Hugging Face tokenizer.
        vocab_size: Rows of the model's embedding.

    Raises:
        DataError: When it is larger than that.
    """
    if len(tokenizer) > vocab_size:
        raise DataError(
            f"model.architectures: the tokenizer has {len(tokenizer)} tokens, but the model's "
            f"vocabulary has {vocab_size}; take model and tokenizer from the same folder"
        )


def check_ids(tokens: TokenizedSplit, pad: int, vocab_size: int) -> None:
    """Refuse token ids that the model does not have.

    Args:
        tokens: A tokenised split.
        pad: Id that fills up short rows.
        vocab_size: Rows of the model's embedding.

    Raises:
        DataError: When there is one.
    """
    names = [name for name in ("input_ids", "labels") if name in tokens.ragged]
    highest = max(pad, *(int(tokens.ragged[name].values.max(initial=0)) for name in names))
    if highest >= vocab_size:
        raise DataError(
            f"model.architectures: the tokenizer gives token id {highest}, but the model's "
            f"vocabulary has {vocab_size}; take model and tokenizer from the same folder"
        )
