"""Old names of attributes are read for one more version, with a warning that says the new one."""

import numpy as np
import pytest

import seem
from seem.results import Labels, Provenance, Results

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


@pytest.mark.parametrize(
    ("read_old", "read_new"),
    [
        (lambda result: result.photo, lambda result: result.image),
        (lambda result: result.photo_hw, lambda result: result.image_hw),
        (lambda result: result.provenance.photo_name, lambda result: result.provenance.image_name),
    ],
)
def test_old_attributes_of_a_result_still_answer(result, read_old, read_new):
    with pytest.warns(DeprecationWarning, match="is now image"):
        old = read_old(result)
    assert old is read_new(result) or old == read_new(result)


def test_a_reference_still_has_its_photo():
    reference = seem.Reference(IMAGE, seem.Box(0, 0, 2, 2))
    with pytest.warns(DeprecationWarning, match=r"Reference\.photo is now image"):
        assert getattr(reference, "photo") is reference.image  # noqa: B009  (the name is made at run time)
