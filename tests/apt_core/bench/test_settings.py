"""What a step works on."""

from dataclasses import replace

from apt_core.bench.flops import Rows
from apt_core.bench.settings import BenchSettings


def test_only_a_decoder_beside_an_encoder_has_target_tokens() -> None:
    settings = BenchSettings(seq_len=10, target_len=7, batch_size=3, warmup=2, repeats=5)
    assert settings.rows("sequence_classification") == Rows(3, 10, 0)
    assert settings.rows("causal_lm") == Rows(3, 10, 0)
    assert settings.rows("seq2seq_lm") == Rows(3, 10, 7)
    assert settings.num_steps == 7
    assert replace(settings, profile=True).num_steps == 10
