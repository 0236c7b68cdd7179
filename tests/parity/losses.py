"""The criteria asked what the official ones were asked: predictions and truths of two photos, some heads."""

from __future__ import annotations

import re
import zlib

import torch
from torch import Tensor

from parity.recording import Recording
from seem.training.captions import CaptionPrediction, CaptionTargets, CaptionTerms, caption_terms
from seem.training.criterion import (
    CriterionOptions,
    CriterionTerms,
    HeadPrediction,
    ImageTargets,
    ObjectPrediction,
    ObjectTargets,
    PhrasePrediction,
    PhraseTargets,
    VisualPrediction,
    VisualTargets,
    criterion,
)
from seem.training.matcher import Match, match_object_queries

NUM_POINTS = 64
PHRASE_WEIGHTS = (2.0, 0.5)  # photo 0 holds referring expressions, photo 1 class names
SCALE = 1 / 0.07  # of cosines
UNUSED = r"\w+_pred_(captions|stexts|nspatials)"  # heads that no loss of SEEM reads


def recorded_draw(shape: tuple[int, ...]) -> Tensor:
    """Draw as the recording did: numbers follow from the shape alone."""
    return torch.rand(
        shape, generator=torch.Generator().manual_seed(zlib.crc32(str(shape).encode()))
    )


def losses(recording: Recording, dtype: torch.dtype) -> CriterionTerms:
    """Judge all heads, the last first."""
    heads = [prediction(recording, head, dtype) for head in ("out", "aux1", "aux0")]
    truths = [truth(recording, photo) for photo in (0, 1)]
    recording.compared.update(name for name in recording.arrays if re.fullmatch(UNUSED, name))
    return criterion(heads, truths, recorded_draw, options=CriterionOptions(num_points=NUM_POINTS))


def matching(recording: Recording, photo: int, dtype: torch.dtype) -> Match:
    """Match the objects of one photo to the last head's queries."""
    return match_object_queries(
        recording.tensor("out_pred_logits")[photo].to(dtype),
        recording.tensor("out_pred_masks")[photo].to(dtype),
        recording.tensor(f"tgt{photo}_labels"),
        recording.tensor(f"tgt{photo}_masks").bool(),
        recorded_draw,
        num_points=NUM_POINTS,
    )


def prediction(recording: Recording, head: str, dtype: torch.dtype) -> HeadPrediction:
    """Read what one head says."""

    def recorded(name: str) -> Tensor:
        return recording.tensor(f"{head}_pred_{name}").to(dtype)

    return HeadPrediction(
        objects=ObjectPrediction(recorded("logits"), recorded("masks")),
        phrases=PhrasePrediction(recorded("gtexts"), recorded("gmasks"), SCALE),
        visual=VisualPrediction(recorded("smaskembs"), recorded("smasks"), recorded("pspatials")),
    )


def truth(recording: Recording, photo: int) -> ImageTargets:
    """Read what stands in one photo."""

    def wanted(name: str) -> Tensor:
        return recording.tensor(f"tgt{photo}_{name}")

    return ImageTargets(
        objects=ObjectTargets(wanted("labels"), wanted("masks").bool()),
        phrases=PhraseTargets(
            wanted("grounding_class_embs"),
            wanted("grounding_masks").bool(),
            wanted("grounding_hash"),
            PHRASE_WEIGHTS[photo],
        ),
        visual=VisualTargets(wanted("gt_spatial_masks").bool()),
    )


def caption_losses(recording: Recording, dtype: torch.dtype) -> CaptionTerms:
    """Judge captions and retrieval at two heads, the last first."""

    def wanted(name: str) -> Tensor:
        both = torch.cat([recording.tensor(f"tgt{photo}_caption_{name}") for photo in (0, 1)])
        return both.to(dtype) if both.is_floating_point() else both

    def recorded(head: str) -> CaptionPrediction:
        words, all_queries = (
            recording.tensor(f"{head}_pred_{name}").to(dtype)
            for name in ("captionings", "captions")
        )
        return CaptionPrediction(words, all_queries[:, :-1], all_queries[:, -1])

    captions = CaptionTargets(
        ids=wanted("tokenids"),
        valid=wanted("mask").bool(),
        tokens=wanted("tokens"),
        vectors=wanted("proj"),
        table=recording.tensor("emb").to(dtype),
        scale=SCALE,
    )
    return caption_terms([recorded("out"), recorded("aux0")], captions)
