"""The head, the loss and a teacher's part, by hand."""

from dataclasses import replace

from apt_core.bench.flops import Rows
from apt_core.capacity.kept import CPU, Habits, Pass
from apt_core.capacity.loss import (
    Head,
    Teaching,
    head_load,
    layer_of,
    loss_bytes,
    num_layers,
    teaching_bytes,
    teaching_load,
    tokens_of,
)
from apt_core.models.structure import Structure
from tests.reference.encoder_layer import HIDDEN, attention, encoder, ffn, network

POST_NORM = Habits("layer", "gelu", False, False, False)
PRE_NORM = Habits("rms", "silu", False, False, False)
HOW = Pass(Rows(2, 3), 4, CPU)
HALF = replace(HOW, width=2)
TOKENS = 6
WRITER = Head(logits_per_row=3 * 50, gradients=0)
"""3 tokens of a vocabulary of 50."""
LOGITS = 2 * 3 * 50
TEACHING = Teaching(network(2), num_layers=2, rank=5, normalises=False)


def test_the_loss_keeps_log_probabilities_in_fp32_whatever_the_model_computes_in() -> None:
    for how in (HOW, HALF):
        load = head_load(WRITER, encoder(), POST_NORM, how, is_taught=False)
        assert (load.kept, load.working) == (4 * LOGITS, 2 * 4 * LOGITS)


def test_towards_a_teacher_it_keeps_three_of_them() -> None:
    load = head_load(WRITER, encoder(), POST_NORM, HOW, is_taught=True)
    assert (load.kept, load.working) == (3 * 4 * LOGITS, 3 * 4 * LOGITS)


def test_norms_in_front_have_one_more_at_the_end() -> None:
    load = head_load(Head(0, 0), encoder(), PRE_NORM, HALF, is_taught=False)
    assert load.kept == TOKENS * 4 * (HIDDEN + 1)


def test_a_head_that_learns_keeps_what_it_reads() -> None:
    head = Head(3, gradients=96, inputs_per_row=HIDDEN)
    load = head_load(head, encoder(), POST_NORM, HALF, is_taught=False)
    assert load.kept == 2 * 3 * 4 + 2 * HIDDEN * 2
    assert load.gradients == 96


def test_while_it_is_computed_the_loss_has_the_logits_and_in_half_precision_a_copy() -> None:
    assert loss_bytes(WRITER, HOW) == 4 * LOGITS
    assert loss_bytes(WRITER, HALF) == (2 + 4) * LOGITS


def test_every_sampled_layer_keeps_its_state_its_bottleneck_and_the_difference() -> None:
    load = teaching_load(TEACHING, encoder(2), HOW)
    assert load.kept == TOKENS * 2 * (4 * (HIDDEN + 5) + 4 * HIDDEN)
    assert load.gradients == 4 * 5 * 2 * HIDDEN


def test_the_teachers_states_are_there_until_the_loss_is() -> None:
    head = Head(0, 0)
    # 3 states of a model of 2 layers, and 2 projected ones.
    assert teaching_bytes(TEACHING, head, encoder(2), HOW) == TOKENS * 4 * HIDDEN * (3 + 2)
    normalised = replace(TEACHING, normalises=True)
    # Both models' states once more, divided by their size.
    assert teaching_bytes(normalised, head, encoder(2), HOW) == TOKENS * 4 * HIDDEN * (9 + 2)


def test_the_divergence_holds_logits_of_both() -> None:
    without = teaching_bytes(TEACHING, Head(0, 0), encoder(2), HOW)
    assert teaching_bytes(TEACHING, WRITER, encoder(2), HOW) - without == 6 * 4 * LOGITS


def test_layers_and_tokens_are_counted_by_stream() -> None:
    decoder = tuple(replace(s, stream="target") for s in (attention(5), ffn(5)))
    both = Structure(HIDDEN, (*encoder(2).sub_blocks, *decoder))
    assert tokens_of(both, replace(HOW, rows=Rows(2, 3, 4))) == {"source": 6, "target": 8}
    assert (num_layers(both, "source"), num_layers(both, "target")) == (2, 1)
    assert layer_of("t5.layer.0.ffn") == "t5.layer.0"
