"""The criterion against the recorded losses and matching of the official SEEM v1."""

import json
import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seem.training.criterion import (
    GroupWeights,
    Judgement,
    ObjectPrediction,
    ObjectTargets,
    PhrasePrediction,
    PhraseTargets,
    Prediction,
    Targets,
    Terms,
    VisualPrediction,
    VisualTargets,
    Weights,
    criterion,
)
from seem.training.matcher import match_objects

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FIXTURES = SHARED / "parity" / "fixtures"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared folder with the recordings is not there")

NUM_POINTS = 64
PHRASE_WEIGHTS = (2.0, 0.5)  # photo 0 holds referring expressions, photo 1 class names


@cache
def recording() -> dict[str, Tensor]:
    with np.load(FIXTURES / "seem_losses.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def recorded_draw(shape: tuple[int, ...]) -> Tensor:
    """The recording's rule: random numbers follow from the shape alone."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(str(shape).encode())))


def prediction(head: str, dtype: torch.dtype) -> Prediction:
    said = {name: array.to(dtype) for name, array in recording().items() if name.startswith(head)}
    return Prediction(
        objects=ObjectPrediction(said[f"{head}_pred_logits"], said[f"{head}_pred_masks"]),
        phrases=PhrasePrediction(
            said[f"{head}_pred_gtexts"], said[f"{head}_pred_gmasks"], math.exp(math.log(1 / 0.07))
        ),
        visual=VisualPrediction(
            said[f"{head}_pred_smaskembs"], said[f"{head}_pred_smasks"], said[f"{head}_pred_pspatials"]
        ),
    )


def truth(photo: int) -> Targets:
    arrays = recording()
    key = f"tgt{photo}"
    return Targets(
        objects=ObjectTargets(arrays[f"{key}_labels"], arrays[f"{key}_masks"].bool()),
        phrases=PhraseTargets(
            arrays[f"{key}_grounding_class_embs"],
            arrays[f"{key}_grounding_masks"].bool(),
            arrays[f"{key}_grounding_hash"],
            PHRASE_WEIGHTS[photo],
        ),
        visual=VisualTargets(arrays[f"{key}_gt_spatial_masks"].bool()),
    )


@cache
def answer(dtype: torch.dtype) -> Terms:
    heads = [prediction(head, dtype) for head in ("out", "aux1", "aux0")]
    return criterion(heads, [truth(0), truth(1)], recorded_draw, judgement=Judgement(num_points=NUM_POINTS))


def recorded_names() -> list[str]:
    return [
        f"loss_{g}_{t}_{i}" for i in range(3) for g in ("mask", "spatial", "grounding") for t in ("ce", "bce", "dice")
    ]


def test_every_recorded_loss_has_its_term() -> None:
    recorded = {name for name in recording() if name.startswith("loss_")}
    assert {name for name, _ in answer(torch.float32).named()} == recorded == set(recorded_names())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", recorded_names())
def test_loss_equals_the_recording(name: str, dtype: torch.dtype) -> None:
    expected = recording()[name].item()
    assert dict(answer(dtype).named())[name].item() == pytest.approx(expected, rel=1e-5, abs=0)


@pytest.mark.parametrize("photo", [0, 1])
def test_matching_equals_the_recording(photo: int) -> None:
    arrays = recording()
    match = match_objects(
        arrays["out_pred_logits"][photo],
        arrays["out_pred_masks"][photo],
        arrays[f"tgt{photo}_labels"],
        arrays[f"tgt{photo}_masks"].bool(),
        recorded_draw,
        num_points=NUM_POINTS,
    )
    assert match.queries.tolist() == arrays[f"match{photo}_src"].tolist()
    assert match.objects.tolist() == arrays[f"match{photo}_tgt"].tolist()


def test_weights_are_the_official_ones() -> None:
    official = json.loads((FIXTURES / "seem_v1_weight_dict.json").read_text())
    weights = Weights()
    ours = {"mask": weights.objects, "spatial": weights.visual, "grounding": weights.phrases}
    for head in range(10):
        for name, group in ours.items():
            keys = [f"loss_{name}_{term}_{head}" for term in ("ce", "bce", "dice")]
            assert group == GroupWeights(*(official[key] for key in keys))


def test_total_is_the_weighted_sum_of_the_recording() -> None:
    official = json.loads((FIXTURES / "seem_v1_weight_dict.json").read_text())
    expected = sum(official[name] * recording()[name].item() for name in recorded_names())
    assert answer(torch.float32).total().item() == pytest.approx(expected, rel=1e-5)
