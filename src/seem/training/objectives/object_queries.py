"""The loss of object queries for dense models: matched with every object of completely annotated images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.data.training_sample import TrainingSample
from seem.models.decoder.decoder import ImageEncoding
from seem.models.ops.points import Draw
from seem.models.segmenter import Segmenter
from seem.models.structures import QueryOutputs
from seem.training.batches import TrainingBatch, mask_coverage
from seem.training.matcher import match_object_queries
from seem.training.objectives.class_names import IMPOSSIBLE, ClassNames, class_name_logits
from seem.training.objectives.dense_config import DenseConfig
from seem.training.objectives.dense_masks import EMPTY_LOGIT, mask_loss
from seem.training.targets import complete_objects

BACKGROUND_WEIGHT = 0.1  # of a query without an object, in the mean over queries


def object_query_loss(
    model: Segmenter,
    image: ImageEncoding,
    answers: QueryOutputs,
    batch: TrainingBatch,
    names: ClassNames,
    config: DenseConfig,
    rng: np.random.Generator,
) -> Tensor:
    """Return the weighted loss of class names and masks, mean over images; 0 if none is annotated completely."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    masks = image.pixels.mask_features.logits(answers.mask_embeddings).float()
    logits = class_name_logits(model, answers.class_vectors, names)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator).to(masks.device)

    losses: list[Tensor] = []
    for b, sample in enumerate(batch.samples):
        if sample.complete_names:
            losses.append(
                _image_loss(logits[b], masks[b], sample, batch.ignore[b], names, config, draw)
            )
    if not losses:
        return torch.zeros((), device=masks.device)
    return torch.stack(losses).mean()


def _image_loss(
    logits: Float[Tensor, "q k"],
    masks: Float[Tensor, "q h4 w4"],
    sample: TrainingSample,
    ignore: Bool[Tensor, "s s"],
    names: ClassNames,
    config: DenseConfig,
    draw: Draw,
) -> Tensor:
    device = masks.device
    logits = logits.masked_fill(~names.allowed(sample.complete_names).to(device), IMPOSSIBLE)
    labels = torch.full((len(logits),), names.background, device=device)
    weights = torch.full((len(logits),), BACKGROUND_WEIGHT, device=device)
    matched_mask_loss = torch.zeros((), device=device)
    objects = complete_objects(sample)[: len(logits)]
    if objects:
        truth = torch.from_numpy(sample.masks[objects]).to(device)
        classes = torch.tensor([names.index[sample.names[i]] for i in objects], device=device)
        match = match_object_queries(
            logits, masks, classes, truth, draw, num_points=config.num_points
        )
        labels[match.queries] = classes[match.objects]
        weights[match.queries] = 1.0
        matched_mask_loss = _mask_loss(masks[match.queries], truth[match.objects], ignore)
    name_loss = (F.cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
    return config.objects * matched_mask_loss + config.object_names * name_loss


def _mask_loss(
    logits: Float[Tensor, "m h4 w4"], truth: Bool[Tensor, "m s s"], ignore: Bool[Tensor, "s s"]
) -> Tensor:
    """Compare matched masks at stride 4; pixels to ignore count as empty in both."""
    target = mask_coverage(truth[None], 4)[0].flatten(1)
    ignored = mask_coverage(ignore[None, None], 4)[0].flatten(1) > 0.5
    predicted = logits.flatten(1).masked_fill(ignored & (target == 0), EMPTY_LOGIT)
    return mask_loss(predicted, target)
