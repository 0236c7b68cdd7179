"""The nouns of captions, and what is meant by the same word."""

import pytest

from seem.training.nouns import noun_stem, nouns_of


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("A man riding a wave on top of a surfboard.", ("man", "wave", "surfboard")),
        (
            "Two People wait at the traffic light, near a dining table!",
            ("people", "traffic light", "dining table"),
        ),
        ("The man's dogs chase the dog of a man", ("man", "dogs", "dog")),
        ("a girl in an orange shirt stands next to teddy bears", ("girl", "shirt", "teddy bears")),
        ("They can fly very well.", ()),
        ("", ()),
    ],
)
def test_nouns_are_heard(caption, nouns):
    assert nouns_of(caption) == nouns


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("cat", "cats"), ("glass", "glasses"), ("bus", "Buses"), ("house", "houses"), ("bench", "benches"),
        ("box", "boxes"), ("baby", "babies"), ("cookie", "cookies"), ("monkey", "monkeys"), ("sky", "skies"),
        ("tomato", "tomatoes"), ("shoe", "shoes"), ("canoe", "canoes"), ("knife", "knives"), ("giraffe", "giraffes"),
        ("leaf", "leaves"), ("man", "men"), ("Person", "people"), ("traffic light", "traffic lights"), ("boy", "boys"),
        ("skis", "ski"), ("A man and a dog.", "a man and a dog."),
    ],
)  # fmt: skip
def test_plurals_mean_the_same(one, many):
    assert noun_stem(one) == noun_stem(many)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cap", "cape"),
        ("pan", "plane"),
        ("glass", "grass"),
        ("man", "woman"),
        ("cat", "cattle"),
        ("light", "a light"),
    ],
)
def test_other_words_mean_something_else(one, other):
    assert noun_stem(one) != noun_stem(other)
