"""Features: what each head reads and learns."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from apt_core.data.features import FeatureSettings, make_features
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import TokenizedSplit
from apt_core.errors import DataError
from tests.tiny_tasks import COLUMNS, qa_row, row, text, tokenizer

KINDS = ("classification", "regression", "qa", "summarization", "instruction")
TOKENIZERS = {family: tokenizer(family) for family in ("bert", "roberta", "t5", "llama", "gpt2")}
HEADS = {"t5": "seq2seq_lm", "llama": "causal_lm", "gpt2": "causal_lm"}


def task_of(kind: str, **changes: Any) -> TaskSpec:
    labels = ("no", "yes") if kind == "classification" else ()
    columns = COLUMNS.get(kind, ("text",))
    given = {"text_columns": columns, "labels": labels, "kind": kind, **changes}
    return TaskSpec(name="tiny", path="x", **given)


def features(
    task: TaskSpec, rows: list[dict[str, Any]], family: str, **changes: Any
) -> TokenizedSplit:
    given = {"max_length": 200, "head": HEADS.get(family, "sequence_classification"), **changes}
    settings = FeatureSettings(**given)
    return make_features(pa.Table.from_pylist(rows), task, TOKENIZERS[family], settings)


def words(family: str, ids: Any) -> str:
    return " ".join(TOKENIZERS[family].convert_ids_to_tokens([int(i) for i in ids]))


def source_and_target(split: TokenizedSplit, item: int, family: str) -> tuple[str, str]:
    if family == "t5":
        pair = split.input_ids[item], split.ragged["labels"][item]
    else:
        cut = split.fixed["prompt_tokens"][item]
        pair = split.input_ids[item][:cut], split.input_ids[item][cut:]
    return words(family, pair[0]), words(family, pair[1])


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("max_length", [6, 100])
def test_an_encoder_gets_what_its_tokenizer_gives(family: str, max_length: int) -> None:
    rows = [{"text": text(i, i + 1), "other": text(i, 4), "label": i % 2} for i in range(5)]
    task = task_of("classification", text_columns=("text", "other"))
    split = features(task, rows, family, max_length=max_length)
    for item, one in enumerate(rows):
        expected = TOKENIZERS[family](
            one["text"], one["other"], truncation=True, max_length=max_length
        )
        assert split.input_ids[item].tolist() == expected["input_ids"]
        if family == "bert":
            assert split.ragged["token_type_ids"][item].tolist() == expected["token_type_ids"]
    assert split.fixed["labels"].tolist() == [0, 1, 0, 1, 0]
    assert split.fixed["labels"].dtype == np.int64


def test_scores_are_float_labels() -> None:
    split = features(task_of("regression"), [row("regression", 12)], "bert")
    assert split.fixed["labels"].dtype == np.float32
    assert split.fixed["labels"].tolist() == [pytest.approx(1.2)]


EXPECTED = {
    "classification": ("tiny text : w3 w4 w5 w6", "yes"),
    "regression": ("tiny text : w3 w4 w5 w6", "0.3"),
    "qa": ("question : w4 w5 context : w4 w5 w6 w7 w8 w9 w10", "w8 w9"),
    "summarization": ("summarize : w3 w4 w5 w6 w7 w8 w9", "w3 w4 w5 w6"),
}


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("family", HEADS)
def test_a_generative_model_reads_a_prompt_and_writes_the_target(kind: str, family: str) -> None:
    split = features(task_of(kind), [row(kind, 4 if kind == "qa" else 3)], family)
    prompt, target = EXPECTED[kind]
    around = {"t5": f"{prompt} </s>", "llama": f"<s> {prompt} \n", "gpt2": f"{prompt} \n"}
    assert source_and_target(split, 0, family) == (around[family], f"{target} </s>")


def test_an_unanswerable_question_is_answered_by_a_word() -> None:
    split = features(task_of("qa"), [qa_row(3)], "t5")
    assert source_and_target(split, 0, "t5")[1] == "unanswerable </s>"


def test_words_for_labels_and_an_own_prompt_are_taken() -> None:
    task = task_of("classification", label_words=("w1", "w2"), prompt=". {text} :")
    split = features(task, [row("classification", 3)], "llama")
    assert source_and_target(split, 0, "llama") == ("<s> . w3 w4 w5 w6 : \n", "w2 </s>")


@pytest.mark.parametrize(
    ("number", "sections"),
    [(4, ("Instruction", "Response")), (5, ("Instruction", "Input", "Response"))],
)
def test_an_instruction_with_and_without_input(number: int, sections: tuple[str, ...]) -> None:
    split = features(task_of("instruction"), [row("instruction", number)], "llama")
    prompt, target = source_and_target(split, 0, "llama")
    found = prompt.split("### ")[1:]
    assert tuple(part.split()[0] for part in found) == sections
    assert prompt.endswith("Response : \n")
    assert target == row("instruction", number)["output"] + " </s>"


@pytest.mark.parametrize("family", HEADS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_length", [60, 80])
def test_no_prompt_and_no_target_is_longer_than_allowed(
    kind: str, family: str, max_length: int
) -> None:
    target = task_of(kind).label_column
    long = {name: text(i, 90) for i, name in enumerate(COLUMNS.get(kind, ("text",)))}
    rows = [{**row(kind, number), **long} for number in range(3, 9)]
    rows = [{**one, target: text(0, 40) if kind[0] in "si" else one[target]} for one in rows]
    split = features(task_of(kind), rows, family, max_length=max_length, max_target_length=5)
    for item in range(len(rows)):
        prompt, written = source_and_target(split, item, family)
        assert len(prompt.split(" ")) == max_length
        assert len(written.split(" ")) <= 5
        assert written.endswith("</s>")
        # The template's words stay: the start, and what follows the values.
        end = {"t5": " </s>", "llama": " \n", "gpt2": " \n"}[family]
        assert prompt.endswith(("Response :" if kind == "instruction" else "") + end)


@pytest.mark.parametrize("family", HEADS)
def test_the_context_is_cut_before_the_question(family: str) -> None:
    long = {**qa_row(4), "question": text(0, 30), "context": text(30, 20)}
    split = features(task_of("qa"), [long], family, max_length=45)
    prompt, _ = source_and_target(split, 0, family)
    assert text(0, 30) in prompt
    assert text(30, 4) in prompt
    assert text(30, 20) not in prompt


def test_the_targets_of_training_do_not_change_the_prompt() -> None:
    rows = [{"text": text(0, 50), "summary": text(0, count)} for count in (1, 30)]
    split = features(task_of("summarization"), rows, "llama", max_length=20)
    assert source_and_target(split, 0, "llama")[0] == source_and_target(split, 1, "llama")[0]


def test_a_prompt_without_room_for_its_own_words_is_refused() -> None:
    message = r"data.max_length: 9 tokens are too few for the words of the prompt alone \(dataset t"
    with pytest.raises(DataError, match=message):
        features(task_of("instruction"), [row("instruction", 5)], "llama", max_length=9)


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("qa", "sequence_classification"),
        ("summarization", "sequence_classification"),
        ("classification", "question_answering"),
        ("classification", "unheard_of"),
    ],
)
def test_a_head_that_cannot_learn_the_task_is_refused(kind: str, head: str) -> None:
    with pytest.raises(DataError, match=rf"tiny.task: {kind} cannot be learned with a {head} head"):
        features(task_of(kind), [row(kind, 1)], "bert", head=head)
