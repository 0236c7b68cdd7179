"""Functions for CVAT: what cvat-sdk's own driver accepts, and masks as its own codec reads them."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import seem
from seem.cvat import CvatDetection, CvatInteraction, create, to_cvat_marks
from tiny import picture, tiny_model

WIDTH, HEIGHT = 48, 40
CAT = Path(__file__).parents[2] / "examples/photos/cat.jpg"


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


def prompts(pos_points=(), neg_points=(), bounding_box=None):
    return SimpleNamespace(pos_points=pos_points, neg_points=neg_points, bounding_box=bounding_box)


def test_marks_are_pixels_and_boxes_inside_the_image():
    drawn = prompts([(3.7, 4.2), (48.0, -1.0)], [(5.5, 6.0)], ((-3.0, 2.0), (60.0, 20.5)))
    assert to_cvat_marks(drawn, (HEIGHT, WIDTH)) == [
        seem.Point(3, 4),
        seem.Point(47, 0),
        seem.Point(5, 6, positive=False),
        seem.Box(0, 2.0, 48, 20.5),
    ]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(seem.SeemError, match="pip install cvat-sdk"):
        create()


# --- cvat-sdk itself --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano():
    return seem.load("nano", "cpu")


@pytest.fixture
def sdk():
    return pytest.importorskip("cvat_sdk.auto_annotation", reason="pip install cvat-sdk")


def through_driver(function, names, context, image):
    """The shapes that the driver of cvat-sdk would upload for an image of a task with labels of these names."""
    from cvat_sdk import models
    from cvat_sdk.auto_annotation import driver

    labels = []
    for number, name in enumerate(names):
        label = models.Label(name=name, id=100 + number, attributes=[], type="any", sublabels=[])
        labels.append(label)
    mapper = driver._AnnotationMapper(
        logging.getLogger(), function.spec.labels, labels,
        allow_unmatched_labels=True, conv_mask_to_poly=context.conv_mask_to_poly,
    )  # fmt: skip
    _, shapes = mapper.validate_and_remap(function.detect(context, image), 5)
    return shapes


def context_of(**fields):
    from cvat_sdk.auto_annotation import driver

    return driver._DetectionFunctionContextImpl(frame_name="a.png", **fields)


def test_detections_are_the_masks_of_the_api(sdk, nano):
    from cvat_sdk.masks import decode_mask

    image = Image.open(CAT)
    function = CvatDetection(nano, ["cat", "dog"])
    shapes = through_driver(function, ["dog", "cat"], context_of(), image)
    expected = [one for one in nano.encode(image).instances(["cat", "dog"]) if one.mask.any()]
    assert len(shapes) == len(expected) > 0
    for shape, one in zip(shapes, expected, strict=True):
        assert (shape.type.value, shape.frame) == ("mask", 5)
        assert shape.label_id == {"dog": 100, "cat": 101}[one.label]
        mask = decode_mask(shape.points, image_width=image.width, image_height=image.height)
        np.testing.assert_array_equal(mask, one.mask)


def test_polygons_and_thresholds_are_what_cvat_asks_for(sdk, nano):
    image = Image.open(CAT)
    function = CvatDetection(nano, ["cat", "dog"])
    polygons = through_driver(function, ["dog", "cat"], context_of(conv_mask_to_poly=True), image)
    assert polygons
    for shape in polygons:
        assert shape.type.value == "polygon"
        assert len(shape.points) >= 6
    scores = [one.score for one in nano.encode(image).instances(["cat", "dog"], 0.1)]
    for threshold in (0.1, 0.5, 1.0):
        shapes = function.detect(context_of(conf_threshold=threshold), image)
        assert len(shapes) == sum(score >= threshold for score in scores)


def test_without_classes_the_labels_are_the_things_of_the_model(sdk, model):
    function = CvatDetection(model)
    names = [label.name for label in function.spec.labels]
    assert "person" in names
    assert len(names) == len(set(names))
    assert "sky-other-merged" not in names


def test_clicks_and_a_box_become_a_mask(sdk, model):
    from cvat_sdk.masks import decode_mask

    function = CvatInteraction(model)
    image = picture(WIDTH, HEIGHT)
    encoded = function.preprocess_image(None, image)
    drawn = prompts([(20.5, 10.5)], [(40.5, 30.5)], ((5.0, 6.0), (35.0, 26.0)))
    (shape,) = function.detect(None, encoded, drawn)
    marks = (seem.Point(20, 10), seem.Point(40, 30, positive=False), seem.Box(5, 6, 35, 26))
    (expected,) = model.encode(image).segment(*marks)
    mask = decode_mask(shape.points, image_width=WIDTH, image_height=HEIGHT)
    np.testing.assert_array_equal(mask, expected.mask)
    (attribute,) = shape.attributes
    assert attribute.spec_id == sdk.InteractionResultAttributes.CONFIDENCE
    assert float(attribute.value) == pytest.approx(expected.score, abs=1e-4)
    assert function.detect(None, encoded, prompts()) == []


def test_the_kinds_are_chosen_by_name(sdk):
    assert isinstance(create(kind="interaction"), CvatInteraction)
    assert [label.name for label in create(classes="cat, dog").spec.labels] == ["cat", "dog"]
    with pytest.raises(ValueError, match="'other'"):
        create(kind="other")
