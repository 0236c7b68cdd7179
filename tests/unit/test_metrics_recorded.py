"""Metrics against what the reference implementations said about the same cases: `tests/recorded/record.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seem.evaluation.metrics.caption import CiderD, Tokenization
from seem.evaluation.metrics.panoptic import PanopticQuality, PanopticSegmentation, SegmentInfo
from seem.evaluation.metrics.semantic import SemanticIou
from seem.evaluation.metrics.video import FrameRule, VideoQuality

RECORDED = Path(__file__).resolve().parents[1] / "recorded"


def read(name):
    return json.loads((RECORDED / name).read_text())


# --- Panoptic quality: panopticapi ------------------------------------------------------------------------------------


def panoptic_map(told):
    regions = tuple(
        SegmentInfo(number, category, crowd) for number, category, crowd in told["regions"]
    )
    return PanopticSegmentation(np.array(told["ids"], np.int32), regions)


@pytest.fixture(scope="module")
def panoptic():
    recorded = read("panoptic.json")
    metric = PanopticQuality({int(k): is_thing for k, is_thing in recorded["is_thing"].items()})
    for photo in recorded["photos"]:
        metric.update(panoptic_map(photo["predicted"]), panoptic_map(photo["truth"]))
    return metric.compute(), recorded["scores"]


@pytest.mark.parametrize("part", ["all", "things", "stuff"])
def test_panoptic_quality_is_that_of_panopticapi(panoptic, part):
    result, recorded = panoptic
    quality, expected = getattr(result, part), recorded[part]
    assert quality.classes == expected["n"]
    for name in ("pq", "sq", "rq"):
        assert getattr(quality, name) == pytest.approx(100 * expected[name], rel=1e-12)


def test_every_class_is_counted_as_by_panopticapi(panoptic):
    result, recorded = panoptic
    assert {row.category for row in result.per_class} == {
        int(k) for k, row in recorded["counts"].items() if any(row)
    }
    for row in result.per_class:
        assert [row.matched, row.surplus, row.missed] == recorded["counts"][str(row.category)]
        assert row.pq == pytest.approx(
            100 * recorded["per_class"][str(row.category)]["pq"], rel=1e-12
        )


# --- J and F: davis2017-evaluation ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips():
    recorded = read("video.json")
    masks = np.load(RECORDED / "video.npz")

    def unpacked(name, sequence):
        return np.unpackbits(masks[name], axis=-1, count=recorded["widths"][sequence]).astype(bool)

    return [
        (
            row,
            *(
                unpacked(f"{row['sequence']}{row['track']}_{side}", row["sequence"])
                for side in ("predicted", "truth")
            ),
        )
        for row in recorded["objects"]
    ]


@pytest.mark.parametrize("rule", list(FrameRule), ids=lambda rule: rule.name.lower())
def test_videos_are_scored_as_by_the_davis_evaluation(clips, rule):
    metric = VideoQuality(rule)
    for row, predicted, truth in clips:
        for frame in range(len(truth)):
            metric.update(row["sequence"], row["track"], frame, predicted[frame], truth[frame])
    result = metric.compute()
    expected = [row[rule.name.lower()] for row, _, _ in clips]
    for row, scores in zip(result.per_object, expected, strict=True):
        for measure in ("j", "f"):
            course = getattr(row, measure)
            assert [course.mean, course.recall, course.decay] == pytest.approx(
                [100 * value for value in scores[measure]], abs=1e-9
            )
    for measure in ("j", "f"):
        means = 100 * np.mean([scores[measure] for scores in expected], axis=0)
        course = getattr(result, measure)
        assert [course.mean, course.recall, course.decay] == pytest.approx(means.tolist(), abs=1e-9)
    assert result.j_and_f == pytest.approx((result.j.mean + result.f.mean) / 2)


# --- CIDEr-D: pycocoevalcap -------------------------------------------------------------------------------------------


def test_captions_are_scored_as_by_the_coco_caption_evaluation():
    recorded = read("captions.json")
    metric = CiderD(Tokenization.GIVEN)
    for photo in recorded["photos"]:
        metric.update(photo["told"], photo["references"])
    assert metric.compute().cider_d == pytest.approx(100 * recorded["score"], rel=1e-9)


# --- Classes of pixels: scikit-learn ----------------------------------------------------------------------------------


def test_classes_are_scored_as_by_scikit_learn():
    recorded = read("classes.json")
    metric = SemanticIou(recorded["classes"], ignored=255)
    for predicted, truth in zip(recorded["predicted"], recorded["truth"], strict=True):
        metric.update(np.array(predicted), np.array(truth, np.uint8))
    result, expected = metric.compute(), recorded["scores"]
    assert [result.per_class[k] for k in range(6)] == pytest.approx(
        [100 * iou for iou in expected["per_class"]]
    )
    assert result.mean_iou == pytest.approx(100 * expected["mean"])
    assert result.frequency_weighted_iou == pytest.approx(100 * expected["weighted"])
    assert result.pixel_accuracy == pytest.approx(100 * expected["accuracy"])
