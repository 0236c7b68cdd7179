"""What the captions of photos speak of: the nouns of a sentence, found in word lists that ship with the package.

X-Decoder (arXiv 2212.11270) trains its regions on the nouns of captions. Known differences: the official code finds
them with a part-of-speech tagger and compares them by Lancaster stems (both of nltk); its tagger must be downloaded, so
here a noun is a name of a shipped class list or an everyday word, names of several words stay together, nouns outside
these lists are not heard, and only plurals are stemmed.
"""

from __future__ import annotations

import re
from functools import cache

from seem.data.classes import CLASS_LISTS, class_list
from seem.training.vocabulary import EVERYDAY_NOUNS

FURTHER_NOUNS = """
air airliner apartment appliance area art backyard baker bandana beverage bicyclist birthday boarder breakfast bull
bunny business cab cattle cement city clothing comforter condiment construction controller costume couch country
customer day desktop dessert device dinner direction distance doorway doughnut dryer enclosure end event film flock
freeway freezer frosting furniture guard herd hillside home icing image item jewelry jetliner jockey kitty lap ledge
line locomotive lot luggage lunch meal mitt mound movie music night nintendo outfit owner park party pastry pasture
pathway pet photographer place platter president princess rain restroom roadway room sailor scene scenery selfie shade
shoreline silverware skatepark skateboarder slice smartphone snack space sport sprinkle stack steam stunt style subway
sunset surface team time toast toilette topping town trick utensil variety vegetable vehicle view walkway way weather
wedding wii windsurfer winter yard zoo
"""
"""What captions of COCO often speak of and no other list has."""

SELDOM_NOUNS = """
aerial can cover cross fly hold individual lift orange post saw stand step swing watch well
"""
"""Words of the lists that are mostly something else in a caption."""

LONGEST = 3  # words of a name that is looked for
WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
UNLIKE = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "people": "person",
    "teeth": "tooth", "women": "woman",
}  # fmt: skip
PLURALS = (
    (re.compile(r"(ss|sh|ch|x|[^o]us)es$"), r"\1"),  # glasses, buses, but houses
    (re.compile(r"(?<=...)(?<![su])s$"), ""),  # cats, but his and glass
    (re.compile(r"y$"), "ie"),  # babies and cookies
    (re.compile(r"(?<=...)oe$"), "o"),  # potatoes
    (re.compile(r"fe?$"), "ve"),  # knives
)


def nouns_of(caption: str) -> tuple[str, ...]:
    """Return the nouns of a sentence as they are written there, in small letters, each once."""
    words = WORD.findall(caption.lower())
    found: dict[str, None] = {}
    first = 0
    while first < len(words):
        for length in range(min(LONGEST, len(words) - first), 0, -1):
            noun = " ".join(words[first : first + length])
            if meaning(noun) in known():
                found[noun] = None
                break
        first += length
    return tuple(found)


def meaning(text: str) -> str:
    """Return what texts share that differ in small letters or in a plural's ending alone: a key, not a word."""
    before, gap, last = text.lower().rpartition(" ")
    last = UNLIKE.get(last, last)
    for ending, replacement in PLURALS:
        last = ending.sub(replacement, last)
    return before + gap + last


@cache
def known() -> frozenset[str]:
    """All nouns that are looked for, by their meanings."""
    names = {*EVERYDAY_NOUNS.split(), *FURTHER_NOUNS.split()}
    for category in (category for which in CLASS_LISTS for category in class_list(which)):
        names |= {category.text, *category.name.split(", ")}  # ADE20K's names list synonyms
    return frozenset(map(meaning, names)) - frozenset(map(meaning, SELDOM_NOUNS.split()))
