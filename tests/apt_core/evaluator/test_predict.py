"""Predictors with tiny models: values, losses by hand, and silence."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from apt_core.evaluator import predict
from apt_core.evaluator.generation import GenerationSettings
from apt_core.evaluator.predict import (
    ClassificationPredictor,
    Generated,
    GenerativePredictor,
    SpanPredictor,
    make_predictor,
)
from apt_core.models.trained_modules import TrainedModules
from tests.tiny_generative import (
    EOS,
    causal_batch,
    prompts_of,
    seq2seq_batch,
    silence_required,
    tiny_llama,
    tiny_t5,
    word_tokenizer,
)

TOKENIZER = word_tokenizer()


class Fixed(nn.Module):
    """Gives what it was made with, and remembers its inputs."""

    def __init__(self, **outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
        self.inputs = inputs
        return SimpleNamespace(**self.outputs)


def asked(predictor, model: nn.Module, batch):
    with torch.no_grad():
        outputs = predictor.forward(TrainedModules(model), batch)
    return outputs, predictor.predictions(outputs)


def test_a_classifier_gives_the_likeliest_class_and_its_mean_loss_per_row() -> None:
    model = Fixed(logits=torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]), loss=torch.tensor(0.5))
    batch = {"input_ids": torch.ones(2, 4), "labels": torch.tensor([1, 1]), "row": torch.arange(2)}
    outputs, values = asked(ClassificationPredictor(), model, batch)
    assert values == [1, 0]
    assert outputs["losses"].tolist() == [0.5, 0.5]
    assert outputs["weights"].tolist() == [1.0, 1.0]
    assert model.inputs.keys() == {"input_ids", "labels"}


def test_regression_gives_the_score() -> None:
    logits = torch.tensor([[0.25], [3.0]], dtype=torch.bfloat16)
    model = Fixed(logits=logits, loss=torch.tensor(0.5))
    batch = {"input_ids": torch.ones(2, 4), "labels": torch.tensor([1.0, 1.0])}
    _, values = asked(ClassificationPredictor(regression=True), model, batch)
    assert values == [0.25, 3.0]


def test_question_answering_gives_the_logits_of_every_window() -> None:
    start, end = torch.arange(6.0).reshape(2, 3), -torch.arange(6.0).reshape(2, 3).bfloat16()
    model = Fixed(start_logits=start, end_logits=end, loss=torch.tensor(2.0))
    batch = {"input_ids": torch.ones(2, 3), "start_positions": torch.zeros(2).long()}
    outputs, values = asked(SpanPredictor(), model, batch)
    assert [(s.tolist(), e.tolist()) for s, e in values] == [
        ([0.0, 1.0, 2.0], [-0.0, -1.0, -2.0]),
        ([3.0, 4.0, 5.0], [-3.0, -4.0, -5.0]),
    ]
    assert all(array.dtype == np.float32 for pair in values for array in pair)
    assert outputs["losses"].tolist() == [2.0, 2.0]


CASES = [(tiny_t5, seq2seq_batch, False), (tiny_llama, causal_batch, True)]


def random_batch(collate, seed: int):
    targets = [torch.cat([t, torch.tensor([EOS])]) for t in prompts_of([4, 1, 7], seed + 1)]
    return collate(prompts_of([3, 8, 1], seed), targets), targets


@pytest.mark.parametrize(("make", "collate", "causal"), CASES)
def test_the_loss_is_the_models_own_over_all_expected_tokens(make, collate, causal) -> None:
    for seed in range(5):
        model, (batch, _) = make(seed), random_batch(collate, seed)
        predictor = GenerativePredictor(TOKENIZER, None, causal=causal)
        outputs, values = asked(predictor, model, batch)
        own = model(**{n: t for n, t in batch.items() if n != "row"}).loss
        mean = outputs["losses"].sum() / outputs["weights"].sum()
        torch.testing.assert_close(mean, own.detach(), atol=1e-5, rtol=0)
        assert "labels" in batch
        assert [value.num_tokens for value in values] == [5, 2, 8]
        assert all(value.text is None for value in values)


@pytest.mark.parametrize(("make", "collate", "causal"), CASES)
@torch.no_grad()
def test_losses_and_hits_are_those_of_each_row_alone(make, collate, causal) -> None:
    model, (batch, targets) = make(1), random_batch(collate, 1)
    # Make the first row's expected tokens the likeliest ones, so that there are hits to count.
    predictor = GenerativePredictor(TOKENIZER, GenerationSettings(5), causal=causal)
    first = collate(prompts_of([3], 1), [torch.tensor([7])])
    _, (greedy,) = asked(predictor, model, first)
    targets[0] = torch.tensor(TOKENIZER.convert_tokens_to_ids(greedy.text.split()))
    batch = collate(prompts_of([3, 8, 1], 1), targets)
    outputs, values = asked(predictor, model, batch)
    for row, (prompt, target) in enumerate(zip(prompts_of([3, 8, 1], 1), targets, strict=True)):
        if causal:
            logits = model(torch.cat([prompt, target])[None]).logits[0, len(prompt) - 1 : -1]
        else:
            logits = model(prompt[None], labels=target[None]).logits[0]
        loss = F.cross_entropy(logits, target, reduction="sum")
        torch.testing.assert_close(outputs["losses"][row], loss, atol=1e-4, rtol=1e-5)
        assert values[row].num_correct == int((logits.argmax(-1) == target).sum())
        assert values[row].num_tokens == len(target)
    assert values[0].num_correct == len(targets[0]) > 0


@pytest.mark.parametrize(("make", "collate", "causal"), CASES)
def test_texts_have_no_special_tokens_and_nothing_is_printed(
    make, collate, causal, caplog, capsys
) -> None:
    predictor = GenerativePredictor(TOKENIZER, GenerationSettings(8), causal=causal)
    with silence_required(caplog, capsys):
        values = [
            value
            for seed in range(6)
            for value in asked(predictor, make(seed), random_batch(collate, seed)[0])[1]
        ]
    texts = [value.text for value in values]
    assert all(text == text.strip() and "<" not in text for text in texts)
    assert len(set(texts)) > 5
    prompts = {
        word for seed in range(6) for p in prompts_of([3, 8, 1], seed) for word in p.tolist()
    }
    assert prompts  # the prompt is not repeated: at most 8 words are new
    assert max(len(text.split()) for text in texts) <= 8


def test_several_workers_generate_in_step(monkeypatch) -> None:
    seen = []

    def generate(*_, in_step):
        seen.append(in_step)
        return torch.tensor([[5]] * 3)

    monkeypatch.setattr(predict, "world_size", lambda: 2)
    monkeypatch.setattr(predict, "generate", generate)
    predictor = GenerativePredictor(TOKENIZER, GenerationSettings(8), causal=True)
    _, values = asked(predictor, tiny_llama(), random_batch(causal_batch, 0)[0])
    assert seen == [True]
    assert values[0] == Generated("w1", 5, values[0].num_correct)


@pytest.mark.parametrize(
    ("head_kind", "kind"),
    [
        ("sequence_classification", ClassificationPredictor),
        ("question_answering", SpanPredictor),
        ("seq2seq_lm", GenerativePredictor),
        ("causal_lm", GenerativePredictor),
    ],
)
def test_every_head_has_its_predictor(head_kind, kind) -> None:
    made = make_predictor(head_kind, tokenizer=TOKENIZER, generation=GenerationSettings(3))
    assert type(made) is kind
    if kind is GenerativePredictor:
        assert made.causal == (head_kind == "causal_lm")
        assert made.settings == GenerationSettings(3)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown head kind 'x'"):
        make_predictor("x", tokenizer=TOKENIZER)
