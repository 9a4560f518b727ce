"""Words of prompts."""

from apt_core.data.toy import TOY_TASKS, toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.data.toy_prompts import SCORES, SENTINELS, prompt_vocabulary


def test_the_words_of_prompts_come_on_top_of_the_language() -> None:
    known = prompt_vocabulary()
    assert set(vocabulary()) < set(known)
    assert len(set(known)) == len(known)
    assert list(known) == sorted(known)
    assert {"question", "context", ":", "summarize", "unanswerable", "0.0", "5.0"} <= set(known)
    assert not set(SENTINELS) & set(known)
    assert len(SCORES) == 51


def test_every_word_of_every_task_is_known() -> None:
    known = set(prompt_vocabulary())
    for task in TOY_TASKS.values():
        assert set(task.labels) <= known
    for name in ("summary", "instruction"):
        for row in toy_rows(name)["train"]:
            texts = [value for value in row.values() if isinstance(value, str)]
            assert {word for text in texts for word in text.split()} <= known
