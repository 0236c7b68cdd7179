"""Next clicks: the literature's rule by hand, the released code's rule against its recording."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from seem.simulation.next_click import (
    Click,
    approximate_depth,
    first_click,
    ritm_click,
    seem_first_clicks,
    seem_next_clicks,
)


def picture(*rows):
    """Read a mask from text: '#' is true."""
    return np.array([[letter == "#" for letter in row] for row in rows])


NOTHING = np.zeros((5, 7), bool)
SQUARE = picture(".......", "..###..", "..###..", "..###..", ".......")


def test_the_first_click_is_the_middle():
    assert first_click(SQUARE) == Click(3, 2, True)


def test_the_frame_is_a_border():
    assert first_click(np.ones((5, 7), bool)) == Click(
        2, 2, True
    )  # depth 3 from x = 2 on: first in row order


def test_surplus_is_clicked_negatively():
    predicted = SQUARE | picture("#......", "......#", "......#", "......#", ".......")
    assert ritm_click(SQUARE, predicted) == Click(0, 0, False)


def test_the_deeper_error_is_clicked():
    predicted = picture("##.....", "##.....", "##.....", ".......", ".......")
    assert ritm_click(SQUARE, predicted) == Click(3, 2, True)


def test_equal_depth_is_negative():
    truth = picture("#......", ".......", ".......", ".......", ".......")
    predicted = picture("......#", ".......", ".......", ".......", ".......")
    assert ritm_click(truth, predicted) == Click(6, 0, False)


def test_clicked_pixels_are_not_clicked_again():
    clicked = NOTHING.copy()
    clicked[2, 3] = True
    assert ritm_click(SQUARE, NOTHING, clicked) == Click(2, 1, True)


def test_ignored_pixels_are_no_error():
    truth = SQUARE.astype(np.int8)
    truth[1:4, 2:4] = -1
    assert ritm_click(truth, NOTHING) == Click(4, 1, True)
    truth[truth == 1] = -1
    assert ritm_click(truth, NOTHING) is None


def test_no_error_means_no_click():
    assert ritm_click(SQUARE, SQUARE) is None
    assert first_click(NOTHING) is None


def test_distances_are_exact():
    rng = np.random.default_rng(0)
    for _ in range(20):
        coarse = rng.random((8, 11)) < 0.8
        truth = np.kron(coarse, np.ones((9, 7), bool))
        depth = distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
        y, x = divmod(int(depth.argmax()), truth.shape[1])
        assert first_click(truth) == Click(x, y, True)


def peeled(region):
    """The approximate distance transform as it is defined: ring after ring, by convolution."""
    side, corner = math.exp(-1 / 0.35), math.exp(-math.sqrt(2) / 0.35)
    taps = torch.tensor([[corner, side, corner], [side, 1.0, side], [corner, side, corner]])[
        None, None
    ]
    outside = F.pad((~region).float(), (1, 1, 1, 1), value=1.0)
    depth = torch.zeros_like(outside)
    for number in range(max(outside.shape[-2:])):
        step = -0.35 * torch.log(
            F.conv2d(F.pad(outside[:, None], (1, 1, 1, 1), mode="replicate"), taps)[:, 0]
        )
        ring = (step > 0) & torch.isfinite(step)
        depth = torch.where(ring, depth + (3 * number // 2 + step), depth)
        outside = torch.where(ring, 1.0, outside)
    return depth[..., 1:-1, 1:-1]


def blobs(rng, hw):
    """A random region: coarse blocks, each pixel flipped now and then; sometimes everything or nothing."""
    coarse = rng.random((-(-hw[0] // 9), -(-hw[1] // 7))) < rng.choice([0.0, 0.3, 0.6, 0.9, 1.0])
    fine = np.kron(coarse, np.ones((9, 7), bool))[: hw[0], : hw[1]]
    return fine ^ (rng.random(hw) < rng.choice([0.0, 0.02, 0.2]))


@pytest.mark.parametrize("hw", [(1, 1), (2, 9), (17, 23), (40, 31), (70, 96)])
def test_approximate_depth_is_what_peeling_gives(hw):
    rng = np.random.default_rng(hw[0])
    regions = torch.from_numpy(np.stack([blobs(rng, hw) for _ in range(40)]))
    depth = peeled(regions)
    assert torch.equal(approximate_depth(regions), depth)
    middles = seem_first_clicks(regions)
    for region, own, click in zip(regions, depth, middles, strict=True):
        y, x = divmod(int(own.flatten().argmax()), hw[1])
        expected = torch.zeros(hw, dtype=torch.bool)
        expected[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = region.any()
        assert torch.equal(click, expected)


def test_clicks_are_those_of_peeling_on_large_regions():
    rows, columns = torch.meshgrid(torch.arange(300), torch.arange(260), indexing="ij")
    disc = (rows - 150) ** 2 + (columns - 120) ** 2 < 110**2
    regions = torch.stack([disc, disc & (columns > 90), ~disc, torch.ones_like(disc)])
    depth = peeled(regions)
    assert torch.equal(approximate_depth(regions), depth)
    assert [tuple(click.nonzero()[4].tolist()) for click in seem_first_clicks(regions)] == [
        divmod(int(own.flatten().argmax()), 260) for own in depth
    ]


def test_approximate_depth_grows_inward():
    depth = approximate_depth(torch.from_numpy(SQUARE)[None])[0]
    assert (depth[~torch.from_numpy(SQUARE)] == 0).all()
    assert depth.argmax() == 2 * 7 + 3
    assert depth[2, 3] > depth[1, 3] > 0


def tensors(*masks):
    return torch.from_numpy(np.stack(masks))


def logits(*masks):
    return torch.where(tensors(*masks), 5.0, -5.0)


def test_a_missing_object_gets_a_positive_click_and_a_finished_one_none():
    truth = np.zeros((32, 32), bool)
    truth[5:26, 5:26] = True
    empty = tensors(np.zeros_like(truth)).expand(2, -1, -1)
    after = seem_next_clicks(
        tensors(truth, truth), logits(np.zeros_like(truth), truth), empty, empty
    )
    assert after.positive[0].nonzero().tolist() == [
        [y, x] for y in (14, 15, 16) for x in (14, 15, 16)
    ]
    assert not after.positive[1].any()
    assert not after.negative.any()


def test_earlier_prompts_stay_and_are_no_error():
    truth = np.zeros((32, 32), bool)
    truth[5:26, 5:26] = True
    before = np.zeros_like(truth)
    before[5:26, 5:20] = True  # only a strip of the missing object is left
    none = np.zeros_like(truth)
    after = seem_next_clicks(tensors(truth), logits(none), tensors(before), tensors(none))
    fresh = (after.positive & ~tensors(before)).nonzero()
    assert fresh.numel() > 0
    assert (fresh[:, 2] >= 20).all()
    assert (after.positive & tensors(before)).sum() == before.sum()


def test_first_clicks_are_three_by_three_and_empty_for_nothing():
    clicks = seem_first_clicks(tensors(SQUARE, NOTHING))
    assert clicks.sum(dim=(1, 2)).tolist() == [9, 0]


def test_the_recorded_clicks_are_met(parity_dir, shared):
    recorded = np.load(parity_dir / "fixtures" / "click_simulation.npz")

    def unpacked(name, width):
        return torch.from_numpy(np.unpackbits(recorded[name], axis=-1)[..., :width].astype(bool))

    truth = unpacked("gt", 110)
    depth = approximate_depth(truth)
    assert torch.allclose(depth, torch.from_numpy(recorded["dt"]), rtol=0, atol=1e-4)
    middles = seem_first_clicks(truth)
    for middle, (y, x) in zip(middles, recorded["first_click"].tolist(), strict=True):
        assert middle[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].all()
        assert middle.sum() <= 9
    canvas = torch.zeros(5, 96, 112, dtype=torch.bool)
    canvas[:, :90, :110] = truth
    after = seem_next_clicks(
        canvas,
        torch.from_numpy(recorded["prev_mask"][0]),
        unpacked("pos_in", 112),
        unpacked("neg_in", 112),
    )
    assert torch.equal(after.positive, unpacked("pos_out", 112))
    assert torch.equal(after.negative, unpacked("neg_out", 112))
