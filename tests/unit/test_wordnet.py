"""WordNet's nouns are read from its database files."""

import pytest

from seem.errors import SeemError
from seem.recipes.wordnet import WordNet, find_folder

LICENSE = "  1 WordNet 3.0 Copyright 2006 by nobody\n  2 Free.\n"
DATA = """\
00000100 03 n 01 thing 0 001 ~ 00000200 n 0000 | what there is
00000200 05 n 02 dog 0 domestic_dog 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | barks; "the dog barked"
00000300 05 n 01 beagle 0 001 @ 00000200 n 0000 | a small dog
00000400 18 n 01 Rex 0 001 @i 00000200 n 0000 | a dog of this name
00000500 13 n 01 dog 1 001 @ 00000100 n 0000 | a sausage
"""
INDEX = """\
thing n 1 1 ~ 1 0 00000100
dog n 2 2 @ ~ 2 1 00000200 00000500
domestic_dog n 1 1 @ 1 0 00000200
beagle n 1 1 @ 1 0 00000300
rex n 1 1 @ 1 0 00000400
"""
COUNTS = "dog%1:05:00:: 1 42\ndog%2:38:00:: 1 3\n"
PLURALS = "oxen ox\nmice mouse\n"


@pytest.fixture
def folder(tmp_path):
    texts = {
        "data.noun": LICENSE + DATA,
        "index.noun": LICENSE + INDEX,
        "cntlist.rev": COUNTS,
        "noun.exc": PLURALS,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def wordnet(folder):
    return WordNet.open(folder)


def test_synsets_have_words_hypernyms_and_the_numbers_of_imagenet(wordnet):
    dog = wordnet.synsets[200]
    assert dog.words == ("dog", "domestic dog")
    assert dog.parents == (100,)
    assert dog.lexname == "animal"
    assert dog.wnid == "n00000200"


def test_senses_are_ranked_and_counted(wordnet):
    first, second = wordnet.senses["dog"]
    assert (first.synset.number, first.count) == (200, 42)
    assert (second.synset.number, second.count) == (500, 0)
    assert wordnet.sense("dog#2").lexname == "food"


def test_individuals_are_told_from_classes(wordnet):
    assert wordnet.sense("rex").is_instance
    assert not wordnet.sense("beagle").is_instance


def test_every_synset_comes_after_its_hypernyms(wordnet):
    done = set()
    for synset in wordnet.top_down:
        assert done.issuperset(synset.parents)
        done.add(synset.number)
    assert len(done) == 5


def test_ancestors_are_all_that_a_synset_is_a_kind_of(wordnet):
    assert wordnet.ancestors(300) == {300, 200, 100}


def test_version_plurals_and_words_of_glosses_are_read(wordnet):
    assert wordnet.version == "3.0"
    assert wordnet.plurals == {"ox": ("oxen",), "mouse": ("mice",)}
    assert wordnet.gloss_counts["dog"] == 3


@pytest.mark.parametrize("name", ["cat", "beagle#2"])
def test_unknown_senses_are_named(wordnet, name):
    with pytest.raises(KeyError, match=name):
        wordnet.sense(name)


def test_a_missing_database_names_its_package(tmp_path):
    with pytest.raises(SeemError, match="apt-get install wordnet-base"):
        WordNet.open(tmp_path / "nowhere")


def test_the_environment_may_name_the_folder(folder, monkeypatch):
    monkeypatch.setenv("WNSEARCHDIR", str(folder))
    assert find_folder() == folder


def test_hypernyms_in_a_circle_are_refused(folder):
    circle = DATA.replace("thing 0 001 ~ 00000200", "thing 0 001 @ 00000300")
    (folder / "data.noun").write_text(LICENSE + circle, encoding="utf-8")
    with pytest.raises(ValueError, match="circle"):
        _ = WordNet.open(folder).top_down
