"""The score of a model on held-out images, in one number that training can follow.

Data sets that label (nearly) every pixel are scored by semantic segmentation (mIoU). In others objects are prompted one
by one: by a click in their middle, if the model takes clicks, and by the name of their class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64

from seem.data.classes import vocabulary_from_categories
from seem.data.dataset import Dataset
from seem.data.object_selection import click_truth, promptable_objects
from seem.data.records import CategoryRecord, ImageRecord, ValidationObject
from seem.encoded_image import EncodedImage
from seem.evaluation.metrics.overlap import Overlap, mean_percent
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou
from seem.model import Model
from seem.prompts import Point, Text
from seem.simulation.next_click import ritm_click
from seem.vocabulary import Vocabulary

MIN_LABELLED_SHARE = 0.8
"""Share of the pixels that must have a class for a data set to be scored by semantic segmentation."""

INSPECTED_IMAGES = 8  # that tell how a data set is labelled
CLICKS_PER_IMAGE = 5
NUM_WORST_CASES = 6


@dataclass(frozen=True, slots=True)
class ValidationCase:
    """A predicted mask with its truth: `iou` in percent, `prompt` in words."""

    iou: float
    prompt: str
    dataset: Dataset = field(repr=False)
    photo: ImageRecord = field(repr=False)
    predicted: Bool[np.ndarray, "h w"] = field(repr=False)
    truth: Bool[np.ndarray, "h w"] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """The scores of a model on `photos` images, in percent; None for scores that were not taken.

    Attributes:
        photos: number of images.
        semantic: mean IoU of classes over all pixels.
        click: mean IoU after one click.
        names: IoU of the masks that a class name gets on the images that show it, mean of classes.
        worst: the predictions of lowest IoU, worst first.
    """

    photos: int
    semantic: float | None = None
    click: float | None = None
    names: float | None = None
    worst: tuple[ValidationCase, ...] = ()

    @property
    def parts(self) -> dict[str, float]:
        """The scores that were taken, by name."""
        parts = {}
        if self.semantic is not None:
            parts["semantic_miou"] = self.semantic
        if self.click is not None:
            parts["click_iou"] = self.click
        if self.names is not None:
            parts["name_miou"] = self.names
        return parts

    @property
    def main(self) -> float:
        """The one number that training follows: the mean of the scores that were taken."""
        mean = _mean(list(self.parts.values()))
        return math.nan if mean is None else mean


def score(
    model: Model,
    datasets: Sequence[Dataset],
    most: int | None = None,
    step: Callable[[], object] = lambda: None,
) -> ValidationScores:
    """Score a model on at most `most` images of every data set, spread evenly over it (None: all).

    The mean over data sets counts every set alike. `step` is called after each image.
    """
    worst = WorstCases()
    semantic: list[float] = []
    clicks: list[float] = []
    names: list[float] = []
    num_images = 0
    for dataset in datasets:
        records = sample_evenly(dataset.images, most)
        num_images += len(records)
        if is_fully_labelled(dataset):
            semantic.append(score_semantic(model, dataset, records, worst, step))
            continue
        click, name = score_objects(model, dataset, records, worst, step)
        if click is not None:
            clicks.append(click)
        if name is not None:
            names.append(name)
    return ValidationScores(
        photos=num_images,
        semantic=_mean(semantic),
        click=_mean(clicks),
        names=_mean(names),
        worst=worst.cases(),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def sample_evenly(records: Sequence[ImageRecord], most: int | None) -> list[ImageRecord]:
    """Choose at most `most` records, evenly from first to last (None: all)."""
    if most is None or len(records) <= most:
        return list(records)
    return [records[i * len(records) // most] for i in range(most)]


# --- Semantic segmentation --------------------------------------------------------------------------------------------


def is_fully_labelled(dataset: Dataset) -> bool:
    """Return whether (nearly) all pixels of a data set have one of at least two classes, some of them stuff."""
    named = named_categories(dataset)
    num_different = len({category.text for category in named})
    if num_different < max(2, len(named)) or all(category.is_thing for category in named):
        return False
    ids = [category.id for category in named]
    shares = []
    for record in dataset.images[:INSPECTED_IMAGES]:
        category_map = dataset.semantic(record)
        if category_map is None:
            return False
        void = dataset.void(record)
        if void is not None:
            category_map = category_map[~void]
        shares.append(np.isin(category_map, ids).mean() if category_map.size else 1.0)
    return bool(shares) and float(np.mean(shares)) >= MIN_LABELLED_SHARE


def named_categories(dataset: Dataset) -> list[CategoryRecord]:
    """Return the categories of a data set that have a name."""
    return [category for category in dataset.categories.values() if category.text]


def score_semantic(
    model: Model,
    dataset: Dataset,
    records: Iterable[ImageRecord],
    worst: WorstCases,
    step: Callable[[], object],
) -> float:
    """Return the mean IoU (%) of classes over all pixels of the images."""
    named = named_categories(dataset)
    class_of_category = {category.id: k for k, category in enumerate(named)}
    vocabulary = vocabulary_from_categories(named)
    metric = SemanticIou(len(named))
    for record in records:
        truth = labelled_class_map(dataset, record, class_of_category)
        results = model.encode(dataset.pixels(record)).semantic(vocabulary)
        predicted = paint_class_map(
            results.category_ids.tolist(), results.iter_masks(), vocabulary, record.hw
        )
        metric.update(predicted, truth)
        is_judged = truth != IGNORED
        for k in np.unique(truth[is_judged]).tolist():
            worst.add(
                dataset, record, named[k].text, (predicted == k) & is_judged, np.asarray(truth == k)
            )
        step()
    return metric.compute().mean_iou


def labelled_class_map(
    dataset: Dataset, record: ImageRecord, class_of_category: Mapping[int, int]
) -> Int64[np.ndarray, "h w"]:
    """Return the class index of every pixel; `IGNORED` where there is no label."""
    category_map = dataset.semantic(record)
    assert category_map is not None
    truth = np.full(category_map.shape, IGNORED, np.int64)
    for number in np.unique(category_map).tolist():
        if number in class_of_category:
            truth[category_map == number] = class_of_category[number]
    void = dataset.void(record)
    if void is not None:
        truth[void] = IGNORED
    return truth


def paint_class_map(
    ids: Sequence[int],
    masks: Iterable[Bool[np.ndarray, "h w"]],
    vocabulary: Vocabulary,
    hw: tuple[int, int],
) -> Int64[np.ndarray, "h w"]:
    """Return the class index of every pixel from one mask for each category id; class 0 where there is no mask."""
    index = {number: k for k, number in enumerate(vocabulary.ids)}
    class_map = np.zeros(hw, np.int64)
    for number, mask in zip(ids, masks, strict=True):
        class_map[mask] = index[number]
    return class_map


# --- Objects by clicks and by class names -----------------------------------------------------------------------------


def score_objects(
    model: Model,
    dataset: Dataset,
    records: Iterable[ImageRecord],
    worst: WorstCases,
    step: Callable[[], object],
) -> tuple[float | None, float | None]:
    """Return the mean IoU (%) after one click on an object, and that of class names; None for what cannot be asked."""
    takes_clicks = model.network.decoder.policy.visual is not None
    clicks: list[float] = []
    by_name: dict[str, list[float]] = {}
    for record in records:
        image = model.encode(dataset.pixels(record))
        if takes_clicks:
            clicks += _click_ious(image, dataset, record, worst)
        for name, iou in _name_ious(image, dataset, record, worst).items():
            by_name.setdefault(name, []).append(iou)
        step()
    click = mean_percent(clicks) if clicks else None
    return click, _mean([mean_percent(ious) for ious in by_name.values()])


def _click_ious(
    image: EncodedImage, dataset: Dataset, record: ImageRecord, worst: WorstCases
) -> list[float]:
    """Return the IoU after one click on some objects of an image."""
    ious = []
    for target in promptable_objects(dataset, record, 0.0)[:CLICKS_PER_IMAGE]:
        truth = click_truth(dataset, ValidationObject(record, target))
        prompt = f"click on {target.category.text or 'object'}"
        ious.append(worst.add(dataset, record, prompt, mask_of_click(image, truth), truth == 1))
    return ious


def _name_ious(
    image: EncodedImage, dataset: Dataset, record: ImageRecord, worst: WorstCases
) -> dict[str, float]:
    """Return the IoU of every class name that is in the image and annotated completely."""
    objects = dataset.objects[record.id]
    present = {each.category.text for each in objects}
    ious = {}
    for name in sorted(present & dataset.complete_names(record)):
        truth = np.zeros(record.hw, bool)
        for each in objects:
            if each.category.text == name:
                truth |= each.mask()
        ious[name] = worst.add(dataset, record, f'"{name}"', mask_of_name(image, name), truth)
    return ious


def mask_of_click(image: EncodedImage, truth: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Return the mask after a click in the middle of an object; empty on pixels that do not count (truth -1)."""
    empty = np.zeros(truth.shape, bool)
    click = ritm_click(truth, empty, empty)
    if click is None:
        return empty
    results = image.segment(Point(click.x, click.y))
    if not len(results):
        return empty
    return np.asarray(results.masks[0] & (truth != -1))


def mask_of_name(image: EncodedImage, name: str) -> Bool[np.ndarray, "h w"]:
    """Return everything that is found by a class name which is in the image, as one mask."""
    results = image.segment(Text(name), text_threshold=0.0)
    union = np.zeros(results.image_hw, bool)
    for mask in results.iter_masks():
        union |= mask
    return union


# --- Worst predictions ------------------------------------------------------------------------------------------------


class WorstCases:
    """Keeps the predictions of lowest IoU: one an image, and of equal IoU the one with the larger truth."""

    def __init__(self) -> None:
        self._ranked: dict[tuple[str, int], tuple[tuple[float, int], ValidationCase]] = {}

    def add(
        self,
        dataset: Dataset,
        record: ImageRecord,
        prompt: str,
        predicted: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
    ) -> float:
        """Add a prediction; return its IoU, 0-1."""
        iou = Overlap.of(predicted, truth).iou
        key = (dataset.name, record.id)
        rank = (iou, -int(np.count_nonzero(truth)))
        if key in self._ranked and self._rank(key) <= rank:
            return iou
        case = ValidationCase(
            iou=100 * iou,
            prompt=prompt,
            dataset=dataset,
            photo=record,
            predicted=np.asarray(predicted),
            truth=np.asarray(truth),
        )
        self._ranked[key] = (rank, case)
        if len(self._ranked) > NUM_WORST_CASES:
            del self._ranked[max(reversed(self._ranked), key=self._rank)]
        return iou

    def _rank(self, key: tuple[str, int]) -> tuple[float, int]:
        rank, _ = self._ranked[key]
        return rank

    def cases(self) -> tuple[ValidationCase, ...]:
        """Return the cases, worst first."""
        ranked = sorted(self._ranked.values(), key=lambda row: row[0])
        return tuple(case for _, case in ranked)
