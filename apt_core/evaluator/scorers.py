"""From predictions by row and references to metrics: one scorer per kind of task."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Protocol

import torch

from apt_core.data.prompts import UNANSWERABLE
from apt_core.data.references import References
from apt_core.evaluator import metrics as formulas
from apt_core.evaluator.predict import Generated
from apt_core.evaluator.rouge import rouge_metrics
from apt_core.evaluator.spans import best_spans
from apt_core.evaluator.squad import best_threshold, squad_metrics, token_f1
from apt_core.models.spec import GENERATIVE

NO_CLASS = -1
"""Stands for a generated text that is no label word: always wrong."""
TEXT_METRICS = frozenset({"rouge1", "rouge2", "rougeL", "rouge", "exact_match_text"})
NUM_BINARY = 2

Reader = Callable[[Any], Any]
"""Predicted value of a row -> a value of the kind of the reference."""


class Scorer(Protocol):
    """Compares predictions with references."""

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """All metrics of the task by name.

        Args:
            predictions: what the predictor gave, in the order of the rows (or windows).
            references: of the same rows.

        Returns:
            Fractions in [0, 1], or correlations in [-1, 1].
        """
        ...


class ClassificationScorer:
    """Accuracy, Matthews correlation, and with two classes the F1 of class 1.

    Args:
        num_classes: how many classes there are.
        read: predicted value -> class, see `class_reader`; by default it is one.
    """

    def __init__(self, num_classes: int, read: Reader = int) -> None:
        self.num_classes = num_classes
        self.read = read

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """accuracy, matthews and for two classes f1."""
        predicted = torch.tensor([self.read(value) for value in predictions])
        expected = torch.tensor(references.targets)
        names = ["accuracy", "matthews", *(["f1"] if self.num_classes == NUM_BINARY else [])]
        return {name: formulas.METRICS[name](predicted, expected) for name in names}


class RegressionScorer:
    """Correlations.

    Args:
        read: predicted value -> score, see `read_score`; by default it is one.
    """

    def __init__(self, read: Reader = float) -> None:
        self.read = read

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """pearson, spearman and their mean, pearson_spearman."""
        predicted = torch.tensor([self.read(value) for value in predictions], dtype=torch.float64)
        expected = torch.tensor(references.targets, dtype=torch.float64)
        names = ("pearson", "spearman", "pearson_spearman")
        return {name: formulas.METRICS[name](predicted, expected) for name in names}


class SpanScorer:
    """Question answering by spans of the context.

    A question is left unanswered where "no answer" beats the best span by more than the threshold;
    never in a split whose questions all have answers (SQuAD v1.1).

    Args:
        max_answer_length: tokens of an answer at most.
        null_threshold: see above.
    """

    def __init__(self, max_answer_length: int = 30, null_threshold: float = 0.0) -> None:
        self.max_answer_length = max_answer_length
        self.null_threshold = null_threshold

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """exact_match and f1, see `squad_metrics`.

        Args:
            predictions: start and end logits per window.
            references: with windows.

        Returns:
            The metrics; where there are unanswerable questions also ``best_f1``, the F1 at the
            threshold that suits this split best, and that threshold, ``best_f1_threshold``.
        """
        golds = references.targets
        spans = best_spans(predictions, references, max_answer_length=self.max_answer_length)
        if all(golds):
            return squad_metrics([span.text for span in spans], golds)
        found = best_threshold(
            token_f1, [s.text for s in spans], [s.null_margin for s in spans], golds
        )
        answers = [span.text_at(self.null_threshold) for span in spans]
        return {
            **squad_metrics(answers, golds),
            "best_f1": found.value,
            "best_f1_threshold": found.threshold,
        }


class AnswerScorer:
    """Question answering in the model's own words."""

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """exact_match and f1, see `squad_metrics`."""
        answers = [read_answer(value) for value in predictions]
        return squad_metrics(answers, references.targets)


class SummaryScorer:
    """Summaries."""

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """rouge1, rouge2, rougeL and their mean, rouge."""
        return rouge_metrics([_text(value) for value in predictions], references.targets)


class InstructionScorer:
    """Instruction following; texts are compared where they were generated."""

    def __call__(self, predictions: Sequence[Any], references: References) -> dict[str, float]:
        """token_accuracy, and with texts exact_match_text and the four of `SummaryScorer`."""
        total = sum(value.num_tokens for value in predictions)
        scores = {"token_accuracy": sum(value.num_correct for value in predictions) / max(total, 1)}
        if any(value.text is None for value in predictions):
            return scores
        pairs = zip(predictions, references.targets, strict=True)
        same = [one_space(_text(value)) == one_space(expected) for value, expected in pairs]
        scores["exact_match_text"] = fmean(same)
        return scores | SummaryScorer()(predictions, references)


def make_scorer(
    task_kind: str,
    head_kind: str,
    *,
    label_words: Sequence[str] = (),
    max_answer_length: int = 30,
    null_threshold: float = 0.0,
) -> Scorer:
    """The scorer of a task with a head.

    Args:
        task_kind: ``classification``, ``regression``, ``qa``, ``summarization``, ``instruction``.
        head_kind: see `predict.make_predictor`.
        label_words: the classes' names, or the words that stand for them with generative heads.
        max_answer_length: see `SpanScorer`.
        null_threshold: see `SpanScorer`.

    Returns:
        A new scorer.

    Raises:
        ValueError: the task kind is unknown.
    """
    is_generative = head_kind in GENERATIVE
    if task_kind == "classification":
        read: Reader = class_reader(label_words) if is_generative else int
        return ClassificationScorer(len(label_words), read)
    if task_kind == "regression":
        return RegressionScorer(read_score if is_generative else float)
    if task_kind == "qa":
        return AnswerScorer() if is_generative else SpanScorer(max_answer_length, null_threshold)
    texts: dict[str, Scorer] = {
        "summarization": SummaryScorer(),
        "instruction": InstructionScorer(),
    }
    if task_kind not in texts:
        raise ValueError(f"unknown task kind {task_kind!r}")
    return texts[task_kind]


def needs_text(task_kind: str, metric: str) -> bool:
    """Whether a generative head must write for the main metric, or the expected text will do."""
    return task_kind != "instruction" or metric in TEXT_METRICS


def class_reader(label_words: Sequence[str]) -> Reader:
    """Reads classes: the label word that the text is, but for case and white space, else -1.

    Args:
        label_words: by class.

    Returns:
        Generated row -> class.
    """
    classes = {_plain(word): index for index, word in reversed(list(enumerate(label_words)))}
    return lambda value: classes.get(_plain(_text(value)), NO_CLASS)


def read_score(value: Generated) -> float:
    """The number that the text is, else 0.0; infinite and undefined ones are none."""
    try:
        score = float(_text(value))
    except ValueError:
        return 0.0
    return score if math.isfinite(score) else 0.0


def read_answer(value: Generated) -> str:
    """The text, empty where it says that there is no answer."""
    text = _text(value)
    return "" if _plain(text) == UNANSWERABLE else text


def one_space(text: str) -> str:
    """The text with single spaces for white space, none at the ends."""
    return " ".join(text.split())


def _plain(text: str) -> str:
    return one_space(text).lower()


def _text(value: Generated) -> str:
    if value.text is None:
        raise ValueError("this metric needs generated text, but generation is switched off")
    return value.text
