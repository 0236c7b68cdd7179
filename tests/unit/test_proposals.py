"""Clicks on a grid, for a model with a dense head."""

import pytest
import torch

from seem.inference import region_proposals
from seem.inference.region_proposals import (
    answer_grid_clicks,
    grid_clicks,
    masked_text_vectors,
    propose_regions,
)
from seem.models.decoder.draws import FairDraws
from seem.models.segmenter import unit_vectors
from seem.models.structures import ImageBatch
from tiny import tiny_network

NETWORK = tiny_network("nano")


def seen(hw=(64, 96)):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, *hw, generator=generator)
    with torch.no_grad():
        return NETWORK.encode_image(ImageBatch(pixels, (hw,)))


def test_clicks_stand_in_the_middle_of_equal_fields_of_the_photo():
    marks = grid_clicks((40, 60), (64, 64), 2)
    assert marks.shape == (4, 64, 64)
    middles = [tuple(m.nonzero().float().mean(dim=0).tolist()) for m in marks]
    assert middles == [(10, 15), (10, 45), (30, 15), (30, 45)]
    assert marks.flatten(1).sum(dim=1).tolist() == [9, 9, 9, 9]


@pytest.mark.parametrize("input_hw", [(1, 1), (2, 31), (3, 5)])
def test_clicks_of_a_tiny_photo_stay_on_it(input_hw):
    marks = grid_clicks(input_hw, (32, 32), 3)
    assert marks.flatten(1).any(dim=1).all()
    assert not marks[:, input_hw[0] :].any()
    assert not marks[:, :, input_hw[1] :].any()


def test_proposals_differ_and_come_best_first(monkeypatch):
    monkeypatch.setattr(region_proposals, "MIN_QUALITY", 0.0)
    with torch.no_grad():
        found = propose_regions(NETWORK, seen(), (60, 90), FairDraws())
        answers, quality = answer_grid_clicks(NETWORK, seen(), (60, 90), FairDraws())
    assert len(answers) == len(quality) == 49
    assert 1 <= len(found.mask_logits) <= 49
    assert found.mask_logits.shape[1:] == (16, 24)
    clicks = [
        int((answers == logits).flatten(1).all(dim=1).nonzero()[0]) for logits in found.mask_logits
    ]
    assert quality[clicks].tolist() == sorted(quality[clicks].tolist(), reverse=True)
    masks = (found.mask_logits > 0).flatten(1).float()
    shared = masks @ masks.T
    areas = masks.sum(dim=1)
    iou = shared / (areas[:, None] + areas[None] - shared)
    assert (iou - torch.eye(len(iou)) <= region_proposals.SAME_REGION_IOU + 1e-6).all()


def test_nothing_good_enough_is_nothing(monkeypatch):
    monkeypatch.setattr(region_proposals, "MIN_QUALITY", 1.1)
    with torch.no_grad():
        found = propose_regions(NETWORK, seen(), (60, 90), FairDraws())
    assert (len(found.mask_logits), len(found.class_vectors)) == (0, 0)


def test_a_mask_means_what_its_places_mean():
    image = seen()
    everywhere = torch.ones(1, 16, 24)
    wanted = image.text_map[0].flatten(1).mean(dim=1)
    assert torch.allclose(
        unit_vectors(masked_text_vectors(image, everywhere))[0], unit_vectors(wanted), atol=1e-4
    )
