"""A benchmark's report with numbers that one can compute in one's head."""

from apt_core.bench.flops import Bound, Rates
from apt_core.bench.memory import PeakMemory
from apt_core.bench.phases import CONTROL, RETRAINING
from apt_core.bench.profiling import KINDS
from apt_core.bench.report import (
    BenchReport,
    InferenceResult,
    MemoryResult,
    ProfileResult,
    Ratio,
    StepResult,
    SurgeryResult,
    Timed,
)
from apt_core.evaluator.turns import Spread

FAST = Timed(Spread(2.0, 1.5, 3.0, 1.0), Bound(100, 10, 0.5, "matrix"))
SLOW = Timed(Spread(4.0, 4.0, 4.0, 4.0), Bound(100, 10, 0.5, "memory"))
_DENSE = dict.fromkeys(KINDS, 0.5)
_HALF = dict.fromkeys(KINDS, 0.0) | {"matrix products": 1.5, "dropout": 0.5}
REPORT = BenchReport(
    settings={"arm": "apt"},
    environment={"device": "cpu"},
    rates=Rates(200.0, 20.0),
    training=(
        StepResult(CONTROL, SLOW, Ratio(1.0), 1.0, 1.0, 16, 100),
        StepResult(RETRAINING, FAST, Ratio(0.5, 0.5), 0.25, 0.4, 9, 150),
    ),
    memory=(
        MemoryResult(CONTROL, PeakMemory(2.0, 3.0), Ratio(1.0)),
        MemoryResult(RETRAINING, PeakMemory(1.5, None), Ratio(0.75, 0.65)),
    ),
    surgery=(SurgeryResult("cut and growth", Spread.of([1.0]), 1),),
    inference=(InferenceResult(8, 64, FAST, SLOW, Ratio(2.0, 1.9, True)),),
    profile=(
        ProfileResult("control", _DENSE, _DENSE),
        ProfileResult("retraining", _HALF, _DENSE),
    ),
    notes=("a note",),
)
