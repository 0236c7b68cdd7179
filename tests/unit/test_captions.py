"""What X-Decoder is charged for captions and retrieval: small tables whose price can be worked out by hand."""

from dataclasses import replace
from math import log

import pytest
import torch

from seem.training.captions import (
    CaptionPrediction,
    CaptionTargets,
    CaptionTerms,
    CaptionWeights,
    NounTargets,
    caption_terms,
    noun_loss,
)
from seem.training.losses import (
    contrastive_cross_entropy,
    image_word_cross_entropy,
    next_word_cross_entropy,
    region_text_cross_entropy,
)
from seem.training.matcher import Match

YES, NO = True, False
THREE = log(3)  # against 0: three quarters

# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("valid", "cost"),
    [
        ([YES, YES, YES], (log(4 / 3) + log(2)) / 3),
        ([YES, YES, NO], log(4 / 3) / 2),
        ([YES, NO, NO], 0.0),
        ([NO, NO, NO], 0.0),
    ],
    ids=["two words asked for", "one", "the start alone", "no caption"],
)
def test_every_word_asks_for_the_next(valid, cost):
    logits = torch.tensor([[[0.0, THREE], [0.0, 0.0], [50.0, -50.0]]])
    assert next_word_cross_entropy(
        logits, torch.tensor([[1, 1, 0]]), torch.tensor([valid])
    ).item() == (pytest.approx(cost))


def test_captions_of_all_photos_share_one_mean():
    logits = torch.tensor([[[0.0, THREE], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    ids, valid = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[YES, YES], [YES, YES]])
    assert next_word_cross_entropy(logits, ids, valid).item() == pytest.approx(
        (log(4 / 3) + log(2)) / 3
    )


# --- Whose caption it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("similarity", "cost"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], log(2)),
        ([[THREE, 0.0], [0.0, 0.0]], (log(4 / 3) + log(2)) / 2),
        ([[0.0, THREE], [0.0, 0.0]], (log(4) + log(2)) / 2),
        ([[0.0]], 0.0),
        ([], 0.0),
    ],
    ids=["nobody knows", "one pair known", "one pair mistaken", "a single pair", "none"],
)
def test_photos_and_captions_ask_for_each_other(similarity, cost):
    table = torch.tensor(similarity).reshape(len(similarity), len(similarity))
    assert contrastive_cross_entropy(table).item() == pytest.approx(cost)


def test_photos_ask_for_late_words_more_than_for_early_ones():
    """Captions of two words and of one: the photos want 1/3 and 2/3 of the first, and all of the second."""
    valid = torch.tensor([[YES, YES], [YES, NO]])
    nobody_knows = image_word_cross_entropy(torch.zeros(2, 3), valid)
    assert nobody_knows.item() == pytest.approx(
        0.7 * log(3) + 0.3 * (1 / 3 + 2 / 3 + 1) * log(2) / 3
    )
    similarity = torch.tensor([[log(2), 0.0, 0.0], [0.0, 0.0, 0.0]])
    photos = ((log(2) / 3 + 2 * log(4) / 3) + log(3)) / 2
    words = (log(3 / 2) / 3 + 2 * log(2) / 3 + log(2)) / 3
    for share in (1.0, 0.0, 0.7):
        cost = image_word_cross_entropy(similarity, valid, image_share=share)
        assert cost.item() == pytest.approx(share * photos + (1 - share) * words)


def test_no_captions_cost_nothing():
    assert (
        image_word_cross_entropy(torch.zeros(0, 0), torch.zeros(0, 4, dtype=torch.bool)).item() == 0
    )


@pytest.mark.parametrize("loss", ["words", "pairs", "words of photos", "meanings"])
def test_gradients_are_right(loss):
    valid = torch.tensor([[YES, YES, YES], [YES, YES, NO]])
    shapes = {"words": (2, 3, 4), "pairs": (3, 3), "words of photos": (2, 5), "meanings": (4, 3)}
    ask = {
        "words": lambda x: next_word_cross_entropy(x, torch.tensor([[0, 3, 1], [2, 1, 1]]), valid),
        "pairs": contrastive_cross_entropy,
        "words of photos": lambda x: image_word_cross_entropy(x, valid),
        "meanings": lambda x: region_text_cross_entropy(x, torch.tensor([2, 0, 1, 0])),
    }
    assert torch.autograd.gradcheck(
        ask[loss], torch.randn(shapes[loss], dtype=torch.float64, requires_grad=True)
    )


# --- What the nouns mean ----------------------------------------------------------------------------------------------


def rows(*numbers):
    return torch.tensor(numbers, dtype=torch.long)


def test_regions_ask_for_their_meaning_and_meanings_share_their_regions():
    """Two regions mean the first thing, of which only one knows; the third means the second."""
    similarity, meanings = torch.tensor([[THREE, 0.0], [0.0, 0.0], [0.0, 0.0]]), rows(0, 0, 1)
    regions = (log(4 / 3) + 2 * log(2)) / 3
    said = ((log(5 / 3) + log(5)) / 2 + log(3)) / 2
    for share in (1.0, 0.0, 0.7):
        cost = region_text_cross_entropy(similarity, meanings, region_share=share)
        assert cost.item() == pytest.approx(share * regions + (1 - share) * said)
    assert region_text_cross_entropy(similarity, meanings).item() == pytest.approx(
        0.7 * regions + 0.3 * said
    )


def test_nothing_meant_costs_nothing():
    assert region_text_cross_entropy(torch.zeros(0, 0), rows()).item() == 0


KITE, SKY, KITES = torch.eye(3)
CAPTIONED = NounTargets(torch.stack([KITE, SKY, KITES]), rows(0, 1, 0), (rows(1, 2),), (rows(0),))


def test_nouns_go_to_the_regions_that_objects_leave():
    """The region like "kite" answers for the kite, the others are called "sky" and "kites", which speaks for "kite"."""
    regions = torch.stack([KITE, SKY, KITES])[None]
    cost = noun_loss(regions, CAPTIONED, THREE, [Match(rows(0), rows(0))])
    asked = (log(4 / 3) + log(4 / 3) + log(2)) / 3
    said = (log(5 / 3) + (log(5 / 3) + log(5)) / 2) / 2
    assert cost.item() == pytest.approx(0.7 * asked + 0.3 * said, rel=1e-5)


def test_a_noun_never_takes_the_region_of_an_object():
    """The kite's region is like the sky, so the sky has to go elsewhere: 1 is no more like it than like kites."""
    regions = torch.stack([SKY, KITE, KITES])[None]
    cost = noun_loss(regions, CAPTIONED, THREE, [Match(rows(0), rows(0))])
    asked = (log(2) + log(4 / 3) + log(4)) / 3  # the sky's, the kites', the kite's own
    said = (log(5) + (log(5 / 3) + log(5)) / 2) / 2
    assert cost.item() == pytest.approx(0.7 * asked + 0.3 * said, rel=1e-5)


def test_photos_without_a_caption_teach_the_names_of_their_objects():
    nouns = replace(CAPTIONED, by_caption=(rows(),))
    alone = noun_loss(torch.stack([SKY, KITE])[None], nouns, THREE, [Match(rows(0), rows(0))])
    assert alone.item() == 0  # one pair only: nothing to mistake it for
    two = replace(CAPTIONED, by_caption=(rows(), rows(1)), by_object=(rows(0), rows()))
    both = noun_loss(
        torch.stack([SKY, KITE]).repeat(2, 1, 1),
        two,
        THREE,
        [Match(rows(1), rows(0)), Match(rows(), rows())],
    )
    assert both.item() == pytest.approx(log(4 / 3), rel=1e-5)


def test_the_noun_loss_has_the_right_gradient():
    chance = torch.Generator().manual_seed(2)
    regions = torch.randn(2, 4, 5, generator=chance, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(6, 5, generator=chance, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    nouns = NounTargets(
        vectors, rows(0, 1, 2, 0, 3, 4), (rows(2, 4), rows(3, 5)), (rows(0, 1), rows(1))
    )
    matches = [Match(rows(0, 2), rows(1, 0)), Match(rows(3), rows(0))]

    def cost(regions, vectors, scale):
        return noun_loss(regions, replace(nouns, vectors=vectors), scale, matches)

    assert torch.autograd.gradcheck(cost, (regions, vectors, scale))


# --- All together -----------------------------------------------------------------------------------------------------


def scene(photos=3, words=4, regions=5, dim=6, vocabulary=7):
    """Heads and captions of random numbers; the last photo has no caption."""
    chance = torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.randn(shape, generator=chance, dtype=torch.float64)

    heads = [
        CaptionPrediction(some(photos, words, dim), some(photos, regions, dim), some(photos, dim))
        for _ in "1234"
    ]
    valid = torch.tensor([[YES] * 4, [YES, YES, YES, NO], [NO] * 4])
    ids = torch.randint(0, vocabulary, (photos, words), generator=chance)
    captions = CaptionTargets(
        ids,
        valid,
        some(photos, words, dim),
        some(photos, dim),
        some(vocabulary, dim),
        14.0,
        some(photos, dim),
    )
    return heads, captions


def priced(heads, captions):
    return {name: cost.item() for name, cost in caption_terms(heads, captions).named()}


def test_three_heads_are_charged_and_the_backbone_once():
    assert list(priced(*scene())) == [
        *(
            "loss_captioning_0",
            "loss_retrieval_decoder_0",
            "loss_captioning_1",
            "loss_retrieval_decoder_1",
        ),
        *("loss_captioning_2", "loss_retrieval_decoder_2", "loss_retrieval_backbone_0"),
    ]


def test_nouns_are_charged_at_the_same_heads_where_objects_are_matched():
    heads, captions = scene()
    captions = replace(
        captions,
        nouns=NounTargets(
            captions.table, torch.arange(7), (rows(3, 4), rows(5), rows()), (rows(1),) * 3
        ),
    )
    matches = [[Match(rows(head), rows(0))] * 3 for head in range(4)]
    names = {name for name, _ in caption_terms(heads, captions, matches).named()}
    assert {name for name in names if "caption_" in name} == {
        "loss_caption_0",
        "loss_caption_1",
        "loss_caption_2",
    }
    assert priced(heads, captions) == priced(*scene())  # nobody says which regions are free
    _, second, *_ = caption_terms(heads, captions, matches).nouns
    assert second == noun_loss(heads[1].regions, captions.nouns, 14.0, matches[1])


def test_a_photo_without_a_caption_changes_nothing():
    heads, captions = scene()

    def without(tensor):
        return None if tensor is None else tensor[:2]

    fewer = [
        CaptionPrediction(*(without(part) for part in (h.words, h.regions, h.image))) for h in heads
    ]
    names = ("ids", "valid", "tokens", "vectors", "backbone")
    rest = replace(captions, **{name: without(getattr(captions, name)) for name in names})
    assert priced(heads, captions) == pytest.approx(priced(fewer, rest))


def test_padding_of_a_caption_changes_nothing():
    heads, captions = scene()
    tokens, ids = captions.tokens.clone(), captions.ids.clone()
    tokens[1, 3], ids[1, 3] = 99.0, 0
    assert priced(heads, replace(captions, tokens=tokens, ids=ids)) == priced(heads, captions)


def test_the_total_is_weighted():
    def costs(*values):
        return tuple(torch.tensor(value) for value in values)

    terms = CaptionTerms(costs(1.0, 2.0), costs(3.0, 4.0), torch.tensor(5.0), costs(6.0, 7.0))
    weights = CaptionWeights(words=10.0, nouns=0.5, retrieval=100.0, backbone=1000.0)
    assert terms.total(weights).item() == 30 + 6.5 + 700 + 5000
    assert CaptionTerms(costs(1.0), costs(3.0)).total().item() == 2 * 1 + 2 * 3
