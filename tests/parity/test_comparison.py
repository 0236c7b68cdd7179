"""The judge judged: what it lets pass and what it does not."""

import numpy as np
import pytest
import torch

from parity.comparison import Comparison, Tolerance
from parity.recording import Recording, sliced

TOLERANCE = Tolerance(vectors=1e-4, masks=1e-3)


def compared(recorded, ours):
    """Compare one array of vectors."""
    compare = Comparison(Recording({"said": np.asarray(recorded, np.float32)}), TOLERANCE)
    compare.vectors("said", torch.as_tensor(ours, dtype=torch.float64))
    return compare


@pytest.mark.parametrize(
    ("error", "ok"),
    [(0.0, True), (9e-5, True), (1.1e-4, False), (-1.1e-4, False), (float("nan"), False)],
)
def test_errors_are_held_to_the_limit(error, ok):
    compare = compared(np.zeros((1, 4)), torch.tensor([[0.0, error, 0.0, 0.0]]))
    assert (compare.complaints() == []) is ok


def test_errors_are_relative_to_a_spread_above_one():
    wide = np.array([[-1000.0, 1000.0]])
    assert compared(wide, torch.tensor(wide) + 0.1).complaints() == []
    narrow = np.array([[-0.001, 0.001]])
    assert compared(narrow, torch.tensor(narrow) + 2e-4).complaints() != []


def test_masks_have_a_limit_of_their_own():
    compare = Comparison(Recording({"masks": np.zeros((1, 2, 4, 4), np.float32)}), TOLERANCE)
    compare.masks("masks", torch.full((1, 2, 4, 4), 5e-4))
    assert compare.complaints() == []


def test_another_shape_is_no_match():
    with pytest.raises(AssertionError, match=r"said: ours is \[1, 3\], recorded \[1, 4\]"):
        compared(np.zeros((1, 4)), torch.zeros(1, 3))


def test_arrays_that_nobody_looked_at_are_named():
    compare = Comparison(Recording({"said": np.zeros(2), "forgotten": np.zeros(2)}), TOLERANCE)
    compare.exact("said", torch.zeros(2))
    assert compare.complaints() == ["nothing was compared with forgotten"]


def test_a_case_that_compares_nothing_is_off():
    assert Comparison(Recording({}), TOLERANCE).complaints() == ["nothing was compared"]


def test_decisions_are_equal_or_off():
    compare = Comparison(Recording({"matched": np.array([3, 1])}), TOLERANCE)
    compare.exact("matched", torch.tensor([3, 2]))
    assert compare.complaints() == ["1 entries of matched is off, allowed 0"]


@pytest.mark.parametrize(
    ("logit", "recorded", "ok"),
    [
        (2.0, True, True),
        (2.0, False, False),
        (-2.0, True, False),
        (5e-4, False, True),
        (-5e-4, True, True),
    ],
)
def test_only_sure_pixels_of_a_mask_are_decisions(logit, recorded, ok):
    compare = Comparison(Recording({"mask": np.array([0])}), TOLERANCE)
    compare.recording.compared.add("mask")
    compare.foreground("mask", torch.tensor([logit]), torch.tensor([recorded]))
    assert (compare.complaints() == []) is ok


def test_the_largest_error_is_named():
    compare = Comparison(
        Recording({"first": np.zeros(3), "second": np.zeros(3), "third": np.zeros(3)}), TOLERANCE
    )
    compare.vectors("first", torch.full((3,), 2e-6))
    compare.masks("second", torch.full((3,), 3e-5))
    compare.exact("third", torch.zeros(3))
    assert compare.summary() == "3.0e-05 second"
    assert compare.num_off == 0


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pred_masks", (1, 12, 8, 8)),
        ("pred_masks_q4", (1, 3, 8, 8)),
        ("mask_features_c4_s2", (1, 3, 4, 4)),
        ("feat_res2_stride4", (1, 12, 2, 2)),
        ("aux0_smasks_q5", (1, 3, 8, 8)),
    ],
)
def test_names_say_how_arrays_are_sliced(name, shape):
    assert sliced(name, torch.zeros(1, 12, 8, 8)).shape == shape
