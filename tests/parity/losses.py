"""The criterion asked what the official one was asked: predictions and truths of two photos, three heads."""

from __future__ import annotations

import math
import re
import zlib

import torch
from torch import Tensor

from parity.recording import Recording
from seem.training.criterion import (
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
    criterion,
)
from seem.training.matcher import Match, match_objects

NUM_POINTS = 64
PHRASE_WEIGHTS = (2.0, 0.5)  # photo 0 holds referring expressions, photo 1 class names
UNUSED = r"\w+_pred_(captions|stexts|nspatials)"  # heads that no loss of SEEM reads


def recorded_draw(shape: tuple[int, ...]) -> Tensor:
    """Draw as the recording did: numbers follow from the shape alone."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(str(shape).encode())))


def losses(recording: Recording, dtype: torch.dtype) -> Terms:
    """Judge all heads, the last first."""
    heads = [prediction(recording, head, dtype) for head in ("out", "aux1", "aux0")]
    truths = [truth(recording, photo) for photo in (0, 1)]
    recording.seen.update(name for name in recording.arrays if re.fullmatch(UNUSED, name))
    return criterion(heads, truths, recorded_draw, judgement=Judgement(num_points=NUM_POINTS))


def matching(recording: Recording, photo: int, dtype: torch.dtype) -> Match:
    """Match the objects of one photo to the last head's queries."""
    return match_objects(
        recording.tensor("out_pred_logits")[photo].to(dtype),
        recording.tensor("out_pred_masks")[photo].to(dtype),
        recording.tensor(f"tgt{photo}_labels"),
        recording.tensor(f"tgt{photo}_masks").bool(),
        recorded_draw,
        num_points=NUM_POINTS,
    )


def prediction(recording: Recording, head: str, dtype: torch.dtype) -> Prediction:
    """Read what one head says."""

    def said(name: str) -> Tensor:
        return recording.tensor(f"{head}_pred_{name}").to(dtype)

    return Prediction(
        objects=ObjectPrediction(said("logits"), said("masks")),
        phrases=PhrasePrediction(said("gtexts"), said("gmasks"), math.exp(-math.log(0.07))),
        visual=VisualPrediction(said("smaskembs"), said("smasks"), said("pspatials")),
    )


def truth(recording: Recording, photo: int) -> Targets:
    """Read what stands in one photo."""

    def wanted(name: str) -> Tensor:
        return recording.tensor(f"tgt{photo}_{name}")

    return Targets(
        objects=ObjectTargets(wanted("labels"), wanted("masks").bool()),
        phrases=PhraseTargets(
            wanted("grounding_class_embs"),
            wanted("grounding_masks").bool(),
            wanted("grounding_hash"),
            PHRASE_WEIGHTS[photo],
        ),
        visual=VisualTargets(wanted("gt_spatial_masks").bool()),
    )
