"""What rounding may have turned, and how that is found out."""

import numpy as np
import pytest
import torch

from parity.comparison import Comparison, Tolerance
from parity.recording import Recording
from parity.thresholds import MAX_FLIPS, TRIES_PER_FLIP, settled
from seem.models.decoder import decoder
from seem.models.ops.masks import visible_pixels

TOLERANCE = Tolerance(vectors=1e-4, masks=1e-4, noise=1e-5)
WEIGHT = 0.01  # how much a pixel moves the answer


def compared_at(logits, recorded, offset=0.0, asks=None):
    """Ask a network of one layer whose answer is what it looked at; the recording looked at `recorded`."""
    logits = torch.tensor(logits, dtype=torch.float64).reshape(1, 1, 2, -1)

    def ask():
        if asks is not None:
            asks.append(1)
        compare = Comparison(
            Recording({"seen": WEIGHT * np.array(recorded, np.float64)}), TOLERANCE
        )
        compare.vectors("seen", WEIGHT * decoder.visible_pixels(logits).flatten().double() + offset)
        return compare

    return settled(ask, TOLERANCE.noise)


VISIBLE = [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("logits", "explained"),
    [
        ([2.0, -3.0, 1.0, -1.0], True),
        ([2.0, 1e-6, 1.0, -1.0], True),
        ([2.0, 1e-6, -2e-6, 3e-6], True),
        ([2.0, 1e-6, 3e-6, -2e-6], True),
        ([-1e-6, 1e-6, -1e-6, 1e-6], False),
        ([2.0, 1e-4, 1.0, -1.0], False),
        ([2.0, 0.5, 1e-6, -1e-6], False),
    ],
    ids=["equal", "one", "three", "one-of-three", "more-than-three", "not-near", "another-is-near"],
)
def test_only_pixels_on_the_edge_can_explain(logits, explained):
    assert (compared_at(logits, VISIBLE).complaints() == []) is explained


def test_what_was_turned_is_said():
    assert compared_at([2.0, -3.0, 1.0, -1.0], VISIBLE).summary() == "0.0e+00 seen"
    assert (
        compared_at([2.0, 2e-6, 1.0, -1.0], VISIBLE).summary()
        == "0.0e+00 seen, with a pixel at 2e-06 turned"
    )


def test_turning_is_no_excuse_for_anything_else():
    assert compared_at([2.0, 1e-6, 1.0, -1.0], VISIBLE, offset=5e-4).complaints() != []


def test_the_pixel_that_explains_most_is_turned_though_a_nearer_one_helps_too():
    """The nearer pixel's query reads the other's: turning it puts half of the answer right, and hides the cause."""
    logits = torch.tensor([1e-6, 2e-6], dtype=torch.float64).reshape(1, 1, 1, 2)

    def ask():
        compare = Comparison(Recording({"answer": np.array([1.0, 1.0, 1.0, 1.0])}), TOLERANCE)
        first, second = decoder.visible_pixels(logits).flatten().tolist()
        right = {(1, 1): 0, (0, 1): 2, (1, 0): 4, (0, 0): 2}[(first, second)]
        compare.vectors("answer", torch.tensor([1.0] * right + [1.01] * (4 - right)).double())
        return compare

    assert settled(ask, TOLERANCE.noise).complaints() == []


def test_a_case_that_is_right_is_asked_once_and_one_far_off_too():
    for offset in (0.0, 1.0):
        asks = []
        compared_at([2.0, 1e-6, 1.0, -1.0], [1, 1, 1, 0], offset, asks)
        assert len(asks) == 1


def test_the_search_ends():
    asks = []
    compared_at([1e-6] * 64, [0] * 32 + [1] * 32, 0.0, asks)
    assert MAX_FLIPS < len(asks) <= MAX_FLIPS * TRIES_PER_FLIP + 1


def test_the_network_is_as_before():
    compared_at([2.0, 1e-6, 1.0, -1.0], VISIBLE)
    assert decoder.visible_pixels is visible_pixels
