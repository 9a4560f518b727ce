"""The evaluator on one worker, and on shares that other workers would send."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from apt_core.data.references import References, Windows
from apt_core.errors import TrainingError
from apt_core.evaluator import evaluator as evaluator_module
from apt_core.evaluator.evaluator import Evaluator
from apt_core.evaluator.generation import GenerationSettings
from apt_core.evaluator.predict import ClassificationPredictor, SpanPredictor, make_predictor
from apt_core.evaluator.scorers import ClassificationScorer, SpanScorer, make_scorer
from apt_core.models.trained_modules import TrainedModules
from tests.nightly import nightly
from tests.reference.evaluation_cases import evaluate_rows
from tests.spawn import run_workers
from tests.tiny_generative import EOS, causal_batch, prompts_of, tiny_llama, word_tokenizer


class Echo(nn.Module):
    """Its logits are its inputs, its loss what the batch says."""

    def forward(self, logits: Tensor, labels: Tensor, loss: Tensor) -> SimpleNamespace:
        assert not self.training
        assert not torch.is_grad_enabled()
        return SimpleNamespace(logits=logits, loss=loss)


class PlainEngine:
    """Calls the module and nothing else."""

    def __init__(self, student: nn.Module | None = None) -> None:
        self.module = TrainedModules(student or Echo()).train()

    def __call__(self, *args: Any) -> Any:
        return self.module(*args)


def batch_of(predicted: list[int], rows: list[int], loss: float) -> dict[str, Tensor]:
    return {
        "logits": nn.functional.one_hot(torch.tensor(predicted), 3).float(),
        "labels": torch.zeros(len(rows)).long(),  # the references count, not these
        "loss": torch.tensor(loss),
        "row": torch.tensor(rows),
    }


def evaluate(
    targets: list[int], *batches: tuple[dict[str, Tensor], int], split: str | None = None
) -> dict[str, float]:
    engine: Any = PlainEngine()
    asked = []

    def batches_of(name):
        asked.append(name)
        return batches

    def references_of(name):
        asked.append(name)
        return References(tuple(targets))

    evaluator = Evaluator(
        batches=batches_of,
        references=references_of,
        predictor=ClassificationPredictor(),
        scorer=ClassificationScorer(3),
        metric_name="accuracy",
    )
    values = evaluator.evaluate(engine, split)
    assert asked == [split, split]
    assert not engine.module.training
    return values


def test_the_metric_counts_rows_and_the_loss_is_weighted_by_them() -> None:
    values = evaluate(
        [2, 0, 1, 1],
        (batch_of([1, 2, 0], [2, 3, 1], 0.5), 3),
        (batch_of([2], [0], 2.5), 1),
    )
    # Rows 0 to 3 are predicted 2 0 1 2. Matthews: 4 x 3 hits - (1 + 2 + 2) = 7, over 10.
    assert values == {
        "eval/accuracy": 0.75,
        "eval/matthews": pytest.approx(0.7),
        "eval/metric": 0.75,
        "eval/loss": 1.0,
    }


def test_rows_beyond_the_real_ones_do_not_count() -> None:
    values = evaluate(
        [0, 2],
        (batch_of([0, 1], [0, 1], 1.0), 2),
        (batch_of([1, 0], [0, 1], 99.0), 0),  # this worker ran out and repeats rows
        (batch_of([1, 2], [1, 1], 1.0), 1),  # only the first row counts: the later word on row 1
    )
    assert (values["eval/accuracy"], values["eval/loss"]) == (0.5, 1.0)


def test_another_split_has_its_name_in_its_metrics() -> None:
    values = evaluate([1], (batch_of([1], [0], 1.0), 1), split="holdout")
    assert values.keys() == {
        f"eval/holdout/{name}" for name in ("accuracy", "matthews", "metric", "loss")
    }


@pytest.mark.parametrize("rows", [[0], [0, 2], [0, 1, 2]])
def test_every_row_must_be_predicted(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="2 rows are to be predicted"):
        evaluate([0, 0], (batch_of([0] * len(rows), rows, 1.0), len(rows)))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_with_advice(loss: float) -> None:
    with pytest.raises(TrainingError, match=rf"loss is {loss}: lower training\.learning_rate"):
        evaluate([0], (batch_of([0], [0], loss), 1))


def test_all_workers_shares_are_scored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(shares: list[Any], own: Any) -> None:
        other = type(own)(by_row={0: 1, 3: 1, 1: 1}, total_loss=9.0, total_weight=3.0)
        shares[:] = [own, other]

    monkeypatch.setattr(evaluator_module, "world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    values = evaluate([1, 0, 2, 0], (batch_of([2], [2], 1.0), 1))
    assert (values["eval/accuracy"], values["eval/loss"]) == (0.5, 2.5)


def test_windows_are_gathered_by_their_own_numbers() -> None:
    spans = np.array([(-1, -1), (0, 3), (4, 7)])
    references = References(
        (("two",), ("one",)), ("one two", "one two"), Windows((0, 1, 1), (spans, spans, spans))
    )
    logits = {2: [0.0, 9.0, 0.0], 0: [0.0, 0.0, 5.0], 1: [0.0, 0.0, 3.0]}
    rows = list(logits)

    class Reader(nn.Module):
        def forward(self, input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
            return SimpleNamespace(
                start_logits=input_ids, end_logits=input_ids, loss=torch.tensor(1.0)
            )

    batch = {"input_ids": torch.tensor([logits[row] for row in rows]), "row": torch.tensor(rows)}
    evaluator = Evaluator(
        batches=lambda _: [(batch, 3)],
        references=lambda _: references,
        predictor=SpanPredictor(),
        scorer=SpanScorer(),
        metric_name="f1",
    )
    engine: Any = PlainEngine(Reader())
    values = evaluator.evaluate(engine)
    assert (values["eval/f1"], values["eval/exact_match"]) == (1.0, 1.0)


def test_a_causal_model_is_scored_on_what_it_writes() -> None:
    model, tokenizer = tiny_llama(), word_tokenizer()
    prompts = prompts_of([3, 6])
    batch = causal_batch(prompts, [torch.tensor([9, EOS]), torch.tensor([9, 8, EOS])])
    predictor = make_predictor(
        "causal_lm", tokenizer=tokenizer, generation=GenerationSettings(max_new_tokens=6)
    )
    engine: Any = PlainEngine(model)
    with torch.no_grad():
        written = predictor.predictions(predictor.forward(engine.module, batch))
    evaluator = Evaluator(
        batches=lambda _: [(batch, 2)],
        references=lambda _: References((written[0].text, "none of it")),
        predictor=predictor,
        scorer=make_scorer("instruction", "causal_lm"),
        metric_name="rouge",
    )
    values = evaluator.evaluate(engine)
    assert values["eval/exact_match_text"] == 0.5
    assert values["eval/metric"] == values["eval/rouge"] == 0.5
    hits = sum(w.num_correct for w in written)
    assert values["eval/token_accuracy"] == hits / 5
    assert values["eval/loss"] > 0


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize(
    ("head_kind", "kind"),
    [
        ("causal_lm", "torch"),
        ("seq2seq_lm", 3),
        pytest.param("seq2seq_lm", "torch", marks=nightly("the other engine by day")),
        pytest.param("causal_lm", 3, marks=nightly("the other engine by day")),
    ],
)
def test_two_workers_write_and_score_what_one_does(head_kind: str, kind: str | int) -> None:
    num_beams = 1 if kind == "torch" else 2
    alone = evaluate_rows(head_kind, "torch", num_beams)
    assert len({len(text.split()) for text in alone["texts"]}) > 1  # some end before others
    both = run_workers(evaluate_rows, head_kind=head_kind, kind=kind, num_beams=num_beams)
    assert both[0] == both[1]
    assert both[0]["texts"] == alone["texts"]
    assert both[0]["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
