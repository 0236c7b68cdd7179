"""Metrics of words: retrieval, captions, and names of an open vocabulary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seem.evaluation.metrics.caption import CiderD, Tokenization, tokenize_caption
from seem.evaluation.metrics.open_vocabulary import LabelMode, OpenVocabulary
from seem.evaluation.metrics.panoptic import PanopticQuality
from seem.evaluation.metrics.retrieval import RECALL_AT, RetrievalRecall
from seem.evaluation.metrics.semantic import SemanticIou

SOME = settings(deadline=None, max_examples=40)

# --- Retrieval --------------------------------------------------------------------------------------------------------


def retrieval(photos):
    metric = RetrievalRecall()
    for photo, captions in photos:
        metric.update(np.array(photo, float), np.array(captions, float))
    return metric


def random_photos(seed, count):
    """Vectors of small whole numbers, so that products are exact and ties happen."""
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(-3, 4, 4), rng.integers(-3, 4, (int(rng.integers(1, 4)), 4)))
        for _ in range(count)
    ]


@SOME
@given(st.integers(0, 10_000), st.integers(1, 25), st.randoms())
def test_recall_is_that_of_a_sorted_list(seed, count, random):
    photos = random_photos(seed, count)
    result = retrieval(random.sample(photos, count)).compute()
    owned = [(owner, caption) for owner, (_, captions) in enumerate(photos) for caption in captions]

    def found(scores, k):
        """Scores of (fit, is own); among equal ones the wrong come first."""
        return any(own for _, own in sorted(scores, key=lambda row: (-row[0], row[1]))[:k])

    for k in RECALL_AT:
        text = [
            found([(photo @ c, o == p) for o, c in owned], k) for p, (photo, _) in enumerate(photos)
        ]
        image = [
            found([(photo @ c, o == p) for p, (photo, _) in enumerate(photos)], k) for o, c in owned
        ]
        assert result.text[k] == pytest.approx(100 * np.mean(text))
        assert result.image[k] == pytest.approx(100 * np.mean(image))
    assert (result.photos, result.captions) == (count, len(owned))


def test_photos_that_fit_their_captions_are_found():
    result = retrieval([(row, [row, row]) for row in np.eye(6)]).compute()
    assert (result.text, result.image) == (
        dict.fromkeys(RECALL_AT, 100),
        dict.fromkeys(RECALL_AT, 100),
    )


def test_a_model_that_tells_nothing_apart_finds_nothing_first():
    result = retrieval([([1, 0], [[1, 0]])] * 12).compute()
    assert (result.text, result.image) == ({1: 0, 5: 0, 10: 0}, {1: 0, 5: 0, 10: 0})


def test_nothing_to_retrieve_has_no_recall():
    result = RetrievalRecall().compute()
    assert (result.photos, result.captions) == (0, 0)
    assert math.isnan(result.text[1])


@pytest.mark.parametrize(
    ("captions", "match"), [(np.zeros((0, 2)), "without any caption"), ([[math.nan, 1]], "NaN")]
)
def test_what_cannot_be_ranked_is_refused(captions, match):
    with pytest.raises(ValueError, match=match):
        RetrievalRecall().update(np.ones(2), np.array(captions))


# --- Captions ---------------------------------------------------------------------------------------------------------

PHOTOS = [
    ("a cat on a mat", ["a cat sits on a mat", "the cat on the mat"]),
    ("two dogs play", ["two dogs play in the snow", "dogs in snow"]),
    ("a red bus", ["a bus in a street"]),
]


def cider(photos, words=Tokenization.GIVEN):
    metric = CiderD(words)
    for told, references in photos:
        metric.update(told, references)
    return metric


def test_the_formula_by_hand():
    """Rarity of a word in one of two photos is ln 2; "cat" is in both and weighs nothing."""
    result = cider([("cat runs", ["cat runs"]), ("cat", ["cat sleeps"])]).compute()
    first = (1 + 1 + 0 + 0) / 4  # one word and one pair agree; there are no longer runs
    assert result.cider_d == pytest.approx(100 * 10 * first / 2)


def test_a_longer_caption_pays_for_its_length():
    told, same = "cat runs fast here", "cat runs fast here"
    others = [("x", ["y z"])]
    whole = cider([(told, [same]), *others]).compute().cider_d
    longer = cider([(f"{told} x", [same]), *others]).compute().cider_d
    unpaid = 0.0
    for length in range(1, 5):
        mine, theirs = 6 - length, 5 - length  # runs of so many words, all of one weight
        unpaid += theirs / math.sqrt(mine * theirs) / 4
    assert longer / whole == pytest.approx(unpaid * math.exp(-1 / 72))


def test_captions_that_repeat_a_reference_score_most():
    alone = [(told, references[:1]) for told, references in PHOTOS]
    repeated = [(references[0], references) for _, references in alone]
    assert cider(repeated).compute().cider_d == pytest.approx(1000)
    assert cider(alone).compute().cider_d < 1000


@SOME
@given(st.permutations(PHOTOS))
def test_the_order_of_photos_does_not_matter(photos):
    assert cider(photos).compute() == cider(PHOTOS).compute()


def test_the_result_says_which_words_were_counted():
    assert (
        "not by the Stanford tokenizer"
        in cider(PHOTOS, Tokenization.BUILT_IN).compute().words.value
    )
    assert cider(PHOTOS).compute().words is Tokenization.GIVEN
    with pytest.raises(ValueError, match="do not go with"):
        cider(PHOTOS).merge(CiderD(Tokenization.BUILT_IN))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "A man riding a wave, on top of a surfboard.",
            "a man riding a wave on top of a surfboard",
        ),
        ('The sign says "STOP"!', "the sign says stop"),
        ("A dog's bowl isn't full; it’s empty...", "a dog 's bowl is n't full it 's empty"),
        (
            "Black-and-white photo - 2 cats & 1,000 birds",
            "black-and-white photo 2 cats & 1,000 birds",
        ),
        ("", ""),
    ],
)
def test_words_are_split_without_punctuation(text, words):
    assert tokenize_caption(text) == words.split()


def test_a_caption_needs_a_list_of_references():
    for references in ([], "a cat"):
        with pytest.raises(ValueError, match="list of at least one reference"):
            CiderD().update("a cat", references)


def test_no_captions_have_no_mean():
    assert math.isnan(CiderD().compute().cider_d)


# --- Open vocabulary --------------------------------------------------------------------------------------------------


def test_an_oracle_asks_only_for_what_is_there():
    names = ("wall", "tree", "car")
    assert LabelMode.FULL.candidates(names, ["car"]) == names
    assert LabelMode.ORACLE.candidates(names, ["car", "wall"]) == ("wall", "car")
    with pytest.raises(ValueError, match="'boat'"):
        LabelMode.ORACLE.candidates(names, ["boat"])


def test_scores_carry_their_mode():
    metric = OpenVocabulary(LabelMode.ORACLE, SemanticIou(2))
    metric.update(np.array([[0, 1]]), np.array([[0, 0]]))
    result = metric.compute()
    assert (result.mode, result.scores.mean_iou) == (LabelMode.ORACLE, 25)
    metric.reset()
    assert (metric.compute().mode, metric.compute().scores.photos) == (LabelMode.ORACLE, 0)


def test_modes_and_metrics_do_not_mix():
    metric = OpenVocabulary(LabelMode.ORACLE, SemanticIou(2))
    with pytest.raises(ValueError, match="modes 'oracle' and 'full label set' cannot be merged"):
        metric.merge(OpenVocabulary(LabelMode.FULL, SemanticIou(2)))
    with pytest.raises(ValueError, match="SemanticIou and PanopticQuality"):
        metric.merge(OpenVocabulary(LabelMode.ORACLE, PanopticQuality({})))
