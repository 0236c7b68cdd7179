"""Every mask of an image without any prompt: unprompted regions, then clicks on a grid, also in crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prediction import Prediction
from seem.inference.predictor import Predictor
from seem.inference.prompt_decoder import PromptDecoder
from seem.inference.recognizer import Recognizer, recognizer_for
from seem.prompts import Point
from seem.rasterize import PixelBox
from seem.results import Labels, Proposal
from seem.tasks.everything import (
    EverythingSettings,
    MaskBatch,
    SearchView,
    crop_boxes,
    find_everything,
    object_query_masks,
    shrink_masks,
)


def segment_everything(
    predictor: Predictor, settings: EverythingSettings
) -> tuple[Prediction, tuple[Proposal, ...]]:
    """Segment every region, best first; also returns how each mask was proposed."""
    decoder = predictor.decoder
    masks, proposals, scores, logits, vectors = [], [], [], [], []
    for each in find_everything(_views(predictor, settings), decoder.image.hw, settings):
        masks.append(each.mask)
        proposals.append(each.proposal)
        scores.append(each.proposal.predicted_iou)
        logits.append(each.logits)
        vectors.append(each.vector)

    def recognize() -> Labels:
        small = shrink_masks(masks, decoder.frame)
        return predictor.recognizer.label(small.to(decoder.runtime.device))

    kind = "object queries"
    if _takes_clicks(decoder):
        kind += ", visual"
    prediction = Prediction(masks, scores, recognize, kind)
    if masks:
        prediction = replace(prediction, vectors=torch.stack(vectors))
    if masks and settings.crop_n_layers == 0:  # logits of crops are in another frame
        prediction = replace(prediction, logits=torch.stack(logits))
    return prediction, tuple(proposals)


def _views(predictor: Predictor, settings: EverythingSettings) -> Iterator[SearchView]:
    """Yield the image, then its crops, encoding one after the other."""
    decoder = predictor.decoder
    height, width = decoder.image.hw
    yield _view(decoder, predictor.recognizer, (0, 0, width, height), 0)
    for layer, box in crop_boxes(
        decoder.image.hw, settings.crop_n_layers, settings.crop_overlap_ratio
    ):
        crop = decoder.crop(box)
        yield _view(crop, recognizer_for(crop), box, layer)


def _view(
    decoder: PromptDecoder, recognizer: Recognizer, crop_box: PixelBox, layer: int
) -> SearchView:
    """Run the unprompted regions of a view, and prepare its clicks where the model takes any."""
    regions, class_logits = recognizer.regions(decoder.runtime.vocabulary())
    masks = object_query_masks(
        class_logits, regions.mask_logits, regions.class_vectors, decoder.frame
    )
    click = partial(_click_each, decoder) if _takes_clicks(decoder) else None
    return SearchView(crop_box, layer, decoder.frame, masks, click)


def _click_each(decoder: PromptDecoder, points: NDArray[np.float64]) -> MaskBatch:
    """Answer one click an object at positions (N, 2), in edge coordinates."""
    pixels = points - 0.5
    objects = [ObjectPrompts.of([Point(float(x), float(y))]) for x, y in pixels]
    logits, scores, vectors = [], [], []
    for best, *_ in decoder.answer(objects):
        logits.append(best.logits)
        scores.append(best.score)
        vectors.append(best.vector)
    masks = torch.stack(logits)
    return MaskBatch(masks, torch.tensor(scores, device=masks.device), torch.stack(vectors))


def _takes_clicks(decoder: PromptDecoder) -> bool:
    return decoder.runtime.network.decoder.policy.visual is not None
