"""How good a model is on photos that it did not learn from, in one number that training can follow.

Where photos are labelled all over, every pixel is asked for its class (semantic mIoU). Else objects are asked for one
by one: by a click in their middle, if the model takes clicks, and by the name of their class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64

from seem.api import EncodedImage, Model
from seem.data.dataset import Dataset, click_truth, promptable_objects, vocabulary_from_categories
from seem.data.records import ImageRecord, ValidationObject
from seem.evaluation.metrics.overlap import Overlap, mean_percent
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou
from seem.prompts import Point, Text
from seem.recognition import islands_there
from seem.simulation.next_click import ritm_click
from seem.tasks.postprocess import to_image_size
from seem.vocabulary import Vocabulary

LABELLED = 0.8
"""Share of the pixels that must have a class for a set to be asked for the class of every pixel."""

LOOKED_AT = 8  # photos that tell how a set is labelled
PER_PHOTO = 5  # objects clicked on a photo
WORST = 6  # cases remembered


@dataclass(frozen=True, slots=True)
class Case:
    """One answer with its truth: `iou` in percent, `what` was asked."""

    iou: float
    what: str
    dataset: Dataset = field(repr=False)
    photo: ImageRecord = field(repr=False)
    told: Bool[np.ndarray, "h w"] = field(repr=False)
    truth: Bool[np.ndarray, "h w"] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model scored on `photos` photos, in percent; None where it was not asked.

    `semantic`: mean IoU of classes over all pixels. `click`: mean IoU after one click. `names`: IoU of what a class
    name finds on the photos that show it, mean of classes. `worst`: the answers furthest from the truth, worst first.
    """

    photos: int
    semantic: float | None = None
    click: float | None = None
    names: float | None = None
    worst: tuple[Case, ...] = ()

    @property
    def parts(self) -> dict[str, float]:
        """The scores that were taken, by name."""
        named = {"semantic_miou": self.semantic, "click_iou": self.click, "name_miou": self.names}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def main(self) -> float:
        """The one number that training follows: the mean of the scores that were taken."""
        values = list(self.parts.values())
        return sum(values) / len(values) if values else math.nan


def is_semantic(dataset: Dataset) -> bool:
    """Whether photos are labelled all over with two classes or more, so that every pixel can be asked."""
    named = [category for category in dataset.categories.values() if category.text]
    if len({category.text for category in named}) < max(2, len(named)) or not any(not c.is_thing for c in named):
        return False
    ids = [category.id for category in named]
    shares = []
    for photo in dataset.images[:LOOKED_AT]:
        drawn = dataset.semantic(photo)
        if drawn is None:
            return False
        void = dataset.void(photo)
        counted = np.ones(drawn.shape, bool) if void is None else ~void
        shares.append(np.isin(drawn[counted], ids).mean() if counted.any() else 1.0)
    return bool(shares) and float(np.mean(shares)) >= LABELLED


def score(
    model: Model, datasets: Sequence[Dataset], most: int | None = None, step: Callable[[], object] = lambda: None
) -> Scores:
    """Ask a model about `most` photos of every set, spread evenly over it (None: all).

    The mean over sets counts every set alike. `step` is called after each photo.
    """
    worst = Worst()
    semantic, clicks, names = [], [], []
    photos = 0
    for dataset in datasets:
        chosen = spread(dataset.images, most)
        photos += len(chosen)
        if is_semantic(dataset):
            semantic.append(score_pixels(model, dataset, chosen, worst, step))
            continue
        click, name = score_objects(model, dataset, chosen, worst, step)
        clicks += [click] if click is not None else []
        names += [name] if name is not None else []
    return Scores(photos, mean_of(semantic), mean_of(clicks), mean_of(names), worst.cases())


def mean_of(values: Sequence[float]) -> float | None:
    """Average; None of nothing."""
    return sum(values) / len(values) if values else None


def spread(photos: Sequence[ImageRecord], most: int | None) -> list[ImageRecord]:
    """Choose at most so many photos, evenly from first to last."""
    if most is None or len(photos) <= most:
        return list(photos)
    return [photos[place * len(photos) // most] for place in range(most)]


def score_pixels(
    model: Model, dataset: Dataset, photos: Iterable[ImageRecord], worst: Worst, step: Callable[[], object]
) -> float:
    """Ask every pixel for its class."""
    named = [category for category in dataset.categories.values() if category.text]
    vocabulary = vocabulary_from_categories(named)
    metric = SemanticIou(len(named))
    for photo in photos:
        truth = true_classes(dataset, photo, {category.id: k for k, category in enumerate(named)})
        answer = model.encode(dataset.pixels(photo)).semantic(vocabulary)
        told = told_classes(answer.category_ids.tolist(), answer.iter_masks(), vocabulary, photo.hw)
        metric.update(told, truth)
        for k in np.unique(truth[truth != IGNORED]).tolist():
            seen = (told == k) & (truth != IGNORED)
            worst.add(dataset, photo, named[k].text, seen, np.asarray(truth == k))
        step()
    return metric.compute().mean_iou


def true_classes(dataset: Dataset, photo: ImageRecord, index: Mapping[int, int]) -> Int64[np.ndarray, "h w"]:
    """Draw the class index of every pixel; those that are not labelled do not count."""
    drawn = dataset.semantic(photo)
    assert drawn is not None
    known, places = np.unique(drawn, return_inverse=True)
    table = np.array([index.get(number, IGNORED) for number in known.tolist()], np.int64)
    truth = table[places.reshape(drawn.shape)]
    void = dataset.void(photo)
    return truth if void is None else np.where(void, IGNORED, truth)


def told_classes(
    ids: Sequence[int], masks: Iterable[Bool[np.ndarray, "h w"]], vocabulary: Vocabulary, hw: tuple[int, int]
) -> Int64[np.ndarray, "h w"]:
    """Draw an answer as class indices; a pixel without an answer is wrong, whatever is true (class 0)."""
    index = {number: k for k, number in enumerate(vocabulary.ids)}
    drawn = np.zeros(hw, np.int64)
    for number, mask in zip(ids, masks, strict=True):
        drawn[mask] = index[number]
    return drawn


def score_objects(
    model: Model, dataset: Dataset, photos: Iterable[ImageRecord], worst: Worst, step: Callable[[], object]
) -> tuple[float | None, float | None]:
    """Ask for objects by one click each, where the model takes clicks, and for classes by their names."""
    most = PER_PHOTO if model.network.decoder.policy.visual else 0
    clicks: list[float] = []
    by_name: dict[str, list[float]] = {}
    for photo in photos:
        seen = model.encode(dataset.pixels(photo))
        objects = dataset.objects[photo.id]
        for record in promptable_objects(dataset, photo, 0.0)[:most]:
            truth = click_truth(dataset, ValidationObject(photo, record))
            told = clicked(seen, truth)
            clicks.append(worst.add(dataset, photo, f"click on {record.category.text or 'object'}", told, truth == 1))
        complete = dataset.complete_names(photo)
        for name in sorted({record.category.text for record in objects} & complete):
            truth = np.zeros(photo.hw, bool)
            for record in objects:
                if record.category.text == name:
                    truth |= record.mask()
            said = asked_by_name(seen, name)
            by_name.setdefault(name, []).append(worst.add(dataset, photo, f'"{name}"', said, truth))
        step()
    names = [mean_percent(ious) for ious in by_name.values()]
    return (mean_percent(clicks) if clicks else None), mean_of(names)


@dataclass(frozen=True, slots=True)
class Presence:
    """How well a model tells which class names are in a photo: shares found of those that are, refused of others, %.

    `even` is the probability (`tasks/presence.py`) that counts as a half, where the smaller of the two is largest.
    """

    even: float
    found: float
    refused: float


FEWEST_NAMES = 5  # of names that are there, and of those that are not, below which nothing is measured


def measure_presence(model: Model, datasets: Sequence[Dataset], most: int | None = None) -> Presence | None:
    """Ask which of a model's own classes are in `most` photos of every set; None where there is too little to ask.

    For models with a map of meaning.
    """
    if model.classes is None:
        return None
    even = model.network.config.presence_midpoint
    vectors = model.classifier(model.classes)[: len(model.classes)]
    there: list[float] = []
    gone: list[float] = []
    for dataset in datasets:
        for photo in spread(dataset.images, most):
            complete = dataset.complete_names(photo)
            shown = {record.category.text for record in dataset.objects[photo.id]}
            sure = model.encode(dataset.pixels(photo))._predictor.presence(vectors).tolist()
            for name, score in zip(model.classes.names, sure, strict=True):
                if name in complete:
                    (there if name in shown else gone).append(even * score / max(1 - score, 1e-9))
    if min(len(there), len(gone)) < FEWEST_NAMES:
        return None
    present, absent = np.array(there), np.array(gone)
    tried = np.unique(np.concatenate((present, absent)))
    found = (present[None] >= tried[:, None]).mean(axis=1)
    refused = (absent[None] < tried[:, None]).mean(axis=1)
    best = int(np.minimum(found, refused).argmax())
    return Presence(float(np.clip(tried[best], 1e-3, 0.9)), 100 * float(found[best]), 100 * float(refused[best]))


@dataclass(frozen=True, slots=True)
class Regions:
    """From which score on regions of `panoptic` and `instances` are kept, so that F1 at IoU 0.5 (%) is largest."""

    threshold: float
    f1: float


UNLIKELY = 0.02  # regions of a lower score are not looked at
REGION_PHOTOS = 40  # photos of every set that are asked for regions: each class that may be there is a prompt


def measure_regions(model: Model, datasets: Sequence[Dataset], most: int = REGION_PHOTOS) -> Regions | None:
    """Ask for the regions of a model's own classes on `most` photos of every set; None where there is too little.

    A region is right if it covers one object of its class that no surer one has (stuff: all of it) at an IoU above
    0.5. For models with a map of meaning.
    """
    classes = model.classes
    if classes is None:
        return None
    answers: list[tuple[float, bool]] = []
    wanted = 0
    for dataset in datasets:
        for photo in spread(dataset.images, most):
            complete = dataset.complete_names(photo)
            left = {name: truths_of(dataset, photo, name, each) for name, each in kinds_of(classes) if name in complete}
            wanted += sum(map(len, left.values()))
            for name, score, mask in regions_of(model.encode(dataset.pixels(photo)), classes):
                if name in left:
                    met = next((k for k, truth in enumerate(left[name]) if Overlap.of(mask, truth).iou > RIGHT), None)
                    answers.append((score, met is not None))
                    if met is not None:
                        del left[name][met]
    if wanted < FEWEST_NAMES or not any(right for _, right in answers):
        return None
    answers.sort(key=lambda answer: -answer[0])
    found = np.cumsum([right for _, right in answers])
    f1 = 2 * found / (np.arange(1, len(answers) + 1) + wanted)
    best = int(f1.argmax())
    return Regions(answers[best][0], 100 * float(f1[best]))


RIGHT = 0.5  # IoU from which on a region is that of an object


def kinds_of(classes: Vocabulary) -> Iterable[tuple[str, bool]]:
    """Pair the names of classes with whether they are countable things."""
    return zip(classes.names, classes.is_thing, strict=True)


def truths_of(dataset: Dataset, photo: ImageRecord, name: str, is_thing: bool) -> list[Bool[np.ndarray, "h w"]]:
    """Draw what a photo shows of a class: every object, or one region of stuff; groups of several do not count."""
    found = [each.mask() for each in dataset.objects[photo.id] if each.category.text == name and not each.is_group]
    return found if is_thing or not found else [np.any(found, axis=0)]


def regions_of(seen: EncodedImage, classes: Vocabulary) -> Iterable[tuple[str, float, Bool[np.ndarray, "h w"]]]:
    """Ask for the regions of classes, surest first, before they compete for pixels."""
    predictor = seen._predictor
    found = islands_there(predictor, classes, UNLIKELY)
    for row, score, logits in zip(found.rows, found.scores.tolist(), found.islands, strict=True):
        yield classes.names[row], score, predictor.pack(to_image_size(logits[None], predictor.frame)[0]).decode()


def clicked(seen: EncodedImage, truth: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Click once in the middle of an object; pixels that do not count are never told."""
    nothing = np.zeros(truth.shape, bool)
    click = ritm_click(truth, nothing, nothing)
    if click is None:
        return nothing
    found = seen.segment(Point(click.x, click.y))
    told = found.masks[0] if len(found) else nothing
    return np.asarray(told & (truth != -1))


def asked_by_name(seen: EncodedImage, name: str) -> Bool[np.ndarray, "h w"]:
    """Say a class name that is there; everything that is found, together."""
    found = seen.segment(Text(name), text_threshold=0.0)
    told = np.zeros(found.image_hw, bool)
    for mask in found.iter_masks():
        told |= mask
    return told


class Worst:
    """Remembers the answers that were furthest from the truth: one a photo, of equally bad ones the larger."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[tuple[float, int], Case]] = {}

    def add(
        self,
        dataset: Dataset,
        photo: ImageRecord,
        what: str,
        told: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
    ) -> float:
        """Take note of an answer; returns its IoU, 0-1."""
        iou = Overlap.of(told, truth).iou
        rank, place = (iou, -int(np.count_nonzero(truth))), (dataset.name, photo.id)
        if place in self._kept and self._kept[place][0] <= rank:
            return iou
        self._kept[place] = (rank, Case(100 * iou, what, dataset, photo, np.asarray(told), np.asarray(truth)))
        if len(self._kept) > WORST:
            del self._kept[max(reversed(self._kept), key=lambda key: self._kept[key][0])]
        return iou

    def cases(self) -> tuple[Case, ...]:
        """List them, worst first."""
        return tuple(case for _, case in sorted(self._kept.values(), key=lambda row: row[0]))
