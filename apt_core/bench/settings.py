"""What a benchmark is asked for."""

from dataclasses import dataclass

from apt_core.bench.flops import Rows

PROFILED = 3
"""Calls that are observed of each phase and each forward pass."""


@dataclass(frozen=True)
class BenchSettings:
    """Sizes and repetitions."""

    seq_len: int = 64
    """Tokens per row of a training batch."""
    target_len: int = 64
    """Tokens that a decoder beside an encoder writes."""
    batch_size: int = 32
    """Rows per training step."""
    density: float = 0.4
    """Fraction of the layers' cost that stays after the cuts."""
    repeats: int = 20
    """Timed rounds; in each, everything that is compared has a turn."""
    warmup: int = 3
    """Rounds before them."""
    random_weights: bool = False
    """Take the model's shape only."""
    measure_memory: bool = True
    """Whether peak memory is measured, on a CPU in one fresh process per phase."""
    profile: bool = False
    """Whether a few more calls of everything are observed, to see where their time goes."""
    inference_shapes: tuple[tuple[int, int], ...] = ((1, 64), (32, 128))
    """Rows and tokens of the forward passes."""

    @property
    def num_steps(self) -> int:
        """Steps of every phase."""
        return self.warmup + self.repeats + (PROFILED if self.profile else 0)

    def rows(self, head_kind: str) -> Rows:
        """What a training step works on."""
        writes = head_kind == "seq2seq_lm"
        return Rows(self.batch_size, self.seq_len, self.target_len if writes else 0)
