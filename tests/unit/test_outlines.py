"""Outlines of masks: filled again, by whichever rule, they give the same pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from seem.annotation_formats.outlines import join_outlines, trace_outlines, trace_polygons
from seem.mask_codec import PackedMask

# pycocotools 2.0.11 hands its arrays over by a protocol that NumPy 2 is about to leave behind.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

UNTIMED = settings(deadline=None)  # a busy machine is no fault
MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def outlines_of(mask):
    return trace_outlines(PackedMask.pack(mask, mask.shape))


def mask_of(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def fill_by_centres(polygons, hw):
    """Fill as COCO does."""
    flat = [polygon.ravel().tolist() for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *hw))).astype(bool)


def fill_with_border(polygons, hw):
    """Fill as Pillow does, and labelme with it: corners cut off to whole numbers, the border included."""
    image = Image.new("L", hw[::-1])
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([tuple(xy) for xy in polygon.tolist()], outline=1, fill=1)
    return np.asarray(image) > 0


@UNTIMED
@given(MASKS)
def test_outlines_cover_the_same_pixels_by_both_rules(mask):
    polygons = [outline.corners for outline in outlines_of(mask)]
    if polygons:
        assert (fill_by_centres(polygons, mask.shape) == mask).all()
        assert (fill_with_border(polygons, mask.shape) == mask).all()
    else:
        assert not mask.any()


@UNTIMED
@given(MASKS)
def test_opencv_fills_the_same_pixels(mask):
    cv2 = pytest.importorskip("cv2")
    filled = np.zeros(mask.shape, np.uint8)
    for outline in outlines_of(mask):
        cv2.fillPoly(filled, [outline.corners.astype(np.int32)], 1)
    assert (filled.astype(bool) == mask).all()


@UNTIMED
@given(MASKS)
def test_joined_parts_cover_the_same_pixel_centres(mask):
    outlines = outlines_of(mask)
    if outlines:
        joined = join_outlines(outlines)
        assert len(joined) >= sum(len(outline.corners) for outline in outlines)
        assert (fill_by_centres([joined], mask.shape) == mask).all()


def polygons_of(mask):
    return trace_polygons(PackedMask.pack(mask, mask.shape))


def signed_area(ring):
    x, y = ring.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@UNTIMED
@given(MASKS)
def test_polygons_cover_the_pixels_and_never_touch_themselves(mask):
    covered = np.zeros(mask.shape, bool)
    area = 0
    for polygon in polygons_of(mask):
        rings = [polygon.exterior, *polygon.holes]
        areas = [signed_area(ring) for ring in rings]
        assert [area > 0 for area in areas] == [True] + [False] * len(polygon.holes)
        area += sum(areas)
        for ring in rings:
            assert len(set(map(tuple, ring.tolist()))) == len(ring)
            covered ^= fill_by_centres([ring], mask.shape)
    assert area == mask.sum()
    assert (covered == mask).all()


@pytest.mark.parametrize(
    ("rows", "holes"),
    [
        (["####", "#.##", "##.#", "####"], [2]),  # holes that touch at a corner
        (["####", "#..#", "##.#", "#.##"], [1]),  # an outside that reaches in at a corner
        (["#.", ".#"], [0, 0]),
    ],
)
def test_a_ring_that_would_touch_itself_is_cut(rows, holes):
    assert [len(polygon.holes) for polygon in polygons_of(mask_of(*rows))] == holes


@pytest.mark.parametrize(
    ("rows", "num_holes"),
    [
        (["###", "#.#", "###"], [1]),
        (["#####", "#.#.#", "#####"], [2]),
        (["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"], [1, 1]),
        (["#.", ".#"], [0, 0]),
        (["##.", "#.#", "###"], [0]),  # open at a corner: no hole, as pixels of the mask are joined by their sides
        (["...", "..."], []),
    ],
)  # fmt: skip
def test_holes_and_parts_are_counted(rows, num_holes):
    assert [outline.num_holes for outline in outlines_of(mask_of(*rows))] == num_holes


def test_an_outline_lies_a_quarter_of_a_pixel_inside():
    (outline,) = outlines_of(mask_of("....", ".##.", "...."))
    assert outline.corners.tolist() == [[1.25, 1.25], [2.75, 1.25], [2.75, 1.75], [1.25, 1.75]]
