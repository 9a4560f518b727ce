"""ROUGE of summaries, as the package `rouge-score` computes it."""

from collections.abc import Sequence
from statistics import fmean

_NAMES = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeLsum"}
"""Our name -> the package's. The summary-level variant is the CNN/DailyMail convention; on texts of
one line both are the same."""


def rouge_metrics(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F-measures in [0, 1] with Porter's stemmer; ``rouge`` is the mean of the three.

    rougeL is the summary-level one (ROUGE-Lsum): every line of a text counts as a sentence.
    Sentences are not searched for within lines, because that needs a download; a model that writes
    one line is scored as if it wrote one sentence.

    Args:
        texts: generated, one per example.
        references: expected, one per example.

    Returns:
        rouge1, rouge2, rougeL, rouge.

    Raises:
        ValueError: there are no texts, or not equally many of both.
    """
    if not references:
        raise ValueError("rouge of no texts is undefined")
    from rouge_score.rouge_scorer import RougeScorer  # brings nltk: a second

    scorer = RougeScorer(list(_NAMES.values()), use_stemmer=True)
    scores = [
        scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)
    ]
    means = {
        name: fmean(score[theirs].fmeasure for score in scores) for name, theirs in _NAMES.items()
    }
    return {**means, "rouge": fmean(means.values())}
