"""Samples: image and masks stay together, texts stay true, and an index always gives the same sample."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from seem.data.augmentation import Augmentation
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.copy_paste import paste_object
from seem.data.image_bank import ImageBank
from seem.data.phrases import is_relative_phrase, mirror_phrase
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.data.training_sample import augment, choose_objects
from seem.data.training_sampler import TrainingSampler
from seem.data.window import PAD_RGB

RED, BLUE = (250, 0, 0), (0, 0, 250)
PLAIN = Augmentation.none()


def banked(number, name, box, phrases=(), *, is_crowd=False, source="template", is_thing=True):
    x0, y0, x1, y1 = box
    record = ObjectRecord(
        number,
        1,
        CategoryRecord(1, name, name, is_thing),
        "",
        (60, 90),
        tuple(map(float, box)),
        1,
        is_crowd,
        "",
        phrases,
        source,
        None,
    )
    return BankedObject(
        record, box, np.full((y1 - y0, x1 - x0), 255, np.uint8), float((x1 - x0) * (y1 - y0))
    )


def banked_image(
    *objects,
    set_name="coco_full",
    complete=("square", "kite"),
    captions=("A red square on the left.",),
):
    """Paint a grey photo of 60 x 90 with a red square at the left and a blue one at the right."""
    pixels = np.full((60, 90, 3), 128, np.uint8)
    pixels[20:40, 10:30], pixels[20:40, 60:80] = RED, BLUE
    record = ImageRecord(
        1,
        set_name,
        Path("x.jpg"),
        (60, 90),
        "train",
        "instances",
        set_name,
        "",
        captions,
        None,
        None,
        "",
        None,
    )
    kept = tuple(entry for entry in objects if not entry.record.is_group)
    groups = tuple(entry for entry in objects if entry.record.is_group)
    return BankedImage(record, pixels, kept, groups, frozenset(complete))


LEFT = banked(10, "square", (10, 20, 30, 40), ("the square on the left", "the red square"))
RIGHT = banked(11, "square", (60, 20, 80, 40), ("the square on the right",))
TWO = banked_image(LEFT, RIGHT)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_plain_image_fills_the_canvas_from_the_upper_left():
    sample = augment(TWO, 90, rng(), PLAIN)
    assert sample.valid_hw == (60, 90)
    assert np.array_equal(sample.image[:, :60].transpose(1, 2, 0), TWO.image)
    assert (sample.image[:, 60:] == np.array(PAD_RGB)[:, None, None]).all()
    assert sample.masks.sum(axis=(1, 2)).tolist() == [400, 400]
    assert sample.masks[0, 20:40, 10:30].all()
    assert sample.names == ("square", "square")
    assert sample.phrases[0] == ("the square on the left", "the red square")
    assert sample.captions == ("A red square on the left.",)


def test_a_flip_swaps_places_and_words():
    sample = augment(TWO, 90, rng(), replace(PLAIN, p_flip=1.0))
    assert sample.masks[0, 20:40, 60:80].all()
    assert sample.phrases[:2] == (
        ("the square on the right", "the red square"),
        ("the square on the left",),
    )
    assert sample.captions == ("A red square on the right.",)


def test_a_quarter_turn_lays_the_image_on_either_side_and_says_nothing_of_sides():
    turned = {}
    for seed in range(12):
        sample = augment(TWO, 90, rng(seed), replace(PLAIN, p_quarter=1.0))
        assert sample.valid_hw == (90, 60)
        photo_part = sample.image.transpose(1, 2, 0)[:, :60]
        side = next((k for k in (1, 3) if np.array_equal(photo_part, np.rot90(TWO.image, k))), None)
        assert side is not None
        turned[side] = sample
        assert (photo_part[sample.masks[0][:, :60]] == RED).all()
        assert sample.masks.sum(axis=(1, 2)).tolist() == [400, 400]
        assert sample.phrases == ((), ())
        assert sample.captions == ()
    assert set(turned) == {1, 3}
    alone = augment(banked_image(LEFT), 90, rng(), replace(PLAIN, p_quarter=1.0))
    assert alone.phrases == (("the square",),)  # still true


@pytest.mark.parametrize("size", [48, 90, 224])
def test_masks_stay_on_their_pixels_under_every_geometry(size):
    how = Augmentation(
        p_colour=0, p_hue=0, p_grey=0, p_blur=0, p_jpeg=0, p_rotate=0.7, p_quarter=0.3
    )
    for seed in range(60):
        sample = augment(TWO, size, rng(seed), how)
        pixels = sample.image.astype(int)
        for mask, number in zip(sample.masks, sample.object_ids, strict=True):
            channel, other = (0, 2) if number == 10 else (2, 0)
            coloured = (pixels[channel] > 150) & (pixels[other] < 100)
            either = (mask | coloured).sum()
            edge = (
                6 * either**0.5 + 8
            )  # resampling and thresholds may move the border by a bank pixel or so
            assert (mask ^ coloured).sum() <= edge, f"seed {seed}"
        assert not sample.masks[:, sample.valid_hw[0] :].any()
        assert not sample.masks[:, :, sample.valid_hw[1] :].any()


def test_published_jitter_shows_images_from_a_tenth_to_twice_the_canvas():
    samples = [augment(TWO, 90, rng(seed), Augmentation.published()) for seed in range(80)]
    shares = np.array([max(sample.valid_hw) / 90 for sample in samples])
    assert 0.1 <= shares.min() < 0.2
    assert 0.35 < (shares == 1.0).mean() < 0.7  # larger than the canvas: a part of the photo
    plain = {(128, 128, 128), RED, BLUE}
    whole = next(sample for sample in samples if max(sample.valid_hw) / 90 > 0.95)
    colours = whole.image[:, : whole.valid_hw[0], : whole.valid_hw[1]].reshape(3, -1).T
    assert np.mean([tuple(colour) in plain for colour in colours.tolist()]) > 0.5  # all but borders
    first = {sample.phrases[0][0] for sample in samples if len(sample.masks) == 2}
    assert first >= {"the square on the left", "the square on the right"}  # flips


def test_zoom_keeps_its_object_whole():
    for seed in range(40):
        sample = augment(
            banked_image(LEFT),
            100,
            rng(seed),
            replace(PLAIN, p_zoom=1.0, p_whole=0.0, zoom=(1.2, 2.0)),
        )
        visible = sample.masks[0].sum() / (400 * (100 / max(33.4, 20 * 1.2)) ** 2)
        assert sample.masks[0].any()
        assert visible <= 1.1
        rows, columns = np.nonzero(sample.masks[0])
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 2


def window_without_the_right_square():
    how = replace(PLAIN, p_zoom=1.0, p_whole=0.0, zoom=(1.2, 1.3), max_enlargement=9.0)
    for seed in range(50):
        sample = augment(TWO, 90, rng(seed), how)
        if sample.object_ids == (10,):
            return sample
    raise AssertionError("no window shows the left square alone")


def test_a_crop_drops_phrases_that_it_makes_untrue():
    sample = window_without_the_right_square()
    assert sample.phrases == (("the red square", "the square"),)
    assert sample.captions == ()


def test_names_out_of_sight_are_absent_and_crowds_are_present():
    crowd = banked(12, "kite", (40, 0, 50, 10), is_crowd=True)
    sample = augment(banked_image(LEFT, RIGHT, crowd), 90, rng(), PLAIN)
    assert sample.names == ("square", "square")
    assert sample.ignore[0:10, 40:50].all()
    assert sample.ignore.sum() == 100
    assert sample.present_names == {"square", "kite"}
    assert sample.absent_names == set()
    assert augment(TWO, 90, rng(), PLAIN).absent_names == {"kite"}


def test_specks_are_ignored_but_not_absent():
    speck = banked(13, "kite", (5, 5, 7, 7))
    sample = augment(banked_image(LEFT, speck), 90, rng(), PLAIN)
    assert sample.names == ("square",)
    assert sample.ignore[5:7, 5:7].all()
    assert "kite" not in sample.absent_names


def test_too_many_objects_are_thinned_out_into_ignored_pixels():
    sample = augment(TWO, 90, rng(), replace(PLAIN, max_objects=1))
    assert len(sample.names) == 1
    assert sample.ignore.sum() == 400
    assert not (sample.ignore & sample.masks[0]).any()


def test_an_image_without_objects_is_a_sample_without_masks():
    for seed in range(5):
        sample = augment(banked_image(), 64, rng(seed), Augmentation())
        assert sample.masks.shape == (0, 64, 64)
        assert sample.phrases == ()
        assert choose_objects(sample, 3, rng()).size == 0


def bank():
    other = banked_image(LEFT, set_name="duts")
    return ImageBank([TWO, banked_image(RIGHT), other])


def test_an_index_always_gives_the_same_sample():
    one, two = TrainingSampler(bank(), size=64, seed=5), TrainingSampler(bank(), size=64, seed=5)
    _ = [two[i] for i in range(7)]
    first = next(iter(islice(one, 3, None)))
    again = two[3]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.masks, again.masks)
    assert first.phrases == again.phrases
    assert not np.array_equal(first.image, TrainingSampler(bank(), size=64, seed=6)[3].image)


def test_sets_are_drawn_by_weight():
    sampler = TrainingSampler(
        bank(), size=32, weights={"coco_full": 1.0, "duts": 3.0, "elsewhere": 9.0}
    )
    drawn = [sampler[i].set_name for i in range(400)]
    assert 0.68 < drawn.count("duts") / 400 < 0.82
    alone = TrainingSampler(bank(), size=32, weights={"duts": 1.0})
    assert {alone[i].set_name for i in range(20)} == {"duts"}


def test_weights_that_draw_nothing_are_refused():
    with pytest.raises(ValueError, match="No set has a positive weight"):
        TrainingSampler(bank(), weights={"ccp": 1.0})


def test_a_window_about_a_class_keeps_an_object_of_it():
    kite = banked(12, "kite", (60, 20, 80, 40))
    how = replace(PLAIN, p_zoom=1.0, p_whole=0.0, zoom=(1.2, 1.3), max_enlargement=9.0)
    for seed in range(20):
        assert "kite" in augment(banked_image(LEFT, kite), 90, rng(seed), how, "kite").names
        assert augment(banked_image(LEFT), 90, rng(seed), how, "kite").names == (
            "square",
        )  # shows none
    nameless = banked_image(LEFT, banked(13, "", (60, 20, 80, 40)))
    seen = {augment(nameless, 90, rng(seed), how).names for seed in range(20)}
    assert {
        ("square",),
        ("",),
    } <= seen  # asked about nothing, it keeps what has a name as often as what has none
    both = ImageBank([banked_image(LEFT, kite), banked_image(LEFT)])
    sampler = TrainingSampler(both, size=90, augmentation=how)
    assert all("kite" in sampler.of_class("kite", index).names for index in range(10))
    assert all(
        "kite" in sampler.partner(replace(sampler[0], names=("kite",)), index).names
        for index in range(10)
    )


def test_chosen_objects_are_balanced_by_class_and_not_tiny():
    windows = [banked(20 + i, "window", (4 * i, 0, 4 * i + 3, 5)) for i in range(20)]
    speck = banked(50, "ant", (0, 50, 4, 53))
    sample = augment(banked_image(*windows, LEFT, speck), 90, rng(), replace(PLAIN, min_visible=1))
    picks = [choose_objects(sample, 1, rng(seed), min_area=0.0025)[0] for seed in range(200)]
    names = [sample.names[row] for row in picks]
    assert 70 < names.count("square") < 130
    assert "ant" not in names
    several = choose_objects(sample, 30, rng(), min_area=0.0)
    assert len(set(several.tolist())) == len(several) == 22


def test_chosen_objects_can_be_things_only():
    lawn = banked(60, "grass", (0, 45, 90, 60), is_thing=False)
    sample = augment(banked_image(LEFT, lawn), 90, rng(), PLAIN)
    assert [sample.names[row] for row in choose_objects(sample, 5, rng(), things_only=True)] == [
        "square"
    ]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the leftmost bowl", "the rightmost bowl"),
        ("Left dog and right cat", "Right dog and left cat"),
        ("the man on the right-hand side", "the man on the left-hand side"),
        ("a man standing upright", "a man standing upright"),
        ("a batter right before the swing", "a batter right before the swing"),
        ("a bright red kite", "a bright red kite"),
    ],
)
def test_mirrored_phrases(phrase, expected):
    assert mirror_phrase(phrase) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the bigger dog", True),
        ("the dog in the middle", True),
        ("left dog", True),
        ("the brown dog", False),
    ],
)
def test_phrases_that_compare(phrase, expected):
    assert is_relative_phrase(phrase) is expected


def pasted(sample, donor, seed=0, **how):
    return paste_object(sample, donor, rng(seed), **how)


def test_a_thing_of_another_image_stands_in_front():
    sample = augment(banked_image(LEFT), 90, rng(), PLAIN)
    donor = replace(augment(banked_image(RIGHT), 90, rng(), PLAIN), names=("kite",))
    places = set()
    for seed in range(12):
        joined = pasted(sample, donor, seed)
        thing = joined.masks[-1]
        assert joined.names[-1] == "kite"
        assert joined.object_ids == (*((10,) if len(joined.masks) == 2 else ()), 11)
        assert joined.is_thing.tolist() == [True] * len(joined.masks)
        assert joined.phrases == ((),) * len(joined.masks)
        assert joined.captions == ()
        assert "kite" in joined.present_names
        assert not joined.masks[:-1].any(axis=0)[thing].any()
        assert np.count_nonzero(thing) == np.count_nonzero(donor.masks[0])
        assert not thing[60:].any()  # padding stays empty
        inner = (
            thing
            & np.roll(thing, 2, 0)
            & np.roll(thing, -2, 0)
            & np.roll(thing, 2, 1)
            & np.roll(thing, -2, 1)
        )
        assert (np.abs(joined.image[:, inner].astype(int).T - BLUE) <= 12).all()
        far = ~(thing | sample.masks[0])
        assert (joined.image[:, far] == sample.image[:, far]).all()
        places.add(tuple(np.argwhere(thing)[0].tolist()))
    assert len(places) > 6


def test_the_class_that_was_asked_for_is_pasted_before_others():
    sample = augment(banked_image(LEFT), 90, rng(), PLAIN)
    donor = replace(augment(TWO, 90, rng(), PLAIN), names=("square", "kite"))
    assert {pasted(sample, donor, seed, about="kite").names[-1] for seed in range(8)} == {"kite"}
    assert {pasted(sample, donor, seed).names[-1] for seed in range(8)} == {"square", "kite"}
    assert pasted(sample, donor, about="ball").names[-1] in {"square", "kite"}


def test_what_is_covered_is_smaller_or_gone():
    sample = augment(banked_image(LEFT), 90, rng(), PLAIN)
    donor = replace(augment(banked_image(RIGHT), 90, rng(), PLAIN), names=("kite",))
    hidden = [pasted(sample, donor, seed, min_visible=401) for seed in range(3)]
    assert [joined.names for joined in hidden] == [("kite",)] * 3
    assert all((joined.ignore | joined.masks[-1])[sample.masks[0]].all() for joined in hidden)
    assert not any(joined.ignore[joined.masks[-1]].any() for joined in hidden)


@pytest.mark.parametrize(
    "change",
    [
        {"names": ("ball",)},  # not annotated completely here
        {"is_thing": np.array([False])},
        {"masks": np.ones((1, 90, 90), bool)},  # cut off by the window, and too large
        {"masks": np.zeros((1, 90, 90), bool)},
    ],
)
def test_nothing_is_pasted_that_does_not_fit(change):
    sample = augment(banked_image(LEFT), 90, rng(), PLAIN)
    donor = replace(augment(banked_image(RIGHT), 90, rng(), PLAIN), **change)
    assert pasted(sample, donor) is sample
