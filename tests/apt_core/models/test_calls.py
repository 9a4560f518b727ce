"""Calls and readings of every kind of head."""

import pytest
import torch

from apt_core.models.calls import call_model, read_outputs, token_masks
from apt_core.models.spec import HeadKind
from tests.tiny import CASES, tiny_batch, tiny_model

ALL = pytest.mark.parametrize(("family", "head_kind"), CASES)


def extended(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch as the loader gives it."""
    row = torch.arange(len(batch["input_ids"]))
    return batch | {"loss_weight": torch.tensor(1.0), "row": row}


@ALL
def test_the_model_gets_its_inputs_and_nothing_else(family: str, head_kind: HeadKind) -> None:
    loaded, _ = tiny_model(family, head_kind=head_kind)
    batch = tiny_batch(head_kind=head_kind)
    model = loaded.model.eval()
    plain = model(**batch)
    called = call_model(model, head_kind, extended(batch))
    torch.testing.assert_close(called.loss, plain.loss)
    assert getattr(called, "past_key_values", None) is None


@ALL
def test_a_teacher_sees_no_targets_beyond_its_decoders_inputs(
    family: str, head_kind: HeadKind
) -> None:
    loaded, _ = tiny_model(family, head_kind=head_kind)
    batch = tiny_batch(head_kind=head_kind)
    outputs = call_model(loaded.model, head_kind, batch, targets=False)
    assert (outputs.loss is None) == (head_kind != "seq2seq_lm")


@ALL
def test_hidden_states_are_read_stack_by_stack(family: str, head_kind: HeadKind) -> None:
    loaded, _ = tiny_model(family, head_kind=head_kind)
    batch = tiny_batch(head_kind=head_kind)
    outputs = call_model(loaded.model, head_kind, batch, hidden_states=True)
    reading = read_outputs(head_kind, outputs, batch)
    stacks = loaded.model_map.stacks
    assert [len(states) - 1 for states in reading.hidden_states] == [len(s.layers) for s in stacks]
    masks = token_masks(head_kind, batch)
    for stack, states in zip(stacks, reading.hidden_states, strict=True):
        assert {state.shape[:2] for state in states} == {masks[stack.stream].shape}


def test_predictions_of_text_are_those_that_have_a_label() -> None:
    for family, shift in (("t5", 0), ("llama", 1)):
        loaded, _ = tiny_model(family)
        head_kind = loaded.model_map.head_kind
        batch = tiny_batch(head_kind=head_kind)
        outputs = call_model(loaded.model, head_kind, batch, hidden_states=True)
        (logits,) = read_outputs(head_kind, outputs, batch).predictions
        labels = batch["labels"][:, shift:]
        # The loss over exactly these is the model's own.
        loss = torch.nn.functional.cross_entropy(logits, labels[labels != -100])
        torch.testing.assert_close(loss, outputs.loss)


def test_the_tokens_of_a_decoder_beside_an_encoder_are_its_labels() -> None:
    masks = token_masks("seq2seq_lm", tiny_batch(head_kind="seq2seq_lm"))
    assert masks["source"].sum(1).tolist() == [9, 9, 6, 6]
    assert masks["target"].sum(1).tolist() == [5, 5, 3, 3]
    assert set(token_masks("causal_lm", tiny_batch(head_kind="causal_lm"))) == {"source"}
