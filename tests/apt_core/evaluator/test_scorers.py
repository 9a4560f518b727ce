"""Scorers by hand: readers of generated text, and which metrics each kind of task has."""

import math

import numpy as np
import pytest

from apt_core.data.references import References, Windows
from apt_core.evaluator.predict import Generated
from apt_core.evaluator.scorers import (
    NO_CLASS,
    AnswerScorer,
    ClassificationScorer,
    InstructionScorer,
    RegressionScorer,
    SpanScorer,
    SummaryScorer,
    class_reader,
    make_scorer,
    needs_text,
    read_answer,
    read_score,
)


def wrote(text: str | None, num_tokens: int = 1, num_correct: int = 0) -> Generated:
    return Generated(text, num_tokens, num_correct)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("positive", 1),
        (" Not  Entailment\n", 0),
        ("not_entailment", NO_CLASS),
        ("positive.", NO_CLASS),
        ("", NO_CLASS),
    ],
)
def test_a_class_is_its_word_but_for_case_and_white_space(text: str, expected: int) -> None:
    assert class_reader(("not entailment", "POSITIVE"))(wrote(text)) == expected


def test_of_equal_label_words_the_first_counts() -> None:
    assert class_reader(("same", "same"))(wrote("same")) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.8", 3.8),
        (" 4 ", 4.0),
        ("-1e1", -10.0),
        ("four", 0.0),
        ("", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("3.8 4", 0.0),
    ],
)
def test_a_score_is_the_number_that_was_written(text: str, expected: float) -> None:
    assert read_score(wrote(text)) == expected


def test_an_answer_may_be_that_there_is_none() -> None:
    assert read_answer(wrote("Unanswerable ")) == ""
    assert read_answer(wrote("unanswerable questions")) == "unanswerable questions"


def test_f1_is_for_two_classes() -> None:
    references = References((1, 0, 1, 1))
    scores = ClassificationScorer(2)([1, 1, 0, 1], references)
    # TP 2, FP 1, FN 1, TN 0; Matthews (0 - 1) / sqrt(3 x 3 x 1 x 1)
    assert scores == pytest.approx({"accuracy": 0.5, "f1": 2 / 3, "matthews": -1 / 3})
    assert ClassificationScorer(3)([1, 1, 0, 1], references).keys() == {"accuracy", "matthews"}


def test_a_text_that_is_no_label_word_is_wrong() -> None:
    scorer = make_scorer("classification", "causal_lm", label_words=("no", "yes"))
    scores = scorer([wrote("yes"), wrote("maybe"), wrote("NO")], References((1, 0, 0)))
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["f1"] == 1.0


def test_scores_correlate() -> None:
    scores = RegressionScorer()([1.0, 2.0, 4.0], References((0.0, 1.0, 9.0)))
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson_spearman"] == (scores["pearson"] + scores["spearman"]) / 2
    written = make_scorer("regression", "seq2seq_lm")(
        [wrote("1.0"), wrote("2.0"), wrote("4.0")], References((0.0, 1.0, 9.0))
    )
    assert written == scores


SPANS = np.array([(-1, -1), (0, 3), (4, 7)])


def window(null: float, one: float, two: float) -> tuple[np.ndarray, np.ndarray]:
    logits = np.array([null, one, two])
    return logits, logits


def split(*golds: tuple[str, ...]) -> References:
    count = len(golds)
    return References(golds, ("one two",) * count, Windows(tuple(range(count)), (SPANS,) * count))


def test_unanswerable_questions_are_left_where_no_answer_wins_by_the_threshold() -> None:
    references = split(("one",), (), ("two",))
    # Margins, null minus span: 2 (right if given), 6 (wrong if given), -8.
    logits = [window(3.0, 2.0, 0.0), window(4.0, 1.0, 0.0), window(1.0, 0.0, 5.0)]
    scores = SpanScorer()(logits, references)
    assert scores == pytest.approx(
        {
            "exact_match": 2 / 3,
            "f1": 2 / 3,
            "has_answer_exact_match": 0.5,
            "has_answer_f1": 0.5,
            "no_answer_accuracy": 1.0,
            "best_f1": 1.0,
            "best_f1_threshold": 2.0,
        }
    )
    assert SpanScorer(null_threshold=2.0)(logits, references)["f1"] == 1.0
    assert SpanScorer(null_threshold=6.0)(logits, references)["f1"] == pytest.approx(2 / 3)


def test_where_all_questions_have_answers_one_is_always_given() -> None:
    scores = SpanScorer()([window(99.0, 2.0, 0.0)], split(("one",)))
    assert scores == {"exact_match": 1.0, "f1": 1.0}


def test_the_length_of_spans_is_limited() -> None:
    logits = [(np.array([0.0, 5.0, 0.0]), np.array([0.0, 0.0, 5.0]))]
    assert SpanScorer(2)(logits, split(("one two",)))["exact_match"] == 1.0
    assert SpanScorer(1)(logits, split(("one two",)))["exact_match"] == 0.0


def test_written_answers_score_like_spans() -> None:
    scores = AnswerScorer()(
        [wrote("The cat"), wrote("unanswerable"), wrote("x")], References((("cat",), (), ()))
    )
    assert scores == pytest.approx(
        {
            "exact_match": 2 / 3,
            "f1": 2 / 3,
            "has_answer_exact_match": 1.0,
            "has_answer_f1": 1.0,
            "no_answer_accuracy": 0.5,
        }
    )


def test_summaries_have_four_metrics() -> None:
    scores = SummaryScorer()([wrote("a b"), wrote("c")], References(("a b", "d")))
    assert scores == {"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5, "rouge": 0.5}


def test_instructions_are_scored_by_token_and_where_written_by_text() -> None:
    references = References(("An answer", "no"))
    silent = [wrote(None, 3, 2), wrote(None, 1, 1)]
    assert InstructionScorer()(silent, references) == {"token_accuracy": 0.75}
    scores = InstructionScorer()([wrote("An  answer", 3, 2), wrote("No", 1, 1)], references)
    assert scores["token_accuracy"] == 0.75
    assert scores["exact_match_text"] == 0.5  # case counts, white space does not
    assert scores["rouge1"] == 1.0
    assert InstructionScorer()([wrote(None, 0, 0)], References(("",))) == {"token_accuracy": 0.0}


def test_a_metric_of_texts_without_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="generation is switched off"):
        SummaryScorer()([wrote(None)], References(("a",)))


@pytest.mark.parametrize(
    ("task", "head", "kind"),
    [
        ("classification", "sequence_classification", ClassificationScorer),
        ("regression", "sequence_classification", RegressionScorer),
        ("qa", "question_answering", SpanScorer),
        ("qa", "causal_lm", AnswerScorer),
        ("summarization", "seq2seq_lm", SummaryScorer),
        ("instruction", "causal_lm", InstructionScorer),
    ],
)
def test_every_task_has_its_scorer(task, head, kind) -> None:
    assert type(make_scorer(task, head, label_words=("a", "b"))) is kind


def test_plain_values_are_read_as_they_are() -> None:
    scorer = make_scorer("classification", "sequence_classification", label_words=("a", "b"))
    assert scorer([1, 0], References((1, 0)))["accuracy"] == 1.0
    assert math.isclose(
        make_scorer("regression", "sequence_classification")([1.0, 2.0], References((3.0, 4.0)))[
            "pearson"
        ],
        1.0,
    )


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown task kind 'x'"):
        make_scorer("x", "causal_lm")


@pytest.mark.parametrize(
    ("task", "metric", "needed"),
    [
        ("classification", "accuracy", True),
        ("instruction", "token_accuracy", False),
        ("instruction", "lm_eval", False),
        ("instruction", "rouge", True),
        ("instruction", "exact_match_text", True),
    ],
)
def test_only_instructions_can_do_without_text(task, metric, needed) -> None:
    assert needs_text(task, metric) is needed
