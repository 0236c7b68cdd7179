"""Metrics, on masks small enough to count by eye; pictures are text, one letter a pixel."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seem.evaluation.metrics.clicks import ClickScores
from seem.evaluation.metrics.overlap import Overlap, OverlapScores
from seem.evaluation.metrics.panoptic import PanopticQuality, PanopticSegmentation, SegmentInfo
from seem.evaluation.metrics.refusal import RefusalRate
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou

CAT, DOG, GRASS = 17, 18, 193
IS_THING = {CAT: True, DOG: True, GRASS: False}


def picture(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def panoptic_map(rows, **regions):
    """Read a map whose letters are ids; '.' is void. A region is a category, or (category, True) for a crowd."""
    ids = np.array(
        [[0 if letter == "." else ord(letter) for letter in row] for row in rows], np.int32
    )
    described = {
        letter: given if isinstance(given, tuple) else (given, False)
        for letter, given in regions.items()
    }
    return PanopticSegmentation(
        ids, tuple(SegmentInfo(ord(letter), *what) for letter, what in described.items())
    )


def quality_of(predicted, truth):
    metric = PanopticQuality(IS_THING)
    metric.update(predicted, truth)
    return metric.compute()


def counts(result):
    return {c.category: (c.matched, c.surplus, c.missed) for c in result.per_class}


# --- Overlap ----------------------------------------------------------------------------------------------------------


def test_overlap_counts_pixels():
    assert Overlap.of(picture("##.", "##."), picture(".##", ".##")) == Overlap(
        intersection=2, union=6
    )


def test_two_empty_masks_agree():
    assert Overlap.of(picture("..."), picture("...")).iou == 1.0


def test_mean_iou_weighs_pairs_and_cumulative_iou_weighs_pixels():
    scores = OverlapScores()
    scores.update(Overlap(intersection=1, union=1))
    scores.update(Overlap(intersection=0, union=9))
    result = scores.compute()
    assert (result.count, result.mean_iou, result.cumulative_iou) == (2, 50.0, 10.0)


def test_precision_counts_pairs_that_reach_the_limit():
    scores = OverlapScores()
    for shared in (5, 7, 10):
        scores.update(Overlap(shared, 10))
    assert scores.compute().precision == pytest.approx(
        {0.5: 100, 0.6: 200 / 3, 0.7: 200 / 3, 0.8: 100 / 3, 0.9: 100 / 3}
    )


def test_nothing_has_no_mean():
    assert math.isnan(OverlapScores().compute().mean_iou)
    assert math.isnan(RefusalRate().compute().refused)


def test_refusals_are_a_share():
    share = RefusalRate()
    for refused in (True, False, False, False):
        share.update(refused)
    assert asdict(share.compute()) == {"count": 4, "refused": 25.0}


# --- Clicks -----------------------------------------------------------------------------------------------------------


def test_click_scores_are_means_at_some_clicks():
    scores = ClickScores(clicks=3)
    scores.update([0.2, 0.4, 0.9])
    scores.update([0.4, 0.8, 0.8])
    result = scores.compute()
    assert result.mean_iou == pytest.approx({1: 30, 2: 60, 3: 85})


def test_number_of_clicks_is_the_first_that_reaches_the_threshold_or_the_maximum():
    scores = ClickScores(clicks=3)
    scores.update([0.2, 0.85, 0.7])  # reached at the second, though lost again
    scores.update([0.2, 0.3, 0.4])  # never
    _, noc_85, noc_90 = scores.compute().noc
    assert (noc_85.mean, noc_85.never, noc_85.maximum) == (2.5, 1, 3)
    assert (noc_90.mean, noc_90.never) == (3.0, 2)


def test_a_curve_needs_a_value_for_every_click():
    with pytest.raises(ValueError, match="2 values for 3 clicks"):
        ClickScores(clicks=3).update([0.1, 0.2])


# --- Panoptic ---------------------------------------------------------------------------------------------------------


def test_a_match_needs_more_than_half():
    truth = panoptic_map(["aaaabb"], a=CAT, b=GRASS)
    result = quality_of(panoptic_map(["xxxxxy"], x=CAT, y=GRASS), truth)
    assert counts(result) == {
        CAT: (1, 0, 0),
        GRASS: (0, 1, 1),
    }  # 4 of 5 pixels; 1 of 2 is not more than half
    assert result.things.pq == pytest.approx(80)
    assert result.stuff.pq == 0
    assert result.all.pq == pytest.approx(40)


def test_sq_and_rq_make_pq():
    truth = panoptic_map(["aaaabbbb"], a=CAT, b=CAT)
    result = quality_of(panoptic_map(["xxx....."], x=CAT), truth)
    assert counts(result) == {CAT: (1, 0, 1)}
    assert (result.all.sq, result.all.rq, result.all.pq) == pytest.approx((75, 200 / 3, 50))


def test_the_wrong_category_is_no_match():
    result = quality_of(panoptic_map(["xxxx"], x=DOG), panoptic_map(["aaaa"], a=CAT))
    assert counts(result) == {CAT: (0, 0, 1), DOG: (0, 1, 0)}
    assert result.all.classes == 2


def test_void_is_left_out_of_the_union():
    result = quality_of(panoptic_map(["xxxx"], x=CAT), panoptic_map(["aa.."], a=CAT))
    assert result.all.pq == pytest.approx(100)


@pytest.mark.parametrize(("row", "surplus"), [("..ab", 1), ("...b", 0)])
def test_a_prediction_that_is_mostly_void_is_excused(row, surplus):
    truth = panoptic_map([row], **dict.fromkeys(row.strip("."), DOG))
    assert (
        counts(quality_of(panoptic_map(["xxxx"], x=CAT), truth)).get(CAT, (0, 0, 0))[1] == surplus
    )


def test_crowds_are_never_matched_nor_missed_and_excuse_their_category():
    truth = panoptic_map(["ccccbb"], c=(CAT, True), b=GRASS)
    predicted = panoptic_map(["xxddyy"], x=CAT, d=DOG, y=GRASS)
    assert counts(quality_of(predicted, truth)) == {DOG: (0, 1, 0), GRASS: (1, 0, 0)}


def test_of_several_crowds_the_last_one_listed_excuses():
    truth = panoptic_map(["ccccdddd"], c=(CAT, True), d=(CAT, True))
    assert counts(quality_of(panoptic_map(["xxxx...."], x=CAT), truth)) == {CAT: (0, 1, 0)}
    assert counts(quality_of(panoptic_map(["....xxxx"], x=CAT), truth)) == {}


def test_a_category_that_is_not_scored_is_named():
    with pytest.raises(ValueError, match=r"\[99\] are not among"):
        quality_of(panoptic_map(["xxxx"], x=99), panoptic_map(["aaaa"], a=CAT))


def test_a_map_must_hold_what_is_listed():
    with pytest.raises(ValueError, match="differ"):
        quality_of(panoptic_map(["xxxx"], x=CAT, y=CAT), panoptic_map(["aaaa"], a=CAT))


def test_nothing_to_segment_has_no_quality():
    result = quality_of(panoptic_map(["...."]), panoptic_map(["...."]))
    assert result.all.classes == 0
    assert math.isnan(result.all.pq)


# --- Semantic ---------------------------------------------------------------------------------------------------------


def test_semantic_iou_ignores_what_is_unlabelled():
    metric = SemanticIou(classes=3)
    metric.update(np.array([[0, 1, 1, 2]]), np.array([[0, 0, 1, IGNORED]]))
    result = metric.compute()
    assert result.per_class == {0: 50.0, 1: 50.0}
    assert (result.mean_iou, result.classes) == (50.0, 2)
    assert result.pixel_accuracy == pytest.approx(200 / 3)


def test_stored_maps_say_255_where_nothing_counts():
    metric = SemanticIou(classes=2, ignored=255)
    metric.update(np.array([[0, 1, 1]]), np.array([[0, 1, 255]], np.uint8))
    assert metric.compute().mean_iou == 100
    with pytest.raises(ValueError, match="255 is both a class"):
        SemanticIou(classes=847, ignored=255)


def test_frequency_weighs_classes_by_their_true_pixels():
    metric = SemanticIou(classes=2)
    metric.update(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 1]]))
    assert metric.compute().frequency_weighted_iou == pytest.approx(
        100 * (3 / 4 * 3 / 4 + 1 / 4 * 0)
    )


def test_a_class_that_is_only_told_counts_with_zero():
    metric = SemanticIou(classes=2)
    metric.update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 0, 0]]))
    assert metric.compute().mean_iou == pytest.approx(37.5)


def test_a_class_index_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"outside 0 \.\.\. 1"):
        SemanticIou(classes=2).update(np.array([[2]]), np.array([[0]]))


# --- What must hold of all --------------------------------------------------------------------------------------------

SLOW_MACHINES = settings(deadline=None, max_examples=40)
MASKS = arrays(np.bool_, (4, 5))
PAIRS = st.lists(st.tuples(MASKS, MASKS), min_size=1, max_size=6)
LABELLED = arrays(np.int32, (4, 6), elements=st.integers(0, 5))


def as_map(ids):
    """Ids 1 and 2 are cats, 3 and 4 dogs, 5 grass."""
    categories = {1: CAT, 2: CAT, 3: DOG, 4: DOG, 5: GRASS}
    return PanopticSegmentation(
        ids, tuple(SegmentInfo(k, categories[k]) for k in np.unique(ids).tolist() if k)
    )


def overlap_result(pairs):
    scores = OverlapScores()
    for predicted, truth in pairs:
        scores.update(Overlap.of(predicted, truth))
    return scores


@SLOW_MACHINES
@given(PAIRS, st.randoms())
def test_order_does_not_matter_and_halves_make_a_whole(pairs, random):
    whole = overlap_result(pairs).compute()
    half, other = overlap_result(pairs[::2]), overlap_result(pairs[1::2])
    half.merge(other)
    shuffled = random.sample(pairs, len(pairs))
    assert overlap_result(shuffled).compute() == whole == half.compute()
    assert 0 <= whole.mean_iou <= 100


@SLOW_MACHINES
@given(st.lists(MASKS, min_size=1, max_size=4))
def test_the_truth_itself_scores_100(masks):
    result = overlap_result([(mask, mask) for mask in masks]).compute()
    assert (result.mean_iou, result.cumulative_iou) == (100, 100)


@SLOW_MACHINES
@given(LABELLED.filter(np.any))
def test_a_true_partition_has_full_quality(ids):
    semantic = SemanticIou(6)
    semantic.update(ids, ids)
    assert (semantic.compute().mean_iou, semantic.compute().frequency_weighted_iou) == (
        100,
        pytest.approx(100),
    )
    result = quality_of(as_map(ids), as_map(ids))
    assert result.all.pq == pytest.approx(100)


@SLOW_MACHINES
@given(LABELLED.filter(np.any), LABELLED, st.permutations([1, 2]))
def test_names_of_segments_do_not_matter(truth, predicted, cats):
    renamed = np.array([0, *cats, 3, 4, 5], np.int32)[predicted]
    first, second = (
        quality_of(as_map(predicted), as_map(truth)),
        quality_of(as_map(renamed), as_map(truth)),
    )
    assert first.all == second.all or math.isnan(first.all.pq)


@SLOW_MACHINES
@given(st.lists(st.tuples(LABELLED, LABELLED), min_size=2, max_size=5))
def test_panoptic_and_semantic_halves_make_a_whole(photos):
    def counted(some):
        panoptic, semantic = PanopticQuality(IS_THING), SemanticIou(6)
        for predicted, truth in some:
            panoptic.update(as_map(predicted), as_map(truth))
            semantic.update(predicted.astype(np.int64), truth.astype(np.int64))
        return panoptic, semantic

    whole, half, rest = counted(photos), counted(photos[:1]), counted(photos[1:])
    for metric, more, all_of_it in zip(half, rest, whole, strict=True):
        metric.merge(more)
        assert repr(metric.compute()) == repr(all_of_it.compute())
        metric.reset()
        assert metric.compute().photos == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ClickScores(3), ClickScores(4)),
        (SemanticIou(3), SemanticIou(4)),
        (PanopticQuality({CAT: True}), PanopticQuality({CAT: False})),
    ],
)
def test_what_does_not_belong_together_is_not_merged(one, other):
    with pytest.raises(ValueError):  # noqa: PT011 - three messages
        one.merge(other)
