"""The word lists."""

from apt_core.data import toy_words as words
from apt_core.data.toy_corpus import vocabulary


def test_a_word_belongs_to_one_list() -> None:
    lists = [words.WEAK_POSITIVE, words.STRONG_POSITIVE, words.WEAK_NEGATIVE]
    lists += [words.STRONG_NEGATIVE, words.POSITIVE_VERBS, words.NEGATIVE_VERBS]
    lists += [words.POSITIVE_VERDICTS, words.NEGATIVE_VERDICTS, tuple(words.INTENSIFIERS)]
    lists += [words.NEGATORS, words.LATER_WINS, words.FIRST_LOSES, words.HOPES, words.NAMES]
    lists += [words.PLACES, words.DAYS, words.NEUTRAL_VERBS, words.HANDLING_VERBS]
    lists += [words.FUNCTION_WORDS, *words.TOPICS.values()]
    everything = [word for group in lists for word in group]
    assert len(set(everything)) == len(everything)
    assert set(everything) == set(vocabulary())
