"""Simulated prompts lie where a person would draw them, for objects of every shape."""

from __future__ import annotations

import numpy as np
import pytest

from seem.prompts import Polygon
from seem.rasterize import RasterFrame
from seem.simulation.strokes import (
    DEFAULT_STROKES,
    PUBLISHED_STROKES,
    PromptKind,
    StrokeDistribution,
    draw_box,
    draw_center_point,
    draw_circle,
    draw_negative_points,
    draw_points,
    draw_polygon,
    draw_scribble,
    sample_prompt,
)


def disc(hw, cx, cy, radius):
    y, x = np.mgrid[: hw[0], : hw[1]]
    return (x - cx) ** 2 + (y - cy) ** 2 <= radius**2


def only(hw, *pixels):
    mask = np.zeros(hw, bool)
    for y, x in pixels:
        mask[y, x] = True
    return mask


TRUTHS = {
    "disc": disc((120, 160), 70, 60, 30),
    "one pixel": only((40, 50), (0, 49)),
    "two far pixels": only((40, 50), (0, 0), (39, 49)),
    "full": np.ones((32, 20), bool),
    "line": np.eye(64, dtype=bool),
    "two pieces": disc((100, 100), 20, 20, 12) | disc((100, 100), 75, 75, 12),
}
DRAWERS = {
    "points": draw_points,
    "center": draw_center_point,
    "circle": draw_circle,
    "scribble": draw_scribble,
    "filled polygon": draw_polygon,
    "curve": lambda truth, rng: draw_polygon(truth, rng, "curve"),
    "box": draw_box,
    "loose box": lambda truth, rng: draw_box(truth, rng, jitter=0.3),
    "mixed": sample_prompt,
}


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_every_prompt_covers_something_and_repeats(truth, draw):
    for seed in range(8):
        drawn = draw(truth, np.random.default_rng(seed))
        assert drawn.mask.shape == truth.shape
        assert drawn.mask.dtype == bool
        assert drawn.mask.any()
        assert drawn.positive
        assert drawn.paths
        again = draw(truth, np.random.default_rng(seed))
        assert np.array_equal(drawn.mask, again.mask)


@pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)
def test_an_empty_mask_is_refused(draw):
    with pytest.raises(ValueError, match="is empty"):
        draw(np.zeros((8, 8), bool), np.random.default_rng(0))


@pytest.mark.parametrize("draw", [draw_circle, draw_scribble])
@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_strokes_stay_on_the_object(draw, truth):
    for seed in range(20):
        drawn = draw(truth, np.random.default_rng(seed))
        assert not (drawn.mask & ~truth).any()
        assert 1 <= len(drawn.paths) <= 5


def test_points_are_on_the_object_and_counted():
    truth = TRUTHS["disc"]
    counts = set()
    for seed in range(60):
        drawn = draw_points(truth, np.random.default_rng(seed), at_most=4)
        points = np.concatenate(drawn.paths).astype(int)
        counts.add(len(points))
        assert truth[points[:, 1], points[:, 0]].all()
    assert counts == {1, 2, 3, 4}


def test_a_click_covers_three_by_three_pixels():
    drawn = draw_points(TRUTHS["disc"], np.random.default_rng(1), at_most=1)
    ((x, y),) = drawn.paths[0].astype(int)
    assert drawn.mask.sum() == 9
    assert drawn.mask[y - 1 : y + 2, x - 1 : x + 2].all()


def test_a_centre_click_is_near_the_centre():
    for seed in range(20):
        ((x, y),) = draw_center_point(TRUTHS["disc"], np.random.default_rng(seed), slack=0.2).paths[
            0
        ]
        assert (x - 70) ** 2 + (y - 60) ** 2 <= 8**2


def test_wrong_points_are_negative_and_outside():
    truth = TRUTHS["disc"]
    allowed = np.zeros_like(truth)
    allowed[:, :100] = True
    for seed in range(30):
        drawn = draw_negative_points(truth, np.random.default_rng(seed), allowed=allowed)
        assert drawn is not None
        assert not drawn.positive
        points = np.concatenate(drawn.paths).astype(int)
        assert not truth[points[:, 1], points[:, 0]].any()
        assert (points[:, 0] < 100).all()
    assert draw_negative_points(TRUTHS["full"], np.random.default_rng(0)) is None


def test_a_box_is_the_bounding_box():
    drawn = draw_box(TRUTHS["disc"], np.random.default_rng(0))
    assert drawn.paths[0].tolist() == [[40, 30], [101, 91]]
    assert drawn.mask[30:91, 40:101].all()
    assert drawn.mask.sum() == 61 * 61


def test_a_filled_polygon_resembles_the_object():
    truth = TRUTHS["disc"]
    for seed in range(20):
        drawn = draw_polygon(truth, np.random.default_rng(seed))
        assert (drawn.mask & truth).sum() / (drawn.mask | truth).sum() > 0.7


@pytest.mark.parametrize("radius", [1, 3, 8, 32])
@pytest.mark.parametrize("shape", ["disc", "square"])
def test_a_filled_polygon_is_as_large_as_its_object(radius, shape):
    side = 3 * radius + 9
    y, x = np.mgrid[:side, :side] - side // 2
    truth = np.hypot(x, y) <= radius if shape == "disc" else np.maximum(abs(x), abs(y)) <= radius
    areas = []
    for seed in range(20):
        drawn = draw_polygon(truth, np.random.default_rng(seed))
        prompt = Polygon(
            (drawn.paths[0] + 0.5).tolist()
        )  # positions: a pixel's centre is at a half
        assert np.array_equal(drawn.mask, prompt.rasterize(RasterFrame(truth.shape, truth.shape)))
        areas.append(drawn.mask.sum() / truth.sum())
    assert np.mean(areas) == pytest.approx(1, abs=0.05)


def test_a_polygon_around_scattered_pieces_holds_them_all():
    drawn = draw_polygon(TRUTHS["two pieces"], np.random.default_rng(0))
    assert (drawn.mask & TRUTHS["two pieces"]).sum() > 0.8 * TRUTHS["two pieces"].sum()


def test_a_curve_is_thin():
    truth = TRUTHS["disc"]
    covered = [draw_polygon(truth, np.random.default_rng(s), "curve").mask.sum() for s in range(20)]
    assert max(covered) < 0.3 * truth.sum()


@pytest.mark.parametrize(
    "strokes", [PUBLISHED_STROKES, DEFAULT_STROKES], ids=["published", "familiar"]
)
def test_kinds_come_in_their_proportions(strokes):
    rng = np.random.default_rng(0)
    kinds = [sample_prompt(TRUTHS["disc"], rng, strokes).kind for _ in range(600)]
    for kind in PromptKind:
        assert kinds.count(kind) / 600 == pytest.approx(
            strokes.kind_weights.get(kind, 0.0), abs=0.06
        )


def test_a_mix_without_kinds_is_refused():
    with pytest.raises(ValueError, match="positive weight"):
        sample_prompt(
            TRUTHS["disc"], np.random.default_rng(0), StrokeDistribution({PromptKind.BOX: 0.0})
        )


def test_the_published_strokes_are_curves_and_up_to_twenty_single_pixels():
    rng, truth = np.random.default_rng(0), TRUTHS["disc"]
    drawn = [sample_prompt(truth, rng, PUBLISHED_STROKES) for _ in range(200)]
    points = [int(each.mask.sum()) for each in drawn if each.kind is PromptKind.POINT]
    assert (min(points), max(points)) == (1, 20)
    assert (
        max(each.mask.sum() for each in drawn if each.kind is PromptKind.POLYGON)
        < 0.3 * truth.sum()
    )
