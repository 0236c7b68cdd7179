"""J and F of videos, and answers in context: formulae spelled out pixel by pixel, rules on courses made up by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seem.evaluation.metrics.in_context import InContextScores
from seem.evaluation.metrics.video import (
    FrameRule,
    VideoQuality,
    outline,
    outline_f_score,
    sequence_statistics,
)

SOME = settings(deadline=None, max_examples=40)
MASKS = arrays(np.bool_, (5, 7))
NOTHING, EVERYTHING = np.zeros((5, 7), bool), np.ones((5, 7), bool)


def picture(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


# --- F ----------------------------------------------------------------------------------------------------------------


def test_an_outline_is_above_and_left_of_the_step():
    square = picture(".....", ".###.", ".###.", ".###.", ".....")
    assert (outline(square) == picture("####.", "#..#.", "#..#.", "####.", ".....")).all()


def test_a_region_does_not_end_at_the_edge_of_the_photo():
    assert not outline(EVERYTHING).any()
    assert (outline(picture("..#", "..#", "..#")) == picture(".#.", ".#.", ".#.")).all()


def spelled_out(mask):
    """Mark a pixel that differs from any of its three later neighbours; those beyond the photo are as the last ones."""
    height, width = mask.shape
    marked = set()
    for y in range(height):
        for x in range(width):
            later = [
                (min(y + dy, height - 1), min(x + dx, width - 1))
                for dy, dx in ((0, 1), (1, 0), (1, 1))
            ]
            if any(mask[place] != mask[y, x] for place in later):
                marked.add((y, x))
    return marked


def share_near(some, others, radius):
    near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in some]
    return sum(near) / len(near)


@SOME
@given(MASKS, MASKS, st.sampled_from([0.008, 0.13, 0.3]))
def test_outline_agreement_counts_what_is_near(predicted, truth, tolerance):
    told, true = spelled_out(predicted), spelled_out(truth)
    radius = math.ceil(tolerance * math.sqrt(5**2 + 7**2))
    if told and true:
        precision, recall = share_near(told, true, radius), share_near(true, told, radius)
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    else:
        expected = float(not told and not true)
    assert outline_f_score(predicted, truth, tolerance) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [(NOTHING, NOTHING, 1), (EVERYTHING, NOTHING, 1), (NOTHING, picture(*[".#....."] * 5), 0)],
    ids=["both empty", "full and empty have no outline", "one empty"],
)
def test_without_an_outline(predicted, truth, expected):
    assert outline_f_score(predicted, truth) == expected


# --- Courses ----------------------------------------------------------------------------------------------------------


def test_recall_is_above_one_half_and_decay_is_first_less_last():
    told = sequence_statistics([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert told.mean == pytest.approx(60)
    assert told.recall == pytest.approx(100 * 5 / 9)
    assert told.decay == pytest.approx(60)  # frames 0-2 less frames 6-8


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
@SOME
def test_quarters_end_at_rounded_places(values):
    count = len(values)
    ends = [math.floor(1 + k * (count - 1) / 4 + 0.5) - 1 for k in range(5)]
    decay = np.mean(values[ends[0] : ends[1] + 1]) - np.mean(values[ends[3] : ends[4] + 1])
    assert sequence_statistics(values).decay == pytest.approx(100 * decay, abs=1e-9)


def video(rule, objects):
    """Score objects whose J is 1 where a letter is '#', 0 where it is not; F is the same."""
    metric = VideoQuality(rule)
    shape = picture(".......", ".###...", ".###...", ".......", ".......")
    for name, letters in objects.items():
        for frame, letter in enumerate(letters):
            metric.update(name[0], int(name[1:]), frame, shape if letter == "#" else NOTHING, shape)
    return metric


def test_first_and_last_frame_are_dropped():
    inner, everything = (
        video(rule, {"a1": "#...#"}).compute() for rule in (FrameRule.INNER, FrameRule.ALL)
    )
    assert (inner.frames, inner.j.mean, inner.j_and_f) == (3, 0, 0)
    assert (everything.frames, everything.j.mean, everything.j_and_f) == (5, 40, 40)
    assert inner.rule is FrameRule.INNER


def test_objects_count_alike_however_long_they_are():
    result = video(FrameRule.ALL, {"a1": "##", "a2": "##", "b1": "." * 30}).compute()
    assert (result.objects, result.frames) == (3, 34)
    assert result.j == result.f
    assert (result.j.mean, result.j.recall, result.j.decay) == pytest.approx((200 / 3, 200 / 3, 0))


def test_an_object_without_frames_that_count_is_left_out():
    result = video(FrameRule.INNER, {"a1": "##", "b1": "###"}).compute()
    assert [(row.sequence, row.frames) for row in result.per_object] == [("b", 1)]
    assert math.isnan(video(FrameRule.INNER, {}).compute().j_and_f)


def test_two_empty_masks_agree():
    metric = VideoQuality(FrameRule.ALL)
    metric.update("a", 1, 0, NOTHING, NOTHING)
    assert metric.compute().j_and_f == 100


def test_a_frame_counts_once():
    metric = video(FrameRule.ALL, {"a1": "##"})
    with pytest.raises(ValueError, match="Frame 1 of object 1 in 'a' was counted before"):
        metric.update("a", 1, 1, NOTHING, NOTHING)
    with pytest.raises(ValueError, match="Frame 0 of object 1 in 'a' was counted in both"):
        metric.merge(video(FrameRule.ALL, {"a1": "#"}))
    with pytest.raises(ValueError, match="does not go with"):
        metric.merge(VideoQuality(FrameRule.INNER))


FRAMES = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 4)),
    st.tuples(MASKS, MASKS),
    max_size=12,
)


@SOME
@given(FRAMES, st.sampled_from(FrameRule), st.randoms())
def test_order_does_not_matter_and_parts_make_a_whole(frames, rule, random):
    def counted(some):
        metric = VideoQuality(rule)
        for place, masks in some:
            metric.update(*place, *masks)
        return metric

    whole = counted(frames.items()).compute()
    shuffled = random.sample(list(frames.items()), len(frames))
    half = counted(shuffled[::2])
    half.merge(counted(shuffled[1::2]))  # the frames of one object may be spread over both
    assert repr(half.compute()) == repr(whole)


@SOME
@given(st.lists(MASKS, min_size=3, max_size=6))
def test_the_truth_itself_scores_100(masks):
    metric = VideoQuality()
    for frame, mask in enumerate(masks):
        metric.update("a", 1, frame, mask, mask)
    result = metric.compute()
    assert (result.j_and_f, result.j.recall, result.f.decay) == (100, 100, 0)


# --- In context -------------------------------------------------------------------------------------------------------


def test_photos_count_alike_for_the_mean_iou_and_objects_for_j():
    metric, shape = InContextScores(), picture(*["###...."] * 5)
    for photo in (0, 2, 3):
        metric.update("a", 1, photo, shape, shape, reference=1)
    metric.update("b", 1, 5, NOTHING, shape, reference=0)
    result = metric.compute()
    assert (result.objects, result.photos, result.mean_iou, result.j.mean, result.j_and_f) == (
        2,
        4,
        75,
        50,
        50,
    )


def test_the_reference_is_not_scored():
    with pytest.raises(ValueError, match="Image 3 of 'a' is the reference itself"):
        InContextScores().update("a", 1, 3, NOTHING, NOTHING, reference=3)


def test_nothing_shown_has_no_mean():
    assert math.isnan(InContextScores().compute().mean_iou)
