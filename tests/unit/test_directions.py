"""Directions of words from a small tree of hypernyms."""

import numpy as np
import pytest
import torch

from seem.recipes.directions import build_nouns, plural_of, sense_scores, spread
from seem.recipes.senses import (
    ClassSense,
    SenseTable,
    parse_classes,
    parse_kinds,
    parse_pairs,
    shipped_table,
)
from seem.recipes.wordnet import Sense, Synset
from seem.vocabulary import Vocabulary
from tiny_words import NOUNS, NUMBERS, TABLE, TREE, make_wordnet, synset


def cosine(one, other):
    return float(NOUNS[one] @ NOUNS[other])


def test_all_words_have_directions_of_length_1():
    assert torch.allclose(NOUNS.vectors.norm(dim=1), torch.ones(len(NOUNS.words)))
    assert set(NOUNS.words) >= {
        *TREE,
        "sofa",
        "lounge",
        "mouse",
        "gloves",
        "hot dog",
        "wiener",
        "small beagle",
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("couch", "sofa"),
        ("sofa", "lounge"),
        ("gloves", "glove"),
        ("hot dog", "wiener"),
        ("beagle", "small beagle"),
    ],
)
def test_words_of_one_meaning_share_a_direction(one, other):
    assert cosine(one, other) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("word", ["hound", "beagle", "basset"])
def test_what_is_below_a_class_is_near_it(word):
    assert cosine(word, "dog") > 0.8
    assert cosine(word, "dog") > cosine(word, "cat") + 0.3


def test_classes_are_apart_and_kin_is_nearer():
    assert 0.2 < cosine("dog", "cat") < 0.6
    assert abs(cosine("dog", "couch")) < 0.3


def test_siblings_below_a_class_are_told_apart():
    assert cosine("beagle", "basset") < 0.97


def test_what_is_above_classes_is_between_them():
    assert 0.4 < cosine("animal", "dog") < 0.9
    assert cosine("animal", "dog") > cosine("animal", "couch") + 0.2


def test_further_hypernyms_count():
    assert cosine("kitten", "cat") > 0.7


def test_a_class_name_means_the_sense_of_the_table():
    assert cosine("mouse", "mouse device") == pytest.approx(1.0, abs=1e-5)
    assert abs(cosine("mouse", "mouse animal")) < 0.3


def test_a_compound_of_its_own_is_not_its_last_word():
    assert abs(cosine("hot dog", "dog")) < 0.3
    assert cosine("hot dog", "sausage") > 0.3


def test_the_commonest_sense_counts_most():
    assert cosine("hunter", "cat") > 0.95


def test_visible_and_class_words_matter_more():
    weight = dict(zip(NOUNS.words, NOUNS.weights.tolist(), strict=True))
    assert weight["dog"] > weight["hound"] > weight["idea"]


def test_directions_come_from_the_seed():
    assert torch.equal(NOUNS.vectors, build_nouns(make_wordnet(), 64, table=TABLE).vectors)
    assert not torch.equal(
        NOUNS.vectors, build_nouns(make_wordnet(), 64, seed=1, table=TABLE).vectors
    )


def test_an_unknown_class_is_refused():
    table = SenseTable({"sofa bed": ClassSense(is_open=True)}, {}, {}, (), {})
    with pytest.raises(ValueError, match="does not know the class 'sofa bed'"):
        build_nouns(make_wordnet(), 64, table=table)


def test_individuals_are_never_meant():
    individual = Synset(99, "animal", ("Rex",), (NUMBERS["dog"],), True)
    assert sense_scores([Sense(individual, 5)]).tolist() == [0.0]


def test_a_photo_shows_animals_rather_than_thoughts():
    scores = sense_scores([Sense(synset("idea"), 10), Sense(synset("dog"), 1)])
    assert np.argmax(scores) == 1


def test_spread_vectors_are_apart():
    vectors = spread(80, 48, 3)
    assert (vectors @ vectors.T - torch.eye(80)).max() < 0.45


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("dog", "dogs"), ("hot dog", "hot dogs"), ("box", "boxes"), ("glass", "glasses"), ("scissors", "scissors"),
        ("pony", "ponies"), ("toy", "toys"), ("mouse", "mice"), ("church", "churches"),
    ],
)  # fmt: skip
def test_plurals(word, plural):
    assert plural_of(word, {"mouse": ("mice",)}) == plural


def test_tables_are_read():
    assert parse_classes("bag = bag#1, bag#4\nstop sign < street sign\nship = ship < boat#1\n") == {
        "bag": ClassSense(("bag#1", "bag#4")),
        "stop sign": ClassSense((), ("street sign",)),
        "ship": ClassSense(("ship",), ("boat#1",)),
    }
    assert parse_kinds("animal: 0.3 ; food#2: 0.15\nroom: 0.1\n") == {
        "animal": 0.3,
        "food#2": 0.15,
        "room": 0.1,
    }
    assert parse_pairs("kitten < cat ; lawn < grass\n") == (("kitten", "cat"), ("lawn", "grass"))


def test_the_shipped_table_names_all_classes_once():
    table = shipped_table()
    others = {word for words in table.words.values() for word in words}
    coco = set(Vocabulary.coco_panoptic().phrases)
    assert coco <= table.classes.keys() | others
    assert len(table.fine) == 1000
    assert table.words.keys() <= table.classes.keys()
    assert not others & table.classes.keys()
