"""The judge judged: what it lets pass, what it does not, and what it excuses."""

import numpy as np
import pytest
import torch

from parity.comparison import ECHO_MOVES, FLIP_MOVES, Comparison, Origin, Tolerance
from parity.recording import Recording, query_step, sliced

TOLERANCE = Tolerance(vectors=1e-4, masks=1e-3, noise=1e-5, max_echoes=1)
NEAR, FAR = 1e-6, 1.0  # margins: within and beyond the noise


def compared(recorded, ours, margins=None, tolerance=TOLERANCE):
    """Compare one array "1 q d"; margins: how near each query came to a flip."""
    compare = Comparison(Recording({"said": np.asarray(recorded, np.float32)}), tolerance)
    origin = None
    if margins is not None:
        margins = torch.tensor([margins])
        origin = Origin("object", torch.arange(margins.shape[1])[None], margins, margins.amin(dim=1))
    compare.vectors("said", torch.as_tensor(ours, dtype=torch.float64), origin)
    return compare


def queries(*errors):
    """Three numbers a query, off by so much."""
    return torch.tensor(errors, dtype=torch.float64)[None, :, None].expand(-1, -1, 3)


def judged(errors, margins, tolerance=TOLERANCE):
    return compared(np.zeros((1, len(errors), 3)), queries(*errors), margins, tolerance)


@pytest.mark.parametrize(
    ("error", "ok"), [(0.0, True), (9e-5, True), (1.1e-4, False), (-1.1e-4, False), (float("nan"), False)]
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
    ("errors", "margins", "excused"),
    [
        ([0.0, 1e-2], [FAR, NEAR], True),
        ([0.0, 1e-2], [FAR, FAR], False),
        ([0.0, 1e-2], [NEAR, FAR], False),
        ([0.0, 2 * FLIP_MOVES], [FAR, NEAR], False),
        ([0.0, ECHO_MOVES / 2], [NEAR, FAR], True),
        ([0.0, ECHO_MOVES / 2], [FAR, FAR], False),
        ([ECHO_MOVES / 2] * 2 + [0.0], [FAR, FAR, NEAR], False),
        ([1e-2] * 3, [NEAR] * 3, True),
        ([1e-2] * 4, [NEAR] * 4, False),
    ],
    ids=[
        "flipped",
        "no-evidence",
        "evidence-of-another",
        "too-far",
        "heard-of-a-flip",
        "heard-of-nothing",
        "too-many-heard",
        "three-flipped",
        "too-many-flipped",
    ],
)
def test_flips_are_excused_with_evidence_alone(errors, margins, excused):
    assert (judged(errors, margins).complaints() == []) is excused


def test_against_float64_nothing_is_excused():
    assert judged([1e-3], [0.0], Tolerance(1e-5, 1e-5)).complaints() != []


def test_excused_queries_are_reported():
    compare = judged([2e-5, 1e-2, 5e-4], [FAR, NEAR, FAR])
    assert compare.complaints() == []
    assert compare.flips == [("object", 0, 1)]
    assert compare.summary() == "2.0e-05 said but for 1 flipped queries and 1 that heard of it"


@pytest.mark.parametrize(
    ("name", "shape", "step"),
    [
        ("pred_masks", (1, 12, 8, 8), 1),
        ("pred_masks_q4", (1, 3, 8, 8), 4),
        ("mask_features_c4_s2", (1, 3, 4, 4), 1),
        ("feat_res2_stride4", (1, 12, 2, 2), 1),
        ("ms2_c4", (1, 3, 8, 8), 1),
    ],
)
def test_names_say_how_arrays_are_sliced(name, shape, step):
    assert sliced(name, torch.zeros(1, 12, 8, 8)).shape == shape
    assert query_step(name) == step
