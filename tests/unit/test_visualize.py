from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageChops

from seem.mask_codec import PackedMask
from seem.prompts import Box, Mask, Point, Polygon, Scribble, Stroke, Text
from seem.results.columns import rgb_crop
from seem.visualize import cut_out, draw_overlay
from seem.vocabulary import Vocabulary

CATEGORIES = {category.phrase: category for category in Vocabulary.coco_panoptic()}
GREY, GREEN, RED = (128, 128, 128), (34, 197, 94), (239, 68, 68)


def grey(width, height):
    return Image.new("RGB", (width, height), GREY)


def disc(height, width, y, x, radius):
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def drawn(photo, masks, names=None, prompts=(), labels=True, alpha=0.5):
    names = [None] * len(masks) if names is None else names
    return draw_overlay(
        np.asarray(photo),
        [PackedMask.pack(mask, (photo.height, photo.width)) for mask in masks],
        [CATEGORIES.get(name) for name in names],
        [f"{name} 0.90" if name else "0.90" for name in names] if labels else None,
        prompts,
        alpha,
    )


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5000, 3), (3, 5000), (40, 30), (640, 480)])
@pytest.mark.parametrize("names", [None, ["cat"]])
def test_an_overlay_has_the_photos_size_whatever_it_is(width, height, names):
    mask = np.ones((height, width), dtype=np.bool_)
    overlay = drawn(grey(width, height), [mask], names, prompts=[Point(0, 0), Box(0, 0, 1, 1)])
    assert (overlay.size, overlay.mode) == ((width, height), "RGB")


@pytest.mark.parametrize("far", [120, 9e8])
def test_lines_that_leave_the_photo_are_drawn_as_far_as_it_goes(far):
    near, away = (
        drawn(
            grey(40, 30),
            [],
            prompts=[Box(10, 8, 10 + by, 8 + by), Stroke([(5, 5), (5, 5 + by)], width=2)],
        )
        for by in (60, far)
    )
    assert away == near != grey(40, 30)


def test_a_plate_beside_its_object_is_tied_to_it():
    mask = np.zeros((150, 200), dtype=np.bool_)
    mask[70:92, 90:112] = True  # too small to write on
    plain, named = (
        np.asarray(drawn(grey(200, 150), [mask], ["cat"], labels=labels))
        for labels in (False, True)
    )
    changed = (plain != named).any(axis=-1)
    assert changed[~mask].any()
    assert changed[81, 101]  # the middle of the object
    rows = np.flatnonzero(changed.any(axis=1))
    assert (np.diff(rows) == 1).all()  # plate, line and end are one piece


def test_nothing_to_draw_leaves_the_photo():
    assert drawn(grey(40, 30), []) == grey(40, 30)
    assert drawn(grey(40, 30), [np.zeros((30, 40), dtype=np.bool_)]) == grey(40, 30)


def test_an_overlay_changes_masks_and_nothing_else():
    mask = disc(120, 160, 60, 80, 30)
    overlay = np.asarray(drawn(grey(160, 120), [mask], labels=False))
    assert (overlay[~mask] == 128).all()
    assert (overlay[mask] != 128).any(axis=1).all()


def test_the_photo_given_stays_as_it_was():
    photo = np.full((60, 60, 3), 128, dtype=np.uint8)
    mask = PackedMask.pack(disc(60, 60, 30, 30, 20), (60, 60))
    draw_overlay(photo, [mask], [None], ["0.90"], [Point(3, 3)], 0.5)
    assert (photo == 128).all()


def test_a_contour_runs_along_the_inner_edge_but_not_along_the_photos_border():
    mask = np.zeros((60, 60), dtype=np.bool_)
    mask[:, :30] = True
    overlay = np.asarray(drawn(grey(60, 60), [mask], labels=False)).astype(int)
    fill, edge = overlay[30, 10], overlay[30, 29]
    assert (edge != fill).any()
    assert (overlay[:, :29] == fill).all()
    assert (overlay[:, 29] == edge).all()


def test_smaller_objects_lie_on_top_of_larger_ones():
    large, small = np.ones((60, 60), dtype=np.bool_), disc(60, 60, 30, 30, 10)
    overlays = [
        drawn(grey(60, 60), masks, names, labels=False)
        for masks, names in [
            ([large, small], ["cat", "dog"]),
            ([small, large], ["dog", "cat"]),
            ([large], ["cat"]),
        ]
    ]
    assert overlays[0] == overlays[1]
    assert overlays[0].getpixel((30, 30)) != overlays[2].getpixel((30, 30))


def test_alpha_is_the_strength_of_the_colours():
    mask = np.ones((20, 20), dtype=np.bool_)
    shown = [
        drawn(grey(20, 20), [mask], ["cat"], labels=False, alpha=a).getpixel((10, 10))
        for a in (0.0, 0.5, 1.0)
    ]
    assert shown[0] == GREY
    assert all(
        abs(middle - (grey + full) / 2) <= 1 for grey, middle, full in zip(*shown, strict=True)
    )


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_outside_0_to_1_is_refused(alpha):
    with pytest.raises(
        ValueError, match=r"alpha is .*; it must be between 0 \(image alone\) and 1"
    ):
        drawn(grey(5, 3), [], alpha=alpha)


def plates(masks, names, **options):
    """Where labels changed the overlay of a 400 x 300 photo: their common box, or None."""
    photo = grey(400, 300)
    with_labels, without = (
        drawn(photo, masks, names, labels=labels, **options) for labels in (True, False)
    )
    return ImageChops.difference(with_labels, without).getbbox()


def test_a_label_is_written_inside_a_mask_that_holds_it():
    left, top, right, bottom = plates([disc(300, 400, 150, 250, 90)], ["cat"])
    assert 160 <= left < right <= 340
    assert 60 <= top < bottom <= 240


def test_the_label_of_a_small_object_stands_beside_it():
    mask = disc(300, 400, 150, 200, 12)
    bare, named = (
        np.asarray(drawn(grey(400, 300), [mask], ["cat"], labels=labels))
        for labels in (False, True)
    )
    changed = (bare != named).any(axis=-1)
    assert changed.sum() > mask.sum()
    assert changed[mask].mean() < 0.2  # the end of a line, no plate


def test_the_label_of_a_speck_is_left_out():
    assert plates([disc(300, 400, 150, 200, 3)], ["cat"]) is None


def test_labels_do_not_cover_each_other_or_a_click():
    mask = disc(300, 400, 150, 200, 60)
    first, both = plates([mask], ["cat"]), plates([mask, mask], ["cat", "dog"])
    assert (both[3] - both[1]) * (both[2] - both[0]) >= 2 * (first[3] - first[1]) * (
        first[2] - first[0]
    )
    left, top, right, bottom = plates([mask], ["cat"], prompts=[Point(200, 150)])
    assert not (left <= 200 < right and top <= 150 < bottom)


def test_labels_never_hide_much_of_the_photo():
    masks = [disc(300, 400, y, x, 14) for y in range(20, 290, 32) for x in range(20, 390, 32)]
    photo = grey(400, 300)
    named, bare = (
        drawn(photo, masks, ["cat"] * len(masks), labels=labels) for labels in (True, False)
    )
    changed = (np.asarray(named) != np.asarray(bare)).any(axis=2)
    assert 0.05 < changed.mean() < 0.2


def test_what_was_asked_with_is_shown_in_green_and_red():
    prompts = (
        Point(30, 30),
        Point(90, 30, positive=False),
        Stroke([(20, 60), (100, 60)]),
        Scribble([[(20, 70), (100, 70)]], positive=False),
        Polygon([(20, 80), (60, 80), (40, 100)]),
        Box(70, 80, 110, 110),
        Mask(np.ones((120, 120), dtype=np.bool_)),
        Text("a cat"),
    )
    overlay = drawn(grey(120, 120), [], prompts=prompts)
    assert overlay.getpixel((60, 60)) == overlay.getpixel((90, 80)) == GREEN
    assert overlay.getpixel((60, 70)) == RED
    assert drawn(grey(120, 120), [], prompts=prompts[-2:]) == grey(120, 120)


def test_prompts_beyond_the_border_are_cut_there():
    assert drawn(
        grey(20, 20), [], prompts=[Box(-50, -50, 900, 900), Stroke([(-9, 3), (99, 3)])]
    ).size == (20, 20)


def test_things_of_one_kind_get_different_colours_and_stuff_the_same():
    masks = [disc(60, 200, 30, x, 20) for x in (30, 90)]
    overlay = drawn(grey(200, 60), masks, ["cat", "cat"], labels=False)
    assert overlay.getpixel((30, 30)) != overlay.getpixel((90, 30))
    overlay = drawn(grey(200, 60), masks, ["sea", "sea"], labels=False)
    assert overlay.getpixel((30, 30)) == overlay.getpixel((90, 30))
    overlay = drawn(grey(200, 60), masks, [None, None], labels=False)
    assert overlay.getpixel((30, 30)) != overlay.getpixel((90, 30))


def test_an_object_is_cut_out_along_its_mask():
    photo = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    mask = np.zeros((3, 5), dtype=np.bool_)
    mask[1, 2] = mask[2, 3] = True
    cut = np.asarray(cut_out(partial(rgb_crop, photo), PackedMask.pack(mask, (3, 5))))
    assert cut[..., 3].tolist() == [[255, 0], [0, 255]]
    assert (cut[..., :3] == photo[1:3, 2:4]).all()
    nothing = cut_out(
        partial(rgb_crop, photo), PackedMask.pack(np.zeros((3, 5), dtype=np.bool_), (3, 5))
    )
    assert (nothing.size, nothing.getpixel((0, 0))) == ((1, 1), (0, 0, 0, 0))
