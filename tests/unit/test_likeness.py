"""A reference is refused where nothing in the image is like it."""

from dataclasses import replace

import pytest
import torch

import seem
from seem.inference.region_proposals import masked_text_vectors
from tiny import picture, tiny_model

INSIDE, OUTSIDE = 5.0, -5.0


@pytest.fixture
def image():
    return tiny_model("nano").encode(picture(53, 37))


def test_a_mask_is_like_a_reference_by_the_angle_of_their_text_vectors(image):
    recognizer = image._predictor.recognizer
    encoding = image._predictor.decoder.encoding
    height, width = encoding.text_map.shape[-2:]
    logits = torch.full((height, width), OUTSIDE)
    logits[: height // 2] = INSIDE
    vector = masked_text_vectors(encoding, logits[None])[0]
    assert recognizer.likeness(logits, 3 * vector) > 0.99
    assert recognizer.likeness(logits, -vector) < 0.01
    midpoint = image.model.network.config.likeness_midpoint
    sideways = torch.randn(len(vector), generator=torch.Generator().manual_seed(0))
    sideways = sideways - (sideways @ vector) / (vector @ vector) * vector
    unit, other = vector / vector.norm(), sideways / sideways.norm()
    between = midpoint * unit + (1 - midpoint**2) ** 0.5 * other
    assert recognizer.likeness(logits, between) == pytest.approx(0.5, abs=0.01)
    assert recognizer.likeness(torch.full_like(logits, OUTSIDE), vector) < 0.5


def test_a_reference_to_what_is_not_there_is_refused_and_a_note_says_so(image, monkeypatch):
    reference = seem.Reference(image, seem.Box(5, 5, 30, 30))
    network = image.model.network
    monkeypatch.setattr(network, "config", replace(network.config, likeness_midpoint=-1.0))
    (score,) = image.segment(reference).scores
    assert score > 0.9
    monkeypatch.setattr(network, "config", replace(network.config, likeness_midpoint=1.5))
    refused = image.segment(reference)
    assert len(refused) == 0
    assert refused.notes[-1] == "what the reference shows was not found"
    assert len(image.segment(reference, text_threshold=0.0)) == 1
