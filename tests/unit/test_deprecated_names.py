"""Old public names work for one more version, with a warning that says the new one."""

import numpy as np
import pytest

import seem
from seem.results import Labels, Provenance, Results
from seem.training.parts import check_parts, learning_rate_factors
from tiny import picture, tiny_model

IMAGE = np.zeros((3, 5, 3), np.uint8)


@pytest.fixture(scope="module")
def result():
    provenance = Provenance("instance", "nano", image_name="street.jpg")
    return Results.of(
        IMAGE,
        [np.ones((3, 5), bool)],
        [0.5],
        vocabulary=seem.Vocabulary.of(["cat"]),
        kind="",
        provenance=provenance,
        labels=Labels(("cat",), (1.0,)),
    )


@pytest.mark.parametrize(("old", "new"), [("photo", "image"), ("photo_hw", "image_hw")])
def test_old_attributes_of_a_result_are_still_read(result, old, new):
    with pytest.warns(DeprecationWarning, match=rf"Results\.{old} is now {new}"):
        assert getattr(result, old) is getattr(result, new) or getattr(result, old) == getattr(
            result, new
        )


def test_old_attributes_of_a_provenance_are_still_read(result):
    with pytest.warns(DeprecationWarning, match=r"Provenance\.photo_name is now image_name"):
        assert getattr(result.provenance, "photo_name") == "street.jpg"  # noqa: B009  (made at run time)


def test_a_reference_still_has_its_photo():
    reference = seem.Reference(IMAGE, seem.Box(0, 0, 2, 2))
    with pytest.warns(DeprecationWarning, match=r"Reference\.photo is now image"):
        assert getattr(reference, "photo") is reference.image  # noqa: B009  (the name is made at run time)


def test_the_rgb_image_of_a_source_by_its_old_name():
    source = tiny_model("nano").encode(picture(53, 37)).source
    with pytest.warns(DeprecationWarning, match=r"InputImage\.picture is now rgb"):
        assert getattr(source, "picture") is source.rgb  # noqa: B009  (the name is made at run time)


@pytest.mark.parametrize(
    "old", ["pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh"]
)
def test_thresholds_of_everything_by_their_old_names(old):
    encoded = tiny_model("nano").encode(picture(53, 37))
    new = old.replace("_thresh", "_threshold")
    with pytest.warns(DeprecationWarning, match=rf"everything\({old}=...\) is now {new}=..."):
        result = encoded.everything(0, **{old: 0.25})
    assert f"{old} 0.25" in result.provenance.rules[0]


def test_the_threshold_of_instances_by_its_old_name():
    encoded = tiny_model("nano").encode(picture(53, 37))
    with pytest.warns(DeprecationWarning, match="is now mask_nms_threshold"):
        encoded.instances(**{"mask_nms_thresh": 0.9})


def test_the_text_map_is_frozen_by_its_old_name():
    with pytest.warns(DeprecationWarning, match="'meaning' is now 'text-map'"):
        assert check_parts(["meaning"]) == ("text-map",)
    with pytest.warns(DeprecationWarning, match="'meaning' is now 'text-map'"):
        assert learning_rate_factors({"meaning": 0.5}) == (("text_embedding_head.", 0.5),)
