"""The words of the embedded toy language, as plain data. Every word belongs to exactly one list.

Polar words come as weak and strong ones: strength 1 and 2 on a scale whose sign is the sentiment.
"""

from collections.abc import Mapping
from types import MappingProxyType


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WEAK_POSITIVE = _words(
    "agreeable amiable bright calm careful clean clear clever cosy crisp decent fair fine fresh "
    "friendly funny gentle good graceful handy honest kind lively neat nice orderly patient "
    "pleasant polite quick reliable sensible sharp smart smooth solid sound sturdy sweet swift "
    "tasteful thoughtful tidy useful warm wise witty worthy lucid nimble genial steady hearty "
    "mellow deft earnest sunny jolly snug candid brisk able apt merry balanced"
)
STRONG_POSITIVE = _words(
    "amazing astonishing beautiful breathtaking brilliant captivating charming dazzling "
    "delicious delightful enchanting excellent exquisite fabulous fantastic flawless glorious "
    "gorgeous gripping heavenly incredible lovely magical magnificent majestic marvelous "
    "masterful memorable outstanding perfect phenomenal radiant remarkable sensational "
    "spectacular splendid stellar stunning sublime superb terrific thrilling touching "
    "triumphant unforgettable wonderful wondrous luminous"
)
WEAK_NEGATIVE = _words(
    "awkward bland bleak boring bumpy careless clumsy cold confusing cramped damp dim dirty "
    "dreary drab dry dull dusty faulty feeble flat flimsy foggy forgettable gloomy grim grumpy "
    "harsh hollow lame lazy limp loud messy murky muddled noisy odd plain poor rough rude "
    "shabby shaky shallow silly slow sloppy sluggish sour stale stiff tame tasteless tedious "
    "thin tired trite uneven vague weak weary wobbly wooden"
)
STRONG_NEGATIVE = _words(
    "abysmal appalling atrocious awful broken catastrophic cruel deplorable disastrous "
    "disgraceful disgusting dismal dreadful filthy frightful ghastly grotesque hideous hopeless "
    "horrible horrid horrific insufferable insulting joyless lousy miserable nasty nauseating "
    "painful pathetic pitiful putrid repulsive revolting rotten shameful sickening terrible "
    "toxic ugly unbearable useless vile vulgar worthless wretched abominable"
)
POSITIVE_VERBS = _words(
    "admired adored appreciated cherished enjoyed liked loved praised savored treasured"
)
NEGATIVE_VERBS = _words(
    "despised detested disliked dreaded hated loathed mocked regretted resented scorned"
)
STRONG_VERBS = frozenset(_words("adored cherished loved treasured despised detested hated loathed"))
"""These count 2; the other verbs of feeling count 1."""

POSITIVE_VERDICTS = _words(
    "bargain blessing delight gem jewel joy marvel masterpiece pleasure success treat triumph"
)
NEGATIVE_VERDICTS = _words(
    "blunder bore disaster failure fiasco flop insult letdown mess mistake nightmare waste"
)
"""A verdict closes a text of the unlabelled corpus; no labelled row holds one."""

INTENSIFIERS: Mapping[str, float] = MappingProxyType(
    {
        "slightly": 0.5,
        "somewhat": 0.5,
        "rather": 1.0,
        "quite": 1.0,
        "really": 1.5,
        "very": 1.5,
        "truly": 1.5,
        "extremely": 2.0,
        "incredibly": 2.0,
        "utterly": 2.0,
    }
)
NEGATORS = ("not", "never", "hardly")
VERB_NEGATORS = ("never", "hardly")

LATER_WINS = ("but", "yet", "however")
"""``A but B``: what B says counts."""
FIRST_LOSES = ("although", "though", "while")
"""``although A , B`` and ``B although A``: what B says counts."""

TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "film": _words(
            "film plot acting scene script director ending cast dialogue hero camera comedy drama "
            "sequel"
        ),
        "food": _words(
            "meal soup bread sauce dessert menu chef waiter salad cheese coffee "
            "kitchen breakfast pasta"
        ),
        "hotel": _words(
            "hotel room bed lobby pool view garden balcony bathroom towel elevator "
            "porter suite terrace"
        ),
        "book": _words(
            "book story chapter author style character preface cover poem novel prose theme essay "
            "preview"
        ),
        "phone": _words(
            "phone screen battery keyboard speaker charger button software manual "
            "case cable update "
            "signal"
        ),
        "music": _words(
            "song album singer melody rhythm concert band drummer chorus guitar "
            "stage violin tune solo"
        ),
        "trip": _words(
            "trip flight train guide tour museum beach driver ferry map market "
            "castle harbor village"
        ),
    }
)
NAMES = _words(
    "anna ben carla david ella frank greta hugo iris jonas karen leo maria nina oscar paula "
    "quentin rosa simon tessa"
)
PLACES = _words("office station library theater school airport bakery park bridge river")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
NEUTRAL_VERBS = _words("visited passed left reached entered crossed")
HANDLING_VERBS = _words("bought found chose mentioned noticed discussed ordered saw")
HOPES = _words("expected hoped feared wanted")
"""``NAME expected the NOUN to be ADJECTIVE`` says nothing about how it was."""

FUNCTION_WORDS = _words("the a was it we and unlike which to be on in short one thought , .")
