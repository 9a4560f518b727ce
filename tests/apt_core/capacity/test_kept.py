"""What a sub-block keeps, counted by hand and against the published formula."""

from dataclasses import replace

import pytest

from apt_core.bench.flops import Rows
from apt_core.capacity.kept import CPU, GPU, Habits, Pass, sub_block_load
from apt_core.models.structure import Structure, SubBlock
from tests.reference.encoder_layer import HIDDEN, NEURONS, attention, encoder, ffn

QUIET = Habits("layer", "gelu", False, False, False)
NOISY = Habits("layer", "gelu", True, True, False)
ROWS = Rows(2, 3)
TOKENS = 6


def test_attention_with_adapters_on_q_and_v_by_hand() -> None:
    load = sub_block_load(attention(), encoder(), QUIET, Pass(ROWS, 4, CPU))
    # Per token: q, k, v and the output 8 values each, 2 heads' logarithms; the input, once for both
    # branches; 2 bottlenecks of 2; the norm's input and statistics.
    per_token = 4 * (4 * 8) + 4 * 2 + 4 * 8 + 4 * 4 + (4 * 8 + 8)
    assert load.kept == TOKENS * per_token
    # Both branches: 2 x (8 + 8) values each.
    assert load.gradients == 4 * 2 * 2 * 16


def test_without_a_branch_a_frozen_reader_keeps_no_input() -> None:
    with_branch = sub_block_load(attention(), encoder(), QUIET, Pass(ROWS, 4, CPU))
    without = sub_block_load(attention(), encoder(rank=0), QUIET, Pass(ROWS, 4, CPU))
    assert with_branch.kept - without.kept == TOKENS * 4 * (8 + 4)
    assert without.gradients == 0


def test_dropout_in_attention_keeps_scores_on_a_cpu_but_not_on_a_gpu() -> None:
    dropped = replace(QUIET, attention_dropout=True)
    cpu = sub_block_load(attention(), encoder(rank=0), dropped, Pass(ROWS, 4, CPU))
    # q, k, v; probabilities, their noise and their product: 2 heads x 3 keys each; the norm.
    assert cpu.kept == TOKENS * (4 * 3 * 8 + 4 * 3 * (2 * 3) + 40)
    gpu = sub_block_load(attention(), encoder(rank=0), dropped, Pass(ROWS, 4, GPU))
    assert gpu == sub_block_load(attention(), encoder(rank=0), QUIET, Pass(ROWS, 4, CPU))


def test_unfused_attention_computes_in_fp32_whatever_the_model_does() -> None:
    dropped = replace(QUIET, attention_dropout=True)
    single, half = (
        sub_block_load(attention(), encoder(rank=0), dropped, Pass(ROWS, width, CPU))
        for width in (4, 2)
    )
    assert single.kept - half.kept == TOKENS * 2 * HIDDEN  # the norm's input alone is halved


def test_a_dropout_mask_is_a_byte_on_a_gpu_and_a_value_on_a_cpu() -> None:
    kept = {
        kernels: sub_block_load(
            ffn(), encoder(), replace(QUIET, hidden_dropout=True), Pass(ROWS, 4, kernels)
        ).kept
        for kernels in (CPU, GPU)
    }
    assert kept[CPU] - kept[GPU] == TOKENS * HIDDEN * 3


@pytest.mark.parametrize(
    ("activation", "gated", "tensors"),
    [("gelu", False, 1), ("silu", True, 3), ("gelu_new", False, 4), ("gelu_new", True, 6)],
)
def test_a_feed_forward_part_keeps_what_its_activation_and_its_gate_do(
    activation: str, gated: bool, tensors: int
) -> None:
    habits = Habits("rms", activation, False, False, False)
    load = sub_block_load(ffn(gated=gated), encoder(gated=gated), habits, Pass(ROWS, 4, CPU))
    assert load.kept == TOKENS * (4 * NEURONS * tensors + 4 * (HIDDEN + 1))


def test_a_layer_that_learns_whole_keeps_what_korthikanti_et_al_count() -> None:
    # Their Eq. 1: 34 s b h in half precision, here for 4 h neurons and without scores.
    hidden, heads = 16, 4
    wide = SubBlock("l.attention", "attention", heads, 4, 16, 12, 3, sites=dict.fromkeys("qkvo", 4))
    neurons = SubBlock("l.ffn", "ffn", 4 * hidden, 1, 2, 1, 3, sites={"up": 1, "down": 1})
    structure = Structure(hidden, (wide, neurons))
    how = Pass(ROWS, 2, GPU, all_learn=True)
    kept = sum(sub_block_load(s, structure, NOISY, how).kept for s in structure.sub_blocks)
    statistics = 2 * 2 * 4 + 4 * heads  # of two norms, and of the softmax
    assert kept == TOKENS * (34 * hidden + statistics)


def test_grouped_keys_are_repeated_for_every_query_head_on_a_gpu_only() -> None:
    # 2 groups of 2 query heads of 4 channels: q and o 16 wide, k and v 8.
    sites = {"q": 8, "k": 4, "v": 4, "o": 8}
    grouped = SubBlock("l.attention", "attention", 2, 8, 24, 0, 1, heads_per_unit=2, sites=sites)
    for kernels, keys in ((CPU, 8), (GPU, 16)):
        load = sub_block_load(grouped, Structure(8, (grouped,)), QUIET, Pass(ROWS, 4, kernels))
        assert load.kept == TOKENS * (4 * (2 * 16 + 2 * keys) + 4 * 4 + 40)


def test_keys_of_another_stream_are_as_long_as_it() -> None:
    cross = replace(attention(), stream="target", memory="source")
    load = sub_block_load(cross, encoder(rank=0), QUIET, Pass(Rows(2, 6, target_tokens=3), 4, CPU))
    # Queries and output of 3 tokens, keys and values of 6.
    assert load.kept == 2 * 3 * (4 * (2 * 8 + 2 * 2 * 8) + 4 * 2 + 40)


def test_salience_needs_the_absolute_gradient_and_in_half_precision_a_copy() -> None:
    for width, extra in ((4, 4), (2, 2 + 4)):
        how = Pass(ROWS, width, CPU)
        plain, measured = (
            sub_block_load(ffn(), encoder(), QUIET, replace(how, reads_salience=reads))
            for reads in (False, True)
        )
        assert measured.working - plain.working == TOKENS * NEURONS * extra
        assert measured.kept == plain.kept


def test_a_sub_block_that_is_gone_needs_nothing() -> None:
    gone = replace(ffn(), num_units=0)
    assert sub_block_load(gone, encoder(), NOISY, Pass(ROWS, 4, CPU)).kept == 0
