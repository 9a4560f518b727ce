"""Exact match and F1 of answer texts by the rules of the SQuAD v2 evaluation script."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

TextScore = Callable[[str, str], float]


def normalize_answer(text: str) -> str:
    """Lower-case, without ASCII punctuation, articles and superfluous white space."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, gold: str) -> float:
    """1.0 where both texts are the same after normalisation, else 0.0."""
    return float(normalize_answer(answer) == normalize_answer(gold))


def token_f1(answer: str, gold: str) -> float:
    """F1 of the normalised words that two texts share, counted with repetition, in [0, 1].

    Where either text has no words (no answer), 1.0 if neither has, else 0.0.

    Args:
        answer: predicted text.
        gold: expected text.

    Returns:
        2 x shared words / (words of both).
    """
    given, wanted = normalize_answer(answer).split(), normalize_answer(gold).split()
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    # As the script computes it; 2 x shared / total would round differently in the last digit.
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def best_over_golds(score: TextScore, answer: str, golds: Sequence[str]) -> float:
    """The score against the accepted answer that suits best.

    Args:
        score: `exact_match` or `token_f1`.
        answer: predicted text, empty for "unanswerable".
        golds: accepted answers. Those that normalise to nothing do not count; without any other
            the question is unanswerable, and the empty text is right.

    Returns:
        The maximum.
    """
    accepted = [gold for gold in golds if normalize_answer(gold)] or [""]
    return max(score(answer, gold) for gold in accepted)


def squad_metrics(answers: Sequence[str], golds: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean exact match and F1 over all questions and over the two kinds of them, in [0, 1].

    One number hides what was learned where many questions have no answer: whoever never answers
    already scores their share. So the published script's HasAns and NoAns values stand beside it.

    Args:
        answers: predicted text per question, empty for "unanswerable".
        golds: accepted answers per question, none for an unanswerable one.

    Returns:
        ``exact_match`` and ``f1``; where both kinds of questions occur also
        ``has_answer_exact_match``, ``has_answer_f1`` and ``no_answer_accuracy``, the share of
        unanswerable questions left unanswered (for these, exact match and F1 are the same).

    Raises:
        ValueError: there are no questions, or not equally many of both.
    """
    if not golds:
        raise ValueError("exact_match and f1 of no questions are undefined")
    pairs = list(zip(answers, golds, strict=True))
    overall = _mean_scores(pairs)
    answerable = [pair for pair in pairs if pair[1]]
    if len(answerable) in (0, len(pairs)):
        return overall
    unanswerable = _mean_scores([pair for pair in pairs if not pair[1]])
    return {
        **overall,
        **{f"has_answer_{name}": value for name, value in _mean_scores(answerable).items()},
        "no_answer_accuracy": unanswerable["exact_match"],
    }


def _mean_scores(pairs: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    scores = {"exact_match": exact_match, "f1": token_f1}
    return {
        name: sum(best_over_golds(score, answer, golds) for answer, golds in pairs) / len(pairs)
        for name, score in scores.items()
    }


@dataclass(frozen=True)
class BestThreshold:
    """Where a metric is best if answers are dropped beyond a threshold."""

    threshold: float
    value: float
    """The metric there, in [0, 1]."""


def best_threshold(
    score: TextScore,
    answers: Sequence[str],
    null_margins: Sequence[float],
    golds: Sequence[Sequence[str]],
) -> BestThreshold:
    """The null threshold that suits a set best, found on its own answers: for reports only.

    An answer stands where its margin (null score minus span score) is at most the threshold. As in
    the script, questions are admitted in the order of their margins. Deviations: questions of equal
    margin are admitted together, because no threshold parts them; where no answer at all is best,
    the threshold lies below the least margin instead of at 0.

    Args:
        score: `exact_match` or `token_f1`.
        answers: the best text per question, never dropped for its margin.
        null_margins: per question.
        golds: accepted answers per question.

    Returns:
        The least of the best thresholds, and the metric there.
    """
    rows = sorted(
        (
            margin,
            best_over_golds(score, answer, gold) - best_over_golds(score, "", gold),
        )
        for answer, margin, gold in zip(answers, null_margins, golds, strict=True)
    )
    total = sum(best_over_golds(score, "", gold) for gold in golds)
    best = BestThreshold(rows[0][0] - 1.0, total)
    for margin, group in groupby(rows, key=lambda row: row[0]):
        total += sum(gain for _, gain in group)
        if total > best.value:
            best = BestThreshold(margin, total)
    return BestThreshold(best.threshold, best.value / len(rows))
