"""Metrics of single regions: referring, composition, kinds of prompts, clicks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seem.evaluation.metrics.clicks import NOC_MAXIMA, NOC_THRESHOLDS, ClickScores
from seem.evaluation.metrics.composition import CompositionScores
from seem.evaluation.metrics.overlap import PRECISION_AT, IouRule, Overlap, OverlapScores
from seem.evaluation.metrics.prompt_kinds import PromptKindScores
from seem.simulation.strokes import PromptKind

SOME = settings(deadline=None, max_examples=40)
OVERLAPS = st.integers(0, 60).flatmap(
    lambda either: st.builds(Overlap, st.integers(0, either), st.just(either))
)

# --- Referring --------------------------------------------------------------------------------------------------------


def referring(overlaps, rule=IouRule.OFFICIAL):
    scores = OverlapScores(rule)
    for overlap in overlaps:
        scores.update(overlap)
    return scores.compute()


@SOME
@given(
    st.lists(OVERLAPS, min_size=1, max_size=12).filter(
        lambda some: any(each.union for each in some)
    )
)
def test_referring_scores_are_those_of_the_official_formula(overlaps):
    """In tensors, as there: single precision and an epsilon beside the union."""
    shared = torch.tensor([each.intersection for each in overlaps])
    either = torch.tensor([each.union for each in overlaps])
    ious = shared * 1.0 / (either + 1e-6)
    result = referring(overlaps)
    assert result.mean_iou == pytest.approx(100 * ious.double().mean().item())
    assert result.cumulative_iou == pytest.approx(100 * shared.sum().item() / either.sum().item())
    for limit in PRECISION_AT:
        assert result.precision[limit] == pytest.approx(
            100 * (ious >= limit).double().mean().item()
        ), limit


@pytest.mark.parametrize(("overlap", "reached"), [(Overlap(1, 2), 0), (Overlap(500, 1000), 100)])
def test_half_of_a_tiny_region_is_less_than_half_officially(overlap, reached):
    assert referring([overlap]).precision[0.5] == reached
    assert referring([overlap], IouRule.EXACT).precision[0.5] == 100


def test_two_empty_masks_agree_but_not_officially():
    assert referring([Overlap(0, 0)]).mean_iou == 0
    assert referring([Overlap(0, 0)], IouRule.EXACT).mean_iou == 100


# --- Composition ------------------------------------------------------------------------------------------------------


def test_together_stands_beside_each_alone():
    scores = CompositionScores()
    scores.update(Overlap(90, 100), Overlap(40, 100), Overlap(60, 100))
    scores.update(Overlap(300, 300), Overlap(0, 300), Overlap(300, 300))
    result = scores.compute()
    assert result.count == 2
    assert result.together.cumulative_iou == pytest.approx(97.5)
    assert result.together.mean_iou == pytest.approx(95)
    assert (result.together.ap50, result.phrase_alone.ap50) == (100, 0)
    assert result.prompt_alone is not None
    assert result.prompt_alone.mean_iou == pytest.approx(80)


def test_the_prompt_alone_is_asked_for_all_or_for_none():
    without = CompositionScores()
    without.update(Overlap(1, 1), Overlap(1, 1))
    assert without.compute().prompt_alone is None
    with pytest.raises(ValueError, match="0 of 1 objects were prompted without their phrase"):
        without.update(Overlap(1, 1), Overlap(1, 1), Overlap(1, 1))
    other = CompositionScores()
    other.update(Overlap(1, 1), Overlap(1, 1), Overlap(1, 1))
    with pytest.raises(ValueError, match="the other has none"):
        other.merge(without)
    other.merge(CompositionScores())
    assert other.compute().count == 1


def test_nothing_composed_has_no_mean():
    result = CompositionScores().compute()
    assert (result.count, result.prompt_alone) == (0, None)
    assert math.isnan(result.together.mean_iou)


# --- Kinds of prompts -------------------------------------------------------------------------------------------------


def test_kinds_are_kept_apart():
    scores = PromptKindScores()
    scores.update(PromptKind.BOX, Overlap(1, 2))
    scores.update(PromptKind.BOX, Overlap(2, 2))
    scores.update(PromptKind.POINT, Overlap(0, 2))
    assert scores.compute().one_iou == {"point": 0, "box": 75}


# --- Clicks -----------------------------------------------------------------------------------------------------------

CURVES = st.integers(1, 24).flatmap(
    lambda clicks: st.lists(
        st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=clicks, max_size=clicks),
        min_size=1,
        max_size=6,
    )
)


@SOME
@given(CURVES, st.randoms())
def test_number_of_clicks_is_counted_for_every_maximum(curves, random):
    scores, clicks = ClickScores(len(curves[0])), len(curves[0])
    for curve in random.sample(curves, len(curves)):
        scores.update(curve)
    result = scores.compute()
    maxima = {most for most in NOC_MAXIMA if most < clicks} | {clicks} if clicks > 1 else set()
    assert {(noc.threshold, noc.maximum) for noc in result.noc} == {
        (t, most) for t in NOC_THRESHOLDS for most in maxima
    }
    for noc in result.noc:
        reached = np.array(curves)[:, : noc.maximum] >= noc.threshold
        counts = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, noc.maximum)
        assert noc.mean == pytest.approx(counts.mean())
        assert noc.never == (~reached.any(axis=1)).sum()


def test_twenty_clicks_give_the_usual_nine():
    scores = ClickScores(20)
    scores.update([0.5] * 6 + [0.86] * 6 + [0.95] * 8)
    result = scores.compute()
    assert [noc.maximum for noc in result.noc] == [5] * 3 + [10] * 3 + [20] * 3
    assert result.number_of_clicks(0.85, 20).mean == 7
    assert (result.number_of_clicks(0.9, 10).mean, result.number_of_clicks(0.9, 10).never) == (
        10,
        1,
    )
    assert result.number_of_clicks(0.9, 20).mean == 13
    assert list(result.mean_iou) == [1, 2, 3, 5, 10, 20]
    with pytest.raises(ValueError, match=r"7 clicks to 0\.9 were not counted"):
        result.number_of_clicks(0.9, 7)


def test_perfect_answers_need_one_click():
    scores = ClickScores(5)
    scores.update([1.0] * 5)
    assert all((noc.mean, noc.never) == (1, 0) for noc in scores.compute().noc)


def test_no_objects_need_no_number_of_clicks():
    assert all(math.isnan(noc.mean) for noc in ClickScores(5).compute().noc)
