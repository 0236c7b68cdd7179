"""Directions of words, and a tower that learns to say them."""

import numpy as np
import pytest
import torch

from seem.config import TextConfig
from seem.models.segmenter import unit_vectors
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes.words import KIND_WORDS, KINDS, Lexicon, directions, parse, teach_words
from seem.training.phrases import PhraseTokenizer
from seem.vocabulary import Vocabulary

LEXICON = Lexicon.draw(64)
BOOK = PhraseTokenizer(BytePairTokenizer.nano())


def cosine(one, other):
    return float(LEXICON.nouns[one] @ LEXICON.nouns[other])


def test_lines_go_on_after_a_comma():
    assert parse("\n  dog = puppy, hound,\n   terrier\n  cat = kitten\n") == {
        "dog": ("puppy", "hound", "terrier"),
        "cat": ("kitten",),
    }


def test_every_word_means_one_thing():
    names = [name for lines in KINDS.values() for name in parse(lines)]
    assert len(names) == len(set(names))
    others = [word for lines in KINDS.values() for words in parse(lines).values() for word in words]
    said = [*names, *others, *(word for words in KIND_WORDS.values() for word in words)]
    assert sorted({word for word in said if said.count(word) > 1}) == []


def test_all_categories_of_coco_are_known():
    assert {
        name for name in Vocabulary.coco_panoptic().phrases if name not in LEXICON.nouns
    } == set()


def test_synonyms_are_one_and_kin_are_alike():
    assert cosine("dog", "puppy") == pytest.approx(1.0, abs=1e-5)
    assert cosine("dog", "cat") > 0.25
    assert abs(cosine("dog", "car")) < 0.25
    assert cosine("animal", "dog") > cosine("animal", "car") + 0.3


def test_directions_are_apart_and_come_from_the_seed():
    vectors = directions(80, 48, 3)
    likeness = vectors @ vectors.T - torch.eye(80)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(80))
    assert likeness.max() < 0.45
    assert torch.equal(vectors, directions(80, 48, 3))
    assert not torch.equal(vectors, directions(80, 48, 4))


def test_a_phrase_means_mostly_its_noun():
    rng = np.random.default_rng(0)
    for _ in range(200):
        text, vector = LEXICON.phrase(rng)
        nearest = max(LEXICON.nouns, key=lambda noun: float(LEXICON.nouns[noun] @ vector))
        meant = [
            noun
            for noun in LEXICON.nouns
            if torch.equal(LEXICON.nouns[noun], LEXICON.nouns[nearest])
        ]
        assert any(noun in text for noun in meant), (text, nearest)


def test_a_tower_learns_to_say_them():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = TextEncoder(TextConfig("nano", 4096, 32, 64, 1, 2, 128, word_shortcut=True), 64)
    names = list(LEXICON.names)
    anchors = torch.stack([LEXICON.nouns[name] for name in names])

    def right():
        with torch.no_grad():
            said = unit_vectors(tower(*BOOK(names)).phrases)
        return float((said @ anchors.T).argmax(dim=1).eq(torch.arange(len(names))).float().mean())

    scale = tower.logit_scale.clone()
    before = right()
    losses = teach_words(tower, BOOK, LEXICON, steps=100, batch=16)
    assert losses[-1] < 0.7 * losses[0]
    assert right() > before + 0.05
    assert torch.equal(tower.logit_scale, scale)
