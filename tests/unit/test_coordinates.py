"""One rule of coordinates, in Python, on the command line and in JSON: points name pixels, outlines run along edges."""

import json

import numpy as np
import pytest

import seem
from seem.cli.prompts import read_objects
from seem.rasterize import RasterFrame
from tiny import picture, tiny_model

WHOLE_AND_FRACTIONAL = [
    ([("point", "20,14")], [("point", "20.0,14.0")]),
    ([("stroke", "4,4 30,20")], [("stroke", "4.0,4.0 30.0,20.0")]),
    ([("scribble", "4,4 30,20; 9,9 12,30")], [("scribble", "4.0,4 30,20.0; 9,9.0 12.0,30")]),
    ([("polygon", "2,2 34,2 34,26")], [("polygon", "2.0,2.0 34.0,2.0 34.0,26.0")]),
    ([("box", "3,4,30,20")], [("box", "3.0,4.0,30.0,20.0")]),
]
KINDS = (seem.Point, seem.Stroke, seem.Scribble, seem.Polygon, seem.Box)
BY_NAME = {kind.__name__.lower(): kind for kind in KINDS}


@pytest.fixture(scope="module")
def photo():
    return tiny_model("nano").encode(picture(53, 37))


@pytest.mark.parametrize(("whole", "fractional"), WHOLE_AND_FRACTIONAL)
def test_whole_numbers_and_floats_give_the_same_answer(photo, whole, fractional):
    results = [photo.segment(*read_objects(given)[0]) for given in (whole, fractional)]
    assert np.array_equal(results[0].masks, results[1].masks)
    assert np.array_equal(results[0].logits, results[1].logits)


@pytest.mark.parametrize("given", [given for pair in WHOLE_AND_FRACTIONAL for given in pair])
def test_the_prompts_of_a_result_are_read_back_from_its_json(photo, given):
    (prompts,) = read_objects(given)
    record = json.loads(json.dumps(photo.segment(*prompts).to_coco()))
    ((described,),) = record["seem"]["prompts"]
    again = BY_NAME[described.pop("kind")](**described)
    assert again == prompts[0]


def test_a_click_marks_its_own_pixel_and_a_box_of_one_pixel_the_same():
    frame = RasterFrame((20, 30), (20, 30))
    click, box = seem.Point(7, 5).rasterize(frame), seem.Box(7, 5, 8, 6).rasterize(frame)
    square = np.argwhere(click)
    assert square.mean(axis=0).tolist() == [5, 7]
    assert np.argwhere(box).tolist() == [[5, 7]]
