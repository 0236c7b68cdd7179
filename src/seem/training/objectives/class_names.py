"""Losses of class names for dense models: what prompted objects, cells and whole objects are called.

A name counts as wrong on an image only if the image is annotated for it (`Sample.complete_names`).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.data.training_sample import TrainingSample
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.text_embedding_head import pooled_text_vectors
from seem.training.batches import TrainingBatch
from seem.training.targets import complete_names_of, complete_objects

BACKGROUND = "background"
IMPOSSIBLE = -1e4  # logit of a name for which an image is not annotated
UNKNOWN = -1  # label of a cell that is not judged


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The K class names of a step, background last: their unit vectors, and the row of each but the background.

    A class may be called "background": it has a row of its own.
    """

    index: dict[str, int]
    vectors: Float[Tensor, "k d"]

    @classmethod
    def of(cls, names: Sequence[str], features: Float[Tensor, "k d"]) -> ClassNames:
        """Make class names from texts, the background last, and their encoded features."""
        index = {name: row for row, name in enumerate(names[:-1])}
        return cls(index, unit_vectors(features.float()))

    @property
    def background(self) -> int:
        """The row of the background."""
        return len(self.index)

    def allowed(self, names: Collection[str]) -> Bool[Tensor, " k"]:
        """Return which names are among the given ones, or the background."""
        return torch.tensor([*(name in names for name in self.index), True])


def choose_class_names(
    samples: Sequence[TrainingSample], num_negatives: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Return the class names of a step: all that are on its images, some that are not, and the background last."""
    present = set(itertools.chain.from_iterable(sample.names for sample in samples)) - {""}
    absent = sorted(complete_names_of(samples) - present)
    negatives = []
    count = min(num_negatives, len(absent))
    if count:
        negatives = [absent[i] for i in rng.choice(len(absent), count, replace=False)]
    return (*sorted(present), *negatives, BACKGROUND)


def class_name_logits(
    model: Segmenter, vectors: Float[Tensor, "b q d"], names: ClassNames
) -> Float[Tensor, "b q k"]:
    """Compare vectors with the class names of a step, in float32 even under autocast."""
    with torch.autocast(vectors.device.type, enabled=False):
        return model.class_logits(vectors.float(), names.vectors)


def prompt_name_loss(
    model: Segmenter, vectors: Float[Tensor, "b n d"], batch: TrainingBatch, names: ClassNames
) -> Tensor:
    """Cross-entropy of the class name of every object that was prompted without text; `vectors` answer the prompts."""
    rows: list[tuple[int, int]] = []
    labels: list[int] = []
    allowed: list[Tensor] = []
    for b, (targets, sample) in enumerate(zip(batch.targets, batch.samples, strict=True)):
        allowed_here = names.allowed(sample.complete_names | set(sample.names))
        for n, target in enumerate(targets):
            if target.name and not target.phrase:
                rows.append((b, n))
                labels.append(names.index[target.name])
                allowed.append(allowed_here)
    device = vectors.device
    if not rows:
        return torch.zeros((), device=device)
    index = torch.tensor(rows, device=device)
    logits = class_name_logits(model, vectors[index[:, 0], index[:, 1]][None], names)[0]
    logits = logits.masked_fill(~torch.stack(allowed).to(device), IMPOSSIBLE)
    return F.cross_entropy(logits, torch.tensor(labels, device=device))


def cell_name_loss(
    model: Segmenter,
    text_map: Float[Tensor, "b d h4 w4"],
    samples: Sequence[TrainingSample],
    names: ClassNames,
) -> Tensor:
    """Weighted cross-entropy of the class name of every cell, on images that are annotated completely."""
    device = text_map.device
    stride = samples[0].ignore.shape[-1] // text_map.shape[-1]
    images: list[int] = []
    labels: list[Tensor] = []
    weights: list[Tensor] = []
    allowed: list[Tensor] = []
    for b, sample in enumerate(samples):
        if not sample.complete_names:
            continue
        image_labels, image_weights = cell_labels(sample, names, stride)
        image_allowed = names.allowed(sample.complete_names)
        image_allowed[names.background] = (
            image_labels == names.background
        ).any()  # else everything has a name
        images.append(b)
        labels.append(image_labels.flatten())
        weights.append(image_weights.flatten())
        allowed.append(image_allowed)
    if not images:
        return torch.zeros((), device=device)
    logits = class_name_logits(model, text_map[images].flatten(2).mT, names)
    logits = logits.masked_fill(~torch.stack(allowed).to(device)[:, None], IMPOSSIBLE)
    targets = torch.stack(labels).to(device)
    loss = F.cross_entropy(logits.mT, targets, ignore_index=UNKNOWN, reduction="none")
    return (loss * torch.stack(weights).to(device)).sum() / len(images)


def cell_labels(
    sample: TrainingSample, names: ClassNames, stride: int
) -> tuple[Int[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the class of the pixel at the centre of every cell (`UNKNOWN`: not judged), and the weights of cells.

    Smaller objects lie on top of larger ones. The weights sum to 1 (or are all 0); that of a class in its image grows
    with the root of its area, so that small classes count.
    """
    centres = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    labels = np.full(sample.ignore.shape, names.background)
    labels[sample.valid_hw[0] :] = UNKNOWN
    labels[:, sample.valid_hw[1] :] = UNKNOWN
    labels[sample.ignore] = UNKNOWN
    labels = labels[centres]
    for i in np.argsort(-sample.areas):
        name = sample.names[i]
        label = names.index[name] if name in sample.complete_names else UNKNOWN
        labels[sample.masks[i][centres]] = label
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    class_weights = np.where(classes == UNKNOWN, 0.0, 1 / np.sqrt(counts))
    weights = class_weights[inverse].reshape(labels.shape)
    return torch.from_numpy(labels), torch.from_numpy(weights / max(weights.sum(), 1e-6)).float()


def object_name_loss(
    model: Segmenter,
    text_map: Float[Tensor, "b d h4 w4"],
    samples: Sequence[TrainingSample],
    names: ClassNames,
) -> Tensor:
    """Cross-entropy of the class name of the mean vector of an object's cells, one object of each class of an image."""
    losses = []
    for b, sample in enumerate(samples):
        objects = {sample.names[i]: i for i in complete_objects(sample)}
        if objects:
            losses.append(_object_name_loss(model, text_map[b : b + 1], sample, objects, names))
    if not losses:
        return torch.zeros((), device=text_map.device)
    return torch.stack(losses).mean()


def _object_name_loss(
    model: Segmenter,
    text_map: Float[Tensor, "1 d h4 w4"],
    sample: TrainingSample,
    objects: dict[str, int],
    names: ClassNames,
) -> Tensor:
    device = text_map.device
    masks = torch.from_numpy(sample.masks[list(objects.values())]).to(device)
    vectors = unit_vectors(pooled_text_vectors(text_map, masks[None].float()))
    allowed = names.allowed(sample.complete_names)
    allowed[names.background] = False
    logits = class_name_logits(model, vectors, names)[0].masked_fill(
        ~allowed.to(device), IMPOSSIBLE
    )
    labels = torch.tensor([names.index[name] for name in objects], device=device)
    return F.cross_entropy(logits, labels)
