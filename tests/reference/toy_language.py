"""Oracle: reads a sentence of the toy language word by word and says what it is worth."""

from apt_core.data import toy_words as words

NEGATORS = {*words.NEGATORS, *words.VERB_NEGATORS}
SILENT = {*words.HOPES, "unlike"}


def strengths() -> dict[str, float]:
    """Every polar word of labelled texts with its value."""
    table: dict[str, float] = {}
    for group, strength in (
        (words.WEAK_POSITIVE, 1.0),
        (words.STRONG_POSITIVE, 2.0),
        (words.WEAK_NEGATIVE, -1.0),
        (words.STRONG_NEGATIVE, -2.0),
    ):
        table.update(dict.fromkeys(group, strength))
    for verbs, sign in ((words.POSITIVE_VERBS, 1.0), (words.NEGATIVE_VERBS, -1.0)):
        for verb in verbs:
            table[verb] = sign * (2.0 if verb in words.STRONG_VERBS else 1.0)
    return table


STRENGTHS = strengths()


def value_of(text: str) -> float:
    """Value of a text: the sum over its sentences."""
    return sum(sentence_value(part.split()) for part in text.removesuffix(" .").split(" . "))


def sentence_value(tokens: list[str]) -> float:
    """Value of one sentence: the winning side of a contrast, or the sum over "and"."""
    if tokens[0] in words.FIRST_LOSES:
        return clause_value(tokens[tokens.index(",") :])
    for index, token in enumerate(tokens):
        if token in words.LATER_WINS:
            return clause_value(tokens[index:])
        if token in words.FIRST_LOSES:
            return clause_value(tokens[:index])
        if token == "and":
            return clause_value(tokens[:index]) + clause_value(tokens[index:])
    return clause_value(tokens)


def clause_value(tokens: list[str]) -> float:
    """Value of one clause: its polar word, scaled by an intensifier, turned by a negator."""
    if SILENT & set(tokens):
        return 0.0
    polar = [STRENGTHS[token] for token in tokens if token in STRENGTHS]
    if not polar:
        return 0.0
    (value,) = polar
    for token in tokens:
        value *= words.INTENSIFIERS.get(token, 1.0)
        value *= -0.5 if token in NEGATORS else 1.0
    return value
