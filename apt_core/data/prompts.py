"""Prompts of generative models: templates, and what of a rendered prompt may be cut. Stdlib only.

A template holds ``{column}`` for the text columns. A prompt that is too long loses tokens of its
values, never of the words of the template: "### Response:" must stay.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
SEPARATOR = "\n"
"""Between prompt and target of a causal model."""
UNANSWERABLE = "unanswerable"
"""Target of a question whose answer is not in the context."""

_PAIR = 2
_ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{%s}\n\n### Input:\n{%s}\n\n### Response:"
)
_ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{%s}\n\n### Response:"
)


def default_prompt(kind: str, name: str, text_columns: Sequence[str]) -> str:
    """The template of a task that brings none.

    Args:
        kind: Kind of the task.
        name: Name of the dataset; T5 was trained with it in front of classification tasks.
        text_columns: The columns that are read.

    Returns:
        For classification and regression ``NAME column: {column} ...``, for qa ``question: {..}
        context: {..}``, for summarization ``summarize: {..}``, for instruction that of Alpaca.
    """
    columns = tuple(text_columns)
    if kind == "qa":
        return f"question: {{{columns[0]}}} context: {{{columns[-1]}}}"
    if kind == "summarization":
        return "summarize: " + " ".join(f"{{{column}}}" for column in columns)
    if kind == "instruction":
        return _ALPACA_WITH_INPUT % columns if len(columns) == _PAIR else _ALPACA % columns
    words = [name] if name else []
    return " ".join([*words, *(f"{column}: {{{column}}}" for column in columns)])


def template_of(kind: str, name: str, row: Mapping[str, str], prompt: str | None) -> str:
    """The template for one row.

    Args:
        kind: Kind of the task.
        name: Name of the dataset.
        row: Text column -> text, in the order of the columns.
        prompt: The task's own template; None: the default of its kind.

    Returns:
        The template; for an instruction without input the shorter one of Alpaca.
    """
    if prompt is not None:
        return prompt
    columns = list(row)
    if kind == "instruction" and len(columns) == _PAIR and not row[columns[1]].strip():
        columns = columns[:1]
    return default_prompt(kind, name, columns)


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt."""

    text: str
    cuttable: tuple[tuple[int, int], ...]
    """Character spans that may be shortened from their ends, in the order in which they are."""


def render(template: str, row: Mapping[str, str], cut_first: str | None = None) -> Prompt:
    """Fill a template.

    Args:
        template: A text with ``{column}`` placeholders.
        row: Column -> text.
        cut_first: Column that is shortened first; after it, and without it, the longest.

    Returns:
        The prompt, with the places of the values.
    """
    text = ""
    spans: list[tuple[bool, int, int]] = []
    for piece, column in _pieces(template):
        text += piece
        if column is not None:
            start = len(text)
            text += row[column]
            spans.append((column == cut_first, start, len(text)))
    spans.sort(key=lambda span: (not span[0], span[1] - span[2]))
    return Prompt(text, tuple((start, stop) for _, start, stop in spans))


def _pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """Literal text and the column that follows it; no column after the last piece."""
    end = 0
    for match in PLACEHOLDER.finditer(template):
        yield template[end : match.start()], match[1]
        end = match.end()
    yield template[end:], None


def kept_tokens(
    prompt: Prompt, offsets: Sequence[tuple[int, int]], max_tokens: int
) -> list[int] | None:
    """Which tokens of a prompt stay when it is too long.

    Args:
        prompt: The rendered prompt.
        offsets: Character span of every token, empty for special tokens.
        max_tokens: How many may stay.

    Returns:
        Their places in rising order, at most `max_tokens`; None when the words of the template
        alone are more than that.
    """
    excess = len(offsets) - max_tokens
    dropped: set[int] = set()
    for start, stop in prompt.cuttable:
        if excess <= 0:
            break
        inside = [i for i, (s, e) in enumerate(offsets) if start <= s < e <= stop]
        dropped.update(inside[max(0, len(inside) - excess) :])
        excess -= min(excess, len(inside))
    if excess > 0:
        return None
    return [i for i in range(len(offsets)) if i not in dropped]
