"""The published rules of SQuAD v2 scoring and span search, written out slowly a second time."""

import string


def words_of(text: str) -> list[str]:
    """Words after: lower case; punctuation gone; stand-alone a, an, the gone.

    An article stands alone where it is a whole run of word characters (letters, digits,
    underscore), so that "a" in "a-b", which becomes "ab", does not.
    """
    kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
    runs: list[str] = []
    for character in kept:
        in_word = character.isalnum() or character == "_"
        if runs and in_word and (runs[-1][-1].isalnum() or runs[-1][-1] == "_"):
            runs[-1] += character
        else:
            runs.append(character)
    return "".join(" " if run in {"a", "an", "the"} else run for run in runs).split()


def scores(answer: str, golds: list[str]) -> tuple[float, float]:
    """Exact match and F1 of one question."""
    accepted = [words for words in map(words_of, golds) if words]
    given = words_of(answer)
    if not accepted:
        right = 1.0 if not given else 0.0
        return right, right
    exact = max(1.0 if given == words else 0.0 for words in accepted)
    return exact, max(_f1(given, words) for words in accepted)


def _f1(given: list[str], wanted: list[str]) -> float:
    rest = list(wanted)
    shared = 0
    for word in given:
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / (len(given) + len(wanted)) if given else 0.0


def best_span(windows, context: str, max_length: int, num_best: int) -> tuple[str, float]:
    """Text and null margin by trying all pairs; `windows` holds (start, end, spans) triples."""
    best_score, best_text, null = float("-inf"), "", float("inf")
    for start, end, spans in windows:
        null = min(null, start[0] + end[0])
        starts = sorted(range(len(spans)), key=lambda i: start[i])[-num_best:]
        ends = sorted(range(len(spans)), key=lambda i: end[i])[-num_best:]
        for i in range(len(spans)):
            for j in range(len(spans)):
                allowed = i in starts and j in ends and i <= j <= i + max_length - 1
                inside = spans[i][0] != -1 and spans[j][0] != -1
                if allowed and inside and start[i] + end[j] > best_score:
                    best_score = start[i] + end[j]
                    best_text = context[spans[i][0] : spans[j][1]]
    return best_text, null - best_score
