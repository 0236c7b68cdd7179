"""Weights and total of the losses; every single loss is a case of `test_official.py`."""

import json

import pytest
import torch

from parity.losses import losses
from parity.recording import Folder
from seem.training.captions import TOP_HEADS, CaptionWeights
from seem.training.criterion import CriterionWeights, GroupWeights

pytestmark = pytest.mark.requires_shared


@pytest.fixture(scope="module")
def official(shared):
    return json.loads((shared / "parity" / "fixtures" / "seem_v1_weight_dict.json").read_text())


def test_weights_are_the_official_ones(official):
    weights = CriterionWeights()
    ours = {"mask": weights.objects, "spatial": weights.visual, "grounding": weights.phrases}
    for head in range(10):
        for name, group in ours.items():
            keys = [f"loss_{name}_{term}_{head}" for term in ("ce", "bce", "dice")]
            assert group == GroupWeights(*(official[key] for key in keys))


def test_weights_of_xdecoder_are_the_official_ones_and_count_at_the_top_heads(shared):
    official = json.loads(
        (shared / "parity" / "fixtures" / "xdecoder_weight_dict.json").read_text()
    )
    weights = CaptionWeights()
    ours = {
        "captioning": weights.words,
        "caption": weights.nouns,
        "retrieval_decoder": weights.retrieval,
    }
    for name, weight in ours.items():
        charged = {key: value for key, value in official.items() if key.startswith(f"loss_{name}_")}
        assert charged == {f"loss_{name}_{head}": weight for head in range(TOP_HEADS)}
    assert official["loss_retrieval_backbone_0"] == weights.backbone
    assert sum(key.startswith("loss_grounding_ce") for key in official) == TOP_HEADS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_total_is_the_weighted_sum_of_the_recording(official, shared, dtype):
    recording = Folder(shared / "parity").open("seem_losses")
    names = recording.names(r"loss_\w+")
    assert {name for name, _ in losses(recording, dtype).named()} == set(names)
    expected = sum(official[name] * recording.tensor(name).item() for name in names)
    assert losses(recording, dtype).total().item() == pytest.approx(expected, rel=1e-5)
