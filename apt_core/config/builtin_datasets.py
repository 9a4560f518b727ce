"""Datasets that need no declaration: where the hub has them and what their columns mean."""

from typing import Any

from apt_core.data.tasks import HOLDOUT


def _glue(subset: str, columns: list[str], labels: list[str]) -> dict[str, Any]:
    return {
        "path": "nyu-mll/glue",
        "subset": subset,
        "text_columns": columns,
        "labels": labels,
        "metric": "accuracy",
    }


def _squad(path: str) -> dict[str, Any]:
    return {"path": path, "task": "qa", "text_columns": ["question", "context"], "metric": "f1"}


def _summaries(path: str, document: str, summary: str) -> dict[str, Any]:
    return {
        "path": path,
        "task": "summarization",
        "text_columns": [document],
        "label_column": summary,
        "metric": "rouge",
    }


_ENTAILMENT = ["entailment", "not_entailment"]
BUILTIN_DATASETS: dict[str, dict[str, Any]] = {
    "toy_sentiment": {
        "path": "embedded:sentiment",
        "text_columns": ["sentence"],
        "labels": ["negative", "positive"],
    },
    "toy_pairs": {
        "path": "embedded:pairs",
        "text_columns": ["premise", "hypothesis"],
        "labels": ["entailment", "neutral", "contradiction"],
    },
    "toy_qa": {
        "path": "embedded:qa",
        "task": "qa",
        "text_columns": ["question", "context"],
    },
    "toy_summary": {
        "path": "embedded:summary",
        "task": "summarization",
        "text_columns": ["document"],
    },
    "toy_instruction": {
        "path": "embedded:instruction",
        "task": "instruction",
        "text_columns": ["instruction", "input"],
        "label_column": "output",
        "metric": "exact_match_text",
    },
    "sst2": _glue("sst2", ["sentence"], ["negative", "positive"]),
    "cola": {
        **_glue("cola", ["sentence"], ["unacceptable", "acceptable"]),
        "metric": "matthews",
    },
    "mnli": {
        **_glue("mnli", ["premise", "hypothesis"], ["entailment", "neutral", "contradiction"]),
        "eval_split": "validation_matched",
        "more_eval_splits": ["validation_mismatched"],
    },
    "qnli": _glue("qnli", ["question", "sentence"], _ENTAILMENT),
    "qqp": _glue("qqp", ["question1", "question2"], ["not_duplicate", "duplicate"]),
    "mrpc": _glue("mrpc", ["sentence1", "sentence2"], ["not_equivalent", "equivalent"]),
    "rte": _glue("rte", ["sentence1", "sentence2"], _ENTAILMENT),
    "stsb": {
        "path": "nyu-mll/glue",
        "subset": "stsb",
        "task": "regression",
        "text_columns": ["sentence1", "sentence2"],
        "metric": "pearson_spearman",
    },
    "squad": _squad("rajpurkar/squad"),
    "squad_v2": _squad("rajpurkar/squad_v2"),
    "cnn_dm": {
        **_summaries("abisee/cnn_dailymail", "article", "highlights"),
        "subset": "3.0.0",
    },
    "xsum": _summaries("EdinburghNLP/xsum", "document", "summary"),
    "alpaca": {
        "path": "tatsu-lab/alpaca",
        "task": "instruction",
        "text_columns": ["instruction", "input"],
        "metric": "lm_eval",
        # The hub has a training split alone.
        "eval_split": HOLDOUT,
    },
}
"""Name -> entry of `data.datasets`. Entries of the user merge over these, key by key."""
