"""Thresholds of a model with a text embedding map, measured on held-out images for its own classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.encoded_image import EncodedImage
from seem.evaluation.metrics.overlap import Overlap
from seem.inference.dense_recognizer import DenseRecognizer
from seem.model import Model
from seem.tasks.postprocess import to_image_size
from seem.training.validation import sample_evenly
from seem.vocabulary import Vocabulary

MIN_NAMES = 5  # present in the images, and absent from them, below which nothing is measured
LOWEST_SCORE = 0.02  # of regions that are compared with the truth
REGION_IMAGES = (
    40  # of every data set that regions are predicted for: each class that may be there is a prompt
)
MATCH_IOU = 0.5  # above which a region is that of an object
MIDPOINT_RANGE = (1e-3, 0.9)


@dataclass(frozen=True, slots=True)
class PresenceCalibration:
    """How well a model tells which class names are in an image.

    Attributes:
        midpoint: the probability (`tasks/presence.py`) that counts as a half, where the smaller of the two shares is
            largest.
        found: share of the names in an image that are at or above the midpoint, in percent.
        refused: share of the names not in an image that are below it, in percent.
    """

    midpoint: float
    found: float
    refused: float


def calibrate_presence(
    model: Model, datasets: Sequence[Dataset], most: int | None = None
) -> PresenceCalibration | None:
    """Measure the presence midpoint of a model's own classes on at most `most` images of every data set.

    None for a model without classes of its own, and if there are too few names.
    """
    if model.classes is None:
        return None
    midpoint = model.network.config.presence_midpoint
    vectors = model.classifier(model.classes)[: len(model.classes)]
    present: list[float] = []
    absent: list[float] = []
    for dataset in datasets:
        for record in sample_evenly(dataset.images, most):
            complete = dataset.complete_names(record)
            present_names = {each.category.text for each in dataset.objects[record.id]}
            scores = (
                dense_recognizer(model.encode(dataset.pixels(record))).presence(vectors).tolist()
            )
            for name, score in zip(model.classes.names, scores, strict=True):
                probability = _raw_probability(score, midpoint)
                if name in present_names & complete:
                    present.append(probability)
                elif name in complete:
                    absent.append(probability)
    if min(len(present), len(absent)) < MIN_NAMES:
        return None
    return best_midpoint(np.array(present), np.array(absent))


def _raw_probability(score: float, midpoint: float) -> float:
    """Return the probability of which a presence score was made with a midpoint."""
    return midpoint * score / max(1 - score, 1e-9)


def best_midpoint(
    present: Float[np.ndarray, " p"], absent: Float[np.ndarray, " a"]
) -> PresenceCalibration:
    """Choose the probability that best separates names that are present from those that are absent."""
    candidates = np.unique(np.concatenate((present, absent)))
    found = (present[None] >= candidates[:, None]).mean(axis=1)
    refused = (absent[None] < candidates[:, None]).mean(axis=1)
    best = int(np.minimum(found, refused).argmax())
    return PresenceCalibration(
        midpoint=float(np.clip(candidates[best], *MIDPOINT_RANGE)),
        found=100 * float(found[best]),
        refused=100 * float(refused[best]),
    )


@dataclass(frozen=True, slots=True)
class RegionCalibration:
    """The lowest score of regions in `panoptic` and `instances` for which their F1 at IoU 0.5 (%) is largest."""

    threshold: float
    f1: float


def calibrate_regions(
    model: Model, datasets: Sequence[Dataset], most: int = REGION_IMAGES
) -> RegionCalibration | None:
    """Measure the score threshold of regions of a model's own classes on at most `most` images of every data set.

    A region is right if it covers one object of its class that no region of higher score has (stuff: all of it) at an
    IoU above 0.5. None for a model without classes of its own, and if there are too few objects or no right region.
    """
    classes = model.classes
    if classes is None:
        return None
    regions: list[tuple[float, bool]] = []  # score, and whether it is right
    num_objects = 0
    for dataset in datasets:
        for record in sample_evenly(dataset.images, most):
            truths = true_masks_by_class(dataset, record, classes)
            num_objects += sum(map(len, truths.values()))
            predicted = regions_by_score(model.encode(dataset.pixels(record)), classes)
            regions += _judge_regions(predicted, truths)
    if num_objects < MIN_NAMES:
        return None
    return _best_region_threshold(regions, num_objects)


def _best_region_threshold(
    regions: list[tuple[float, bool]], num_objects: int
) -> RegionCalibration | None:
    """Return the score of the last region to take so that F1 is largest; None if no region is right."""
    regions = sorted(regions, key=lambda region: -region[0])
    scores, is_right = np.array(regions, dtype=np.float64).reshape(-1, 2).T
    if not is_right.any():
        return None
    num_regions = np.arange(1, len(regions) + 1)
    f1 = 2 * is_right.cumsum() / (num_regions + num_objects)
    best = int(f1.argmax())
    return RegionCalibration(float(scores[best]), 100 * float(f1[best]))


def true_masks_by_class(
    dataset: Dataset, record: ImageRecord, classes: Vocabulary
) -> dict[str, list[Bool[np.ndarray, "h w"]]]:
    """Return the masks of each class that is annotated completely: one an object, one in all for stuff.

    Groups of several objects do not count.
    """
    complete = dataset.complete_names(record)
    truths: dict[str, list[Bool[np.ndarray, "h w"]]] = {}
    for name in classes.names:
        if name in complete:
            truths[name] = []
    for each in dataset.objects[record.id]:
        if each.category.text in truths and not each.is_group:
            truths[each.category.text].append(each.mask())
    for name, is_thing in zip(classes.names, classes.is_thing, strict=True):
        if not is_thing and truths.get(name):
            truths[name] = [np.any(truths[name], axis=0)]
    return truths


def regions_by_score(
    image: EncodedImage, classes: Vocabulary
) -> Iterator[tuple[str, float, Bool[np.ndarray, "h w"]]]:
    """Yield the regions of classes (name, score, mask), best first, before they compete for pixels."""
    decoder = image.predictor.decoder
    components = dense_recognizer(image).components(classes, LOWEST_SCORE)
    scores = components.scores.tolist()
    for index, score, logits in zip(
        components.classes, scores, components.mask_logits, strict=True
    ):
        mask = decoder.pack(to_image_size(logits[None], decoder.frame)[0])
        yield classes.names[index], score, mask.decode()


def dense_recognizer(image: EncodedImage) -> DenseRecognizer:
    """Return the recognizer of an image that a dense model has encoded."""
    recognizer = image.predictor.recognizer
    assert isinstance(recognizer, DenseRecognizer)
    return recognizer


def _judge_regions(
    regions: Iterable[tuple[str, float, Bool[np.ndarray, "h w"]]],
    truths: dict[str, list[Bool[np.ndarray, "h w"]]],
) -> list[tuple[float, bool]]:
    """Return (score, whether it is right) of every region whose class is annotated; each true mask counts once."""
    judged = []
    remaining = {name: list(masks) for name, masks in truths.items()}
    for name, score, mask in regions:
        if name not in remaining:
            continue
        match = _first_match(mask, remaining[name])
        judged.append((score, match is not None))
        if match is not None:
            del remaining[name][match]
    return judged


def _first_match(
    mask: Bool[np.ndarray, "h w"], truths: Sequence[Bool[np.ndarray, "h w"]]
) -> int | None:
    """Return the index of the first true mask that a region covers; None if it covers none."""
    for i, truth in enumerate(truths):
        if Overlap.of(mask, truth).iou > MATCH_IOU:
            return i
    return None
