"""The kinds of task, and the metrics that each can be judged by."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

TaskKind = Literal["classification", "regression", "qa", "summarization", "instruction"]
ClassificationMetric = Literal["accuracy", "f1", "matthews"]
RegressionMetric = Literal["pearson", "spearman", "pearson_spearman"]
QaMetric = Literal["exact_match", "f1"]
SummarizationMetric = Literal["rouge", "rouge1", "rouge2", "rougeL"]
InstructionMetric = Literal["lm_eval", "rouge", "token_accuracy", "exact_match_text"]

METRICS_OF_KIND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": get_args(ClassificationMetric),
        "regression": get_args(RegressionMetric),
        "qa": get_args(QaMetric),
        "summarization": get_args(SummarizationMetric),
        "instruction": get_args(InstructionMetric),
    }
)
