"""A small tree of hypernyms and the directions of its words."""

from seem.recipes.directions import build_nouns
from seem.recipes.senses import ClassSense, SenseTable
from seem.recipes.wordnet import Sense, Synset, WordNet

TREE = {  # word: lexicographer file, hypernyms
    "thing": ("tops", ()),
    "animal": ("animal", ("thing",)),
    "carnivore": ("animal", ("animal",)),
    "dog": ("animal", ("carnivore",)),
    "cat": ("animal", ("carnivore",)),
    "hound": ("animal", ("dog",)),
    "beagle": ("animal", ("hound",)),
    "basset": ("animal", ("hound",)),
    "kitten": ("animal", ("animal",)),
    "rodent": ("animal", ("animal",)),
    "furniture": ("artifact", ("thing",)),
    "couch": ("artifact", ("furniture",)),
    "mouse animal": ("animal", ("rodent",)),
    "mouse device": ("artifact", ("thing",)),
    "sausage": ("food", ("thing",)),
    "abstraction": ("tops", ("thing",)),
    "idea": ("cognition", ("abstraction",)),
    "glove": ("artifact", ("thing",)),
}
NUMBERS = {word: number for number, word in enumerate(TREE, 1)}
SYNONYMS = {"couch": ("sofa", "lounge")}
TABLE = SenseTable(
    classes={
        **{name: ClassSense(is_open=True) for name in ("dog", "cat", "couch")},
        "gloves": ClassSense(("glove",)),
        "mouse": ClassSense(("mouse#2",)),
        "hot dog": ClassSense((), ("sausage",)),
    },
    fine={"small beagle": f"n{NUMBERS['beagle']:08d}"},
    kinds={"animal": 0.3},
    also=(("kitten", "cat"),),
    words={"hot dog": ("wiener",)},
)


def synset(word):
    lexname, parents = TREE[word]
    words = (word, *SYNONYMS.get(word, ()))
    return Synset(
        NUMBERS[word], lexname, words, tuple(NUMBERS[parent] for parent in parents), False
    )


def make_wordnet():
    synsets = {NUMBERS[word]: synset(word) for word in TREE}
    senses = {word: (Sense(synset(word), 0),) for word in TREE}
    senses |= {
        other: (Sense(synset(word), 0),) for word, others in SYNONYMS.items() for other in others
    }
    senses["mouse"] = (Sense(synset("mouse animal"), 14), Sense(synset("mouse device"), 0))
    senses["hunter"] = (Sense(synset("cat"), 9), Sense(synset("dog"), 0))
    return WordNet("3.0", synsets, senses, {"mouse": ("mice",)})


NOUNS = build_nouns(make_wordnet(), 64, table=TABLE)
