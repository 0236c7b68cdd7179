"""Mask AP against pycocotools on random photos, and its rules on small ones."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seem.evaluation.metrics.instances import Detection, GroundTruthObject, ImageGroundTruth, MaskAp

HW = (130, 140)
FEW = settings(deadline=None, max_examples=15)


def box(x0, y0, x1, y1):
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def random_box(rng, sides=(2, 140)):
    y, x = (int(rng.integers(0, side - 2)) for side in HW)
    return box(x, y, x + int(rng.integers(*sides)), y + int(rng.integers(*sides)))


def moved(rng, mask):
    return np.roll(mask, tuple(rng.integers(-3, 4, 2)), axis=(0, 1)) & (
        rng.random(HW) < rng.choice([0.7, 0.9, 1])
    )


def random_photo(rng, number, *, odd_areas=True):
    """Objects of every size, some of them crowds; detections that are near, doubled, of another class or made up."""
    objects, told = [], []
    for _ in range(int(rng.integers(0, 6))):
        category, mask = (
            int(rng.integers(1, 4)),
            random_box(rng, [(2, 30), (20, 90), (90, 140)][rng.integers(3)]),
        )
        area = (
            float(mask.sum() * rng.uniform(0.9, 1.1)) if odd_areas and rng.random() < 0.5 else None
        )
        objects.append(GroundTruthObject(category, mask, bool(rng.random() < 0.15), area))
        for _ in range(int(rng.integers(0, 3))):
            wrong = int(rng.integers(1, 5)) if rng.random() < 0.15 else category
            told.append(Detection(wrong, float(rng.integers(0, 12)) / 12, moved(rng, mask)))
    told += [
        Detection(int(rng.integers(1, 5)), float(rng.random()), random_box(rng))
        for _ in range(rng.integers(0, 3))
    ]
    return told, ImageGroundTruth(number, tuple(objects))


def scored(photos):
    metric = MaskAp()
    for told, truth in photos:
        metric.update(told, truth)
    return metric


def encoded(mask):
    return rle.encode(np.asfortranarray(mask.astype(np.uint8)))


def by_pycocotools(photos):
    """Score with the reference: its table of precisions (limit, recall, category, size, most) and its figures."""
    truth, told = [], []
    for predicted, photo in photos:
        for each in photo.objects:
            code = encoded(each.mask)
            area = float(rle.area(code)) if each.area is None else each.area
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": photo.image,
                    "category_id": each.category,
                    "segmentation": code,
                }
                | {"area": area, "iscrowd": int(each.is_crowd), "bbox": [0, 0, 1, 1]}
            )
        told += [
            {
                "image_id": photo.image,
                "category_id": d.category,
                "segmentation": encoded(d.mask),
                "score": d.score,
            }
            for d in predicted
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": photo.image, "height": HW[0], "width": HW[1]} for _, photo in photos]
        coco.dataset = {
            "images": images,
            "annotations": truth,
            "categories": [{"id": k} for k in range(1, 5)],
        }
        coco.createIndex()
        reference = COCOeval(coco, coco.loadRes(told), "segm")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    return reference.eval["precision"], reference.stats


def percent(value):
    return (
        pytest.approx(100 * value, abs=1e-9) if value > -1 else pytest.approx(math.nan, nan_ok=True)
    )


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    photos = [random_photo(rng, number) for number in range(12)]
    result = scored(photos).compute()
    precision, stats = by_pycocotools(photos)
    figures = (result.ap, result.ap50, result.ap75, result.small, result.medium, result.large)
    for ours, expected in zip(figures, stats[:6].tolist(), strict=True):
        assert ours == percent(expected)
    table = precision[..., 0, 2].mean(
        axis=1
    )  # IoU limit x category, at any size, up to 100 detections
    assert {row.category for row in result.per_class} == {
        k + 1 for k in range(4) if table[0, k] > -1
    }
    for row in result.per_class:
        of_class = table[:, row.category - 1]
        assert (row.ap, row.ap50, row.ap75) == (
            percent(of_class.mean()),
            percent(of_class[0]),
            percent(of_class[5]),
        )


def test_only_the_best_hundred_count():
    """The right detection has the lowest score of 101 in the first photo, and is alone in the second."""
    target = box(10, 10, 40, 40)
    wrong = [Detection(1, 0.9, box(60 + k % 30, 60, 110, 90 + k // 5)) for k in range(100)]
    photos = [
        ([*wrong, Detection(1, 0.1, target)], ImageGroundTruth(0, (GroundTruthObject(1, target),))),
        ([Detection(1, 0.5, target)], ImageGroundTruth(1, (GroundTruthObject(1, target),))),
    ]
    result = scored(photos).compute()
    assert result.ap == percent(by_pycocotools(photos)[1][0])
    assert result.ap == pytest.approx(100 * (51 / 101) / 101)  # one of two found, as the 101st


def test_the_truth_itself_has_full_precision():
    rng = np.random.default_rng(9)
    truths = [random_photo(rng, number, odd_areas=False)[1] for number in range(6)]
    photos = [
        ([Detection(o.category, 0.5, o.mask) for o in t.objects if not o.is_crowd], t)
        for t in truths
    ]
    result = scored(photos).compute()
    assert (result.ap, result.ap50, result.ap75) == (100, 100, 100)


def test_a_detection_on_a_crowd_is_excused():
    crowd, single = box(0, 0, 60, 60), box(80, 80, 120, 120)
    truth = ImageGroundTruth(
        1, (GroundTruthObject(1, crowd, is_crowd=True), GroundTruthObject(1, single))
    )
    inside = [Detection(1, 0.9, box(k, k, k + 20, k + 20)) for k in (0, 10, 30)]
    assert scored([([*inside, Detection(1, 0.5, single)], truth)]).compute().ap == 100


def test_sizes_are_those_of_the_annotation():
    mask = box(0, 0, 40, 40)
    result = scored(
        [
            (
                [Detection(1, 1.0, mask)],
                ImageGroundTruth(1, (GroundTruthObject(1, mask, area=1000.0),)),
            )
        ]
    ).compute()
    assert result.small == 100
    assert math.isnan(result.medium)
    assert math.isnan(result.large)


def test_nothing_at_all_has_no_precision():
    result = scored([([], ImageGroundTruth(1, ()))]).compute()
    assert (result.photos, result.classes, result.per_class) == (1, 0, ())
    assert math.isnan(result.ap)


def test_a_photo_counts_once():
    empty = ImageGroundTruth(7, ())
    with pytest.raises(ValueError, match="Photo 7 was counted before"):
        scored([([], empty), ([], empty)])
    with pytest.raises(ValueError, match="Photo 7 was counted in both"):
        scored([([], empty)]).merge(scored([([], empty)]))


@FEW
@given(st.integers(0, 10_000), st.randoms())
def test_order_does_not_matter_and_halves_make_a_whole(seed, random):
    rng = np.random.default_rng(seed)
    photos = [random_photo(rng, number) for number in range(4)]
    whole = scored(photos).compute()
    half = scored(photos[:2])
    half.merge(scored(photos[2:]))
    shuffled = [
        (
            told,
            ImageGroundTruth(truth.image, tuple(random.sample(truth.objects, len(truth.objects)))),
        )
        for told, truth in random.sample(photos, len(photos))
    ]
    assert repr(half.compute()) == repr(whole) == repr(scored(shuffled).compute())
