"""Words that T5 and LLaMA read and write beyond the toy language: prompts, labels, answers.

The encoder's tokenizer knows none of them, so tasks for encoders hold none of them either.
"""

from apt_core.data.toy_corpus import vocabulary


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


INSTRUCTION_WORDS = _words(
    "name day place list all names say whether is good or bad repeat first last two three four "
    "words reverse count sentences second sentence"
)
"""Words of the instructions and outputs of the task ``instruction``; ``summary`` uses some too."""
LABEL_WORDS = _words(
    "negative positive entailment neutral contradiction unanswerable true false yes no maybe "
    "acceptable unacceptable equivalent not_equivalent duplicate not_duplicate not_entailment"
)
PROMPT_WORDS = _words(
    "question questions context answer answers summarize summary document text input output "
    "instruction response premise hypothesis sentiment label review topic score similarity task "
    "word title article following given below above that describes an paired with provides "
    "further write appropriately completes request complete the of for from in does do did has "
    "have how what who when where why this these are by as at its can if then there about between "
    "tell classify predict read choose option options sentence1 sentence2 question1 question2"
)
PUNCTUATION = _words("? ! : ; ( ) [ ] { } ' \" - / = ### ## # --- ... ''")
DIGITS = tuple("0123456789")
SCORES = tuple(f"{tenths // 10}.{tenths % 10}" for tenths in range(51))
"""Scores of a regression task with one decimal, each one word: 0.0 to 5.0."""
SENTINELS = tuple(f"<extra_id_{index}>" for index in range(16))
"""Stand for the spans that T5's pretraining cuts out of a text."""


def prompt_vocabulary() -> tuple[str, ...]:
    """The language and the words of prompts, sorted: what T5 and LLaMA know."""
    more = (INSTRUCTION_WORDS, LABEL_WORDS, PROMPT_WORDS, PUNCTUATION, DIGITS, SCORES)
    return tuple(sorted({*vocabulary(), *(word for group in more for word in group)}))
