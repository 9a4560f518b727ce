"""The harness on models in memory: against likelihoods computed here, and on real files."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from apt_core.errors import ConfigError
from apt_core.evaluator import lm_eval as door
from apt_core.evaluator.lm_eval import PAPER_SHOTS, LmEvalSettings, run_lm_eval
from tests.tiny_generative import tiny_llama, word_tokenizer

TASK_WORDS = ("Question", "Answer", ":", "A", "B", "C", "D", ".", "The", "following", "are")
TOKENIZER = word_tokenizer((*TASK_WORDS, *(f"w{i}" for i in range(35))))


def likelihood(model, context: str, continuation: str) -> float:
    """Sum of the log-probabilities of the continuation's tokens."""
    before = TOKENIZER(context, add_special_tokens=False)["input_ids"]
    whole = TOKENIZER(context + continuation, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logits[i - 1, whole[i]]) for i in range(len(before), len(whole)))


def texts(count: int, seed: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 5, (count,), generator=generator).tolist()
    return [
        " ".join(f"w{i}" for i in torch.randint(0, 35, (size,), generator=generator).tolist())
        for size in sizes
    ]


def write(root: Path, name: str, rows: list[dict]) -> None:
    file = (root / name).with_suffix(".parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_arc_is_scored_by_the_likelihood_of_its_choices(tmp_path: Path) -> None:
    model = tiny_llama(5)
    items: list[dict] = []
    for i in range(20):
        question, *choices = texts(5, seed=i)
        gold = "ABCD"[i % 4]
        items.append(
            {
                "id": str(i),
                "question": question,
                "choices": {"text": choices, "label": list("ABCD")},
                "answerKey": gold,
            }
        )
    write(tmp_path, "arc_challenge/test", items)
    write(tmp_path, "arc_challenge/train", items[:2])
    settings = LmEvalSettings({"arc_challenge": 0}, tmp_path, limit=15, batch_size=4)
    result = run_lm_eval(model, TOKENIZER, settings)

    hits = {"acc": 0, "acc_norm": 0}
    for item in items[:15]:
        context = f"Question: {item['question']}\nAnswer:"
        choices = item["choices"]["text"]
        sums = [likelihood(model, context, f" {choice}") for choice in choices]
        means = [total / len(choice) for total, choice in zip(sums, choices, strict=True)]
        answer = "ABCD".index(item["answerKey"])
        hits["acc"] += sums.index(max(sums)) == answer
        hits["acc_norm"] += means.index(max(means)) == answer
    expected = {name: count / 15 for name, count in hits.items()}
    assert result.metrics == {"arc_challenge": pytest.approx(expected)}
    assert result.scores == {"arc_challenge": pytest.approx(expected["acc_norm"])}
    assert result.average == result.scores["arc_challenge"]
    assert result.num_items == {"arc_challenge": 15}
    assert result.settings == {
        "tasks": {"arc_challenge": 0},
        "limit": 15,
        "batch_size": 4,
        "max_length": 64,
        "local_files": True,
    }
    assert {"lm_eval", "transformers", "torch", "task arc_challenge"} == result.versions.keys()


def test_subjects_of_mmlu_weigh_by_their_items(tmp_path: Path) -> None:
    model = tiny_llama(2)
    items: list[dict] = []
    for i in range(12):
        question, *choices = texts(5, seed=100 + i)
        subject = "anatomy" if i < 9 else "virology"
        items.append(
            {"question": question, "subject": subject, "choices": choices, "answer": i % 4}
        )
    write(tmp_path, "mmlu/test", items)
    write(tmp_path, "mmlu/dev", items)
    settings = LmEvalSettings({"mmlu": 0}, tmp_path)
    result = run_lm_eval(model, TOKENIZER, settings)
    hits = 0
    for item in items:
        lines = [f"{letter}. {text}" for letter, text in zip("ABCD", item["choices"], strict=True)]
        about = f"multiple choice questions (with answers) about {item['subject']}.\n\n"
        asked = "\n".join([item["question"], *lines, "Answer:"])
        context = f"The following are {about}{asked}"
        sums = [likelihood(model, context, f" {letter}") for letter in "ABCD"]
        hits += sums.index(max(sums)) == item["answer"]
    assert result.scores == {"mmlu": pytest.approx(hits / 12)}
    assert result.num_items == {"mmlu": 12}


def test_a_missing_package_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'aptune\[eval\]'"):
        run_lm_eval(tiny_llama(), TOKENIZER, LmEvalSettings())


def test_by_default_the_four_benchmarks_of_the_paper_are_run() -> None:
    assert LmEvalSettings().tasks == PAPER_SHOTS
    assert LmEvalSettings().tasks is not PAPER_SHOTS


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_model_is_scored_on_local_files(real_data: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = real_data / "models" / "novels-llama-6m"
    model = AutoModelForCausalLM.from_pretrained(folder).float().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = LmEvalSettings(PAPER_SHOTS, real_data / "data", limit=10)
    result = run_lm_eval(model, tokenizer, settings)
    assert result.scores.keys() == PAPER_SHOTS.keys()
    # MMLU has 57 subjects, and each gives at least one item.
    assert result.num_items == {**dict.fromkeys(PAPER_SHOTS, 10), "mmlu": 57}
    assert all(0 <= score <= 1 for score in result.scores.values())
    assert math.isclose(result.average, sum(result.scores.values()) / 4)
