"""The nouns of a caption, found in word lists that ship with the package.

X-Decoder (arXiv 2212.11270) trains its regions on the nouns of captions. Known differences: the official code finds
them with a part-of-speech tagger and compares them by Lancaster stems (both of nltk); its tagger must be downloaded, so
here a noun is a name of a shipped class list or an everyday word, names of several words stay together, nouns outside
these lists are not found, and only plurals are stemmed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
"""Frequent nouns of COCO's captions that no other list has."""

SELDOM_NOUNS = """
aerial can cover cross fly hold individual lift orange post saw stand step swing watch well
"""
"""Words of the lists that are seldom nouns in a caption."""

MAX_WORDS = 3  # of a noun
WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
IRREGULAR_PLURALS = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "people": "person",
    "teeth": "tooth", "women": "woman",
}  # fmt: skip
PLURAL_ENDINGS = (
    (re.compile(r"(ss|sh|ch|x|[^o]us)es$"), r"\1"),  # glasses, buses, but houses
    (re.compile(r"(?<=...)(?<![su])s$"), ""),  # cats, but his and glass
    (re.compile(r"y$"), "ie"),  # babies and cookies
    (re.compile(r"(?<=...)oe$"), "o"),  # potatoes
    (re.compile(r"fe?$"), "ve"),  # knives
)


def nouns_of(caption: str) -> tuple[str, ...]:
    """Return the nouns of a caption as they are written there, in lower case, each once; longer names first."""
    words = WORD.findall(caption.lower())
    nouns: dict[str, None] = {}
    first = 0
    while first < len(words):
        noun = _longest_noun(words[first : first + MAX_WORDS])
        if noun is None:
            first += 1
        else:
            nouns[noun] = None
            first += noun.count(" ") + 1
    return tuple(nouns)


def _longest_noun(words: Sequence[str]) -> str | None:
    """Return the longest noun that words begin with; None if there is none."""
    for length in range(len(words), 0, -1):
        noun = " ".join(words[:length])
        if noun_stem(noun) in noun_stems():
            return noun
    return None


def noun_stem(text: str) -> str:
    """Return a key that is equal for texts which differ only in case or in a plural's ending; not always a word."""
    before, space, last = text.lower().rpartition(" ")
    last = IRREGULAR_PLURALS.get(last, last)
    for ending, replacement in PLURAL_ENDINGS:
        last = ending.sub(replacement, last)
    return before + space + last


@cache
def noun_stems() -> frozenset[str]:
    """Return the stems of all nouns in the word lists."""
    names = {*EVERYDAY_NOUNS.split(), *FURTHER_NOUNS.split()}
    for list_name in CLASS_LISTS:
        for category in class_list(list_name):
            names.add(category.text)
            names.update(category.name.split(", "))  # ADE20K's names list synonyms
    seldom = {noun_stem(noun) for noun in SELDOM_NOUNS.split()}
    return frozenset(noun_stem(name) for name in names) - seldom
