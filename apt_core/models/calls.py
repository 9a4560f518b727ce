"""Call a task model and read its outputs: a class, a score, a span or text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from apt_core.data.batch import IGNORED, model_inputs
from apt_core.models.spec import GENERATIVE, HeadKind

Batch = Mapping[str, Tensor]


def call_model(
    model: nn.Module,
    head_kind: HeadKind,
    batch: Batch,
    *,
    targets: bool = True,
    hidden_states: bool = False,
) -> Any:
    """One forward pass over a training or evaluation batch.

    Args:
        model: a task model.
        head_kind: what it predicts.
        batch: inputs and targets; what is not for the model is left out.
        targets: whether the loss is wanted.
        hidden_states: whether every layer's output is wanted.

    Returns:
        The model's outputs.
    """
    # A decoder beside an encoder derives its own inputs from the targets.
    inputs: dict[str, Any] = model_inputs(batch, targets=targets or head_kind == "seq2seq_lm")
    if head_kind in GENERATIVE:
        inputs["use_cache"] = False  # nothing is generated here, and a cache costs memory
    if hidden_states:
        inputs["output_hidden_states"] = True
    return model(**inputs)


def token_masks(head_kind: HeadKind, batch: Batch) -> dict[str, Tensor]:
    """Which tokens of a batch are real, by stream; non-zero where they are.

    Args:
        head_kind: what the model predicts.
        batch: inputs and targets.

    Returns:
        ``source``: (rows, tokens) of the input; ``target``: the same of a decoder's.
    """
    masks = {"source": batch["attention_mask"]}
    if head_kind == "seq2seq_lm":
        masks["target"] = (batch["labels"] != IGNORED).to(batch["attention_mask"].dtype)
    return masks


@dataclass(frozen=True)
class Reading:
    """What a teacher and its student are compared by."""

    predictions: tuple[Tensor, ...]
    """Logits, (predictions, classes) each; one class is a score."""
    hidden_states: tuple[tuple[Tensor, ...], ...]
    """By stack: the embedding's output and every layer's, (rows, tokens, hidden) each."""


def read_outputs(head_kind: HeadKind, outputs: Any, batch: Batch) -> Reading:
    """Predictions and hidden states of a forward pass with `hidden_states`.

    Args:
        head_kind: what the model predicts.
        outputs: what the model returned.
        batch: what it was called with.

    Returns:
        The reading; of text only the tokens that are to be predicted count.
    """
    if head_kind == "question_answering":
        return Reading((outputs.start_logits, outputs.end_logits), (outputs.hidden_states,))
    if head_kind == "seq2seq_lm":
        stacks = (outputs.encoder_hidden_states, outputs.decoder_hidden_states)
        return Reading((outputs.logits[batch["labels"] != IGNORED],), stacks)
    if head_kind == "causal_lm":
        is_predicted = batch["labels"][:, 1:] != IGNORED
        return Reading((outputs.logits[:, :-1][is_predicted],), (outputs.hidden_states,))
    return Reading((outputs.logits,), (outputs.hidden_states,))
