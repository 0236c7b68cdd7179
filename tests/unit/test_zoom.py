"""Zoom-in refinement: where it looks, what it carries along, and that two answers become one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import seem
from seem.inference import prompt_decoder
from seem.inference.zoom import (
    MAX_IMAGE_SHARE,
    Window,
    blend_logits,
    previous_mask_in,
    prompts_in_window,
    shift_prompt,
    to_previous_mask,
    window_around,
)
from tiny import tiny_model

PHOTO = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def shown(box, hw=(120, 160)):
    x0, y0, x1, y1 = box
    mask = np.zeros(hw, bool)
    mask[y0:y1, x0:x1] = True
    return mask


# ------------------------------------------------------------------------------------------------ windows


def test_the_window_is_a_square_around_what_it_must_show():
    window = window_around(shown((60, 40, 100, 60)), (120, 160))
    assert window.hw[0] == pytest.approx(60, abs=1)  # 1.5 longer sides
    assert window.hw[1] == pytest.approx(60, abs=1)
    assert (window.x0 + window.x1) / 2 == pytest.approx(80, abs=1)
    assert (window.y0 + window.y1) / 2 == pytest.approx(50, abs=1)


def test_the_window_is_cut_at_the_border_and_never_tiny():
    corner = window_around(shown((0, 0, 4, 4)), (120, 160))
    assert corner.box[:2] == (0, 0)
    assert min(corner.hw) >= 20


def test_other_resolutions_show_the_same_place():
    fine = window_around(shown((60, 40, 100, 60)), (120, 160))
    coarse = window_around(shown((30, 20, 50, 30), (60, 80)), (120, 160))
    assert coarse == fine


@pytest.mark.parametrize(
    "mask", [shown((0, 0, 0, 0)), shown((0, 0, 160, 120)), shown((20, 10, 150, 110))]
)
def test_nothing_is_to_be_gained_from_nothing_or_nearly_everything(mask):
    assert window_around(mask, (120, 160)) is None
    assert MAX_IMAGE_SHARE < 1


def test_an_earlier_window_serves_while_it_shows_enough_from_near_enough():
    mine = Window(40, 40, 80, 80)
    assert Window(36, 36, 84, 84).can_replace(mine)
    assert not Window(44, 40, 84, 80).can_replace(mine)  # cuts it
    assert not Window(0, 0, 160, 120).can_replace(mine)  # too far away


# ------------------------------------------------------------------------------------------------ prompts

WINDOW = Window(40, 30, 100, 90)


@pytest.mark.parametrize(
    ("prompt", "there"),
    [
        (seem.Point(50, 40), seem.Point(10, 10)),
        (seem.Point(50.0, 40.5, positive=False), seem.Point(10.0, 10.5, positive=False)),
        (seem.Box(45, 35, 65, 55), seem.Box(5, 5, 25, 25)),
        (seem.Stroke([(50, 40), (60, 50)], width=3), seem.Stroke([(10, 10), (20, 20)], width=3)),
        (
            seem.Scribble([[(50, 40), (60, 50)]], width=3, positive=False),
            seem.Scribble([[(10, 10), (20, 20)]], width=3, positive=False),
        ),
        (
            seem.Polygon([(50, 40), (60, 40), (60, 60)]),
            seem.Polygon([(10, 10), (20, 10), (20, 30)]),
        ),
    ],
)
def test_prompts_are_carried_into_the_window(prompt, there):
    assert shift_prompt(prompt, WINDOW) == there
    assert prompts_in_window(WINDOW, [prompt]) == (there,)


def test_masks_are_cut_and_logits_left_out():
    carried = shift_prompt(seem.Mask(shown((50, 40, 120, 100))), WINDOW)
    assert np.array_equal(carried.array, shown((10, 10, 60, 60), (60, 60)))
    assert shift_prompt(seem.Mask(shown((0, 0, 10, 10))), WINDOW) is None
    assert shift_prompt(seem.Mask(logits=np.ones((8, 8), np.float32)), WINDOW) is None


def test_prompts_outside_the_window_are_left_out():
    outside = [
        seem.Point(10, 10, positive=False),
        seem.Box(0, 0, 20, 20),
        seem.Stroke([(0, 0), (9, 9)]),
    ]
    assert prompts_in_window(WINDOW, [*outside, seem.Point(50, 40)]) == (seem.Point(10, 10),)


# ------------------------------------------------------------------------------------------------ answers


def test_the_first_answer_is_the_previous_mask_of_the_second():
    logits = torch.full((120, 160), -3.0)
    logits[30:90, 40:100] = 5.0
    previous = previous_mask_in(WINDOW, logits, (64, 64), (64, 96))
    assert previous.shape == (1, 1, 16, 24)
    assert torch.allclose(previous[..., :16], torch.tensor(5.0))
    assert (previous[..., 16:] == 0).all()  # padding is neither
    assert to_previous_mask(logits, (48, 64), (64, 64)).shape == (16, 16)


def test_answers_are_averaged_where_both_look():
    both = blend_logits(torch.zeros(120, 160), WINDOW, torch.full((60, 60), 4.0))
    assert (both[WINDOW.pixels] == 3.0).all()  # the second counts three quarters
    assert both.sum() == 3.0 * 60 * 60


# ------------------------------------------------------------------------------------------------ through the door


@pytest.fixture
def model(monkeypatch):
    model = tiny_model("nano")
    model.encoded, model.limits = [], []
    plain = prompt_decoder.read_image

    def counted(image, max_pixels):
        model.encoded.append(image)
        model.limits.append(max_pixels)
        return plain(image, max_pixels)

    monkeypatch.setattr(prompt_decoder, "read_image", counted)
    return model


def test_the_zoomed_crop_has_the_photos_frame_and_encodes_once(model, monkeypatch):
    photo = model.encode(PHOTO)
    monkeypatch.setattr("seem.inference.zoom.window_around", lambda *_: WINDOW)
    first = photo.segment(seem.Point(60, 50))
    again = photo.segment(seem.Point(60, 50), refine="zoom")
    once_more = photo.segment(seem.Point(60, 50), refine="zoom")
    assert again.masks.shape == first.masks.shape == (1, 120, 160)
    assert again.logits.shape == first.logits.shape
    assert np.array_equal(again.masks, once_more.masks)
    assert not np.array_equal(again.logits, first.logits)
    outside = np.ones((120, 160), bool)
    outside[WINDOW.pixels] = False
    assert np.array_equal(again.masks[0][outside], first.masks[0][outside])
    assert len(model.encoded) == 2  # the photo and the window


def test_a_photo_that_was_let_in_is_let_in_closer(model, monkeypatch):
    photo = model.encode(PHOTO, max_pixels=10**12)
    monkeypatch.setattr("seem.inference.zoom.window_around", lambda *_: WINDOW)
    photo.segment(seem.Point(60, 50), refine="zoom")
    assert model.limits == [10**12, 120 * 160]


def test_words_alone_are_not_looked_at_again(model):
    photo = model.encode(PHOTO)
    plain = photo.segment(seem.Text("a cat"), text_threshold=0.0)
    again = photo.segment(seem.Text("a cat"), text_threshold=0.0, refine="zoom")
    assert np.array_equal(plain.masks, again.masks)
    assert len(model.encoded) == 1
    assert again.notes == (
        *plain.notes,
        "no zoom-in refinement: there is no visual prompt, the mask is empty, or the object is large",
    )
    whole = photo.segment(seem.Box(0, 0, 160, 120), refine="zoom")
    assert whole.notes == again.notes


def test_of_several_objects_those_are_named_that_were_not_refined(model, monkeypatch):
    photo = model.encode(PHOTO)
    monkeypatch.setattr("seem.inference.zoom.window_around", lambda *_: WINDOW)
    both = photo.segment_many(
        [[seem.Point(60, 50)], [seem.Text("a cat")]], text_threshold=0.0, refine="zoom"
    )
    assert both.notes[-1].startswith("no zoom-in refinement of object 2: there is no visual prompt")


def test_a_conversation_may_look_twice_and_remembers_what_it_saw(model, monkeypatch):
    photo = model.encode(PHOTO)
    monkeypatch.setattr("seem.inference.zoom.window_around", lambda *_: WINDOW)
    talk = photo.session(refine="zoom")
    first = talk.add(seem.Point(60, 50))
    assert np.array_equal(first.masks, photo.segment(seem.Point(60, 50), refine="zoom").masks)
    second = talk.add(seem.Point(90, 80, positive=False))
    assert second.masks.shape == (1, 120, 160)
    assert np.array_equal(talk.undo().masks, first.masks)
