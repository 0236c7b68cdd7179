"""What holds of every metric: halves make a whole, a kept state goes on, nothing is left after a reset."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields

import numpy as np
import pytest

from seem.evaluation.formatting import summarize_scores
from seem.evaluation.metrics.caption import CiderD
from seem.evaluation.metrics.clicks import ClickScores
from seem.evaluation.metrics.composition import CompositionScores
from seem.evaluation.metrics.in_context import InContextScores
from seem.evaluation.metrics.instances import Detection, GroundTruthObject, ImageGroundTruth, MaskAp
from seem.evaluation.metrics.metric import Metric
from seem.evaluation.metrics.open_vocabulary import LabelMode, OpenVocabulary
from seem.evaluation.metrics.overlap import IouRule, Overlap, OverlapScores
from seem.evaluation.metrics.panoptic import PanopticQuality, PanopticSegmentation, SegmentInfo
from seem.evaluation.metrics.prompt_kinds import PromptKindScores
from seem.evaluation.metrics.refusal import RefusalRate
from seem.evaluation.metrics.retrieval import RetrievalRecall
from seem.evaluation.metrics.robustness import RobustnessScores
from seem.evaluation.metrics.semantic import SemanticIou
from seem.evaluation.metrics.video import FrameRule, VideoQuality
from seem.evaluation.report import Entry, EvaluationReport, Machine, ModelDescription
from seem.evaluation.selection import Selection
from seem.simulation.strokes import PromptKind

HW = (12, 15)
CATEGORIES = {1: True, 2: True, 3: False}


def mask(rng):
    found = np.zeros(HW, bool)
    y, x = (int(rng.integers(0, side - 3)) for side in HW)
    found[y : y + int(rng.integers(2, 9)), x : x + int(rng.integers(2, 9))] = True
    return found


def overlap(rng):
    return Overlap.of(mask(rng), mask(rng))


def panoptic_map(rng):
    ids = np.kron(rng.integers(0, 5, (3, 5)), np.ones((4, 3), np.int32)).astype(np.int32)
    return PanopticSegmentation(
        ids, tuple(SegmentInfo(k, 1 + k % 3) for k in np.unique(ids).tolist() if k)
    )


def instances(rng, number):
    told = [Detection(int(rng.integers(1, 3)), float(rng.random()), mask(rng)) for _ in range(4)]
    true = [
        GroundTruthObject(int(rng.integers(1, 3)), mask(rng), bool(rng.random() < 0.2))
        for _ in range(3)
    ]
    return told, ImageGroundTruth(number, tuple(true))


def sentence(rng):
    return " ".join(rng.choice(["a", "cat", "dog", "sits", "on", "the", "red", "mat"], 6))


METRICS = {
    "overlap": (OverlapScores, lambda rng, k: (overlap(rng),)),
    "referring": (lambda: OverlapScores(IouRule.OFFICIAL), lambda rng, k: (overlap(rng),)),
    "composition": (CompositionScores, lambda rng, k: (overlap(rng), overlap(rng), overlap(rng))),
    "prompt kinds": (
        PromptKindScores,
        lambda rng, k: (list(PromptKind)[rng.integers(5)], overlap(rng)),
    ),
    "robustness": (
        lambda: RobustnessScores(["turned", "dimmed"]),
        lambda rng, k: (
            float(rng.random()),
            {"turned": float(rng.random()), "dimmed": float(rng.random())},
        ),
    ),
    "refusal": (RefusalRate, lambda rng, k: (bool(rng.random() < 0.5),)),
    "clicks": (lambda: ClickScores(12, (0.5, 0.9)), lambda rng, k: (rng.random(12).tolist(),)),
    "panoptic": (
        lambda: PanopticQuality(CATEGORIES),
        lambda rng, k: (panoptic_map(rng), panoptic_map(rng)),
    ),
    "semantic": (
        lambda: SemanticIou(5),
        lambda rng, k: (panoptic_map(rng).ids, panoptic_map(rng).ids),
    ),
    "instances": (MaskAp, instances),
    "video": (
        lambda: VideoQuality(FrameRule.ALL),
        lambda rng, k: ("a", k % 2, k, mask(rng), mask(rng)),
    ),
    "retrieval": (RetrievalRecall, lambda rng, k: (rng.random(8), rng.random((2, 8)))),
    "captions": (CiderD, lambda rng, k: (sentence(rng), [sentence(rng), sentence(rng)])),
    "open vocabulary: semantic": (
        lambda: OpenVocabulary(LabelMode.ORACLE, SemanticIou(5)),
        lambda rng, k: (panoptic_map(rng).ids, panoptic_map(rng).ids),
    ),
    "open vocabulary: panoptic": (
        lambda: OpenVocabulary(LabelMode.FULL, PanopticQuality(CATEGORIES)),
        lambda rng, k: (panoptic_map(rng), panoptic_map(rng)),
    ),
    "open vocabulary: instances": (lambda: OpenVocabulary(LabelMode.FULL, MaskAp()), instances),
}
CASES = 8


class InContext(InContextScores):
    """Takes the reference, which is a keyword, in its place."""

    def update(self, *case):
        super().update(*case, reference=-1)


METRICS["in context"] = (InContext, lambda rng, k: ("a", k % 2, k, mask(rng), mask(rng)))


@pytest.fixture(params=METRICS, ids=[name.replace(": ", "-").replace(" ", "-") for name in METRICS])
def metric(request):
    """Makes a metric that has counted some of eight cases."""
    make, case = METRICS[request.param]
    rng = np.random.default_rng(0)
    cases = [case(rng, k) for k in range(CASES)]

    def counted(places):
        made = make()
        for place in places:
            made.update(*cases[place])
        return made

    return counted


def through_json(state):
    return json.loads(json.dumps(state, default=np.ndarray.tolist))


def test_it_is_a_metric(metric):
    assert isinstance(metric(()), Metric)


def test_halves_make_a_whole(metric):
    whole, half = metric(range(CASES)), metric(range(3))
    half.merge(metric(range(3, CASES)))
    assert repr(half.compute()) == repr(whole.compute())


@pytest.mark.parametrize("kept", [lambda state: state, through_json], ids=["as-it-is", "as-json"])
def test_a_kept_state_goes_on(metric, kept):
    whole, half = metric(range(CASES)), metric(range(5))
    again = type(half).from_state(kept(half.state()))
    assert repr(again.compute()) == repr(half.compute())
    again.merge(metric(range(5, CASES)))
    assert repr(again.compute()) == repr(whole.compute())
    nothing = type(half).from_state(kept(metric(()).state()))
    assert repr(nothing.compute()) == repr(metric(()).compute())


def test_it_travels_between_processes(metric):
    counted = metric(range(CASES))
    assert repr(pickle.loads(pickle.dumps(counted)).compute()) == repr(counted.compute())


def test_a_state_does_not_change_with_what_is_counted_later(metric):
    counted = metric(range(3))
    state = counted.state()
    before = json.dumps(state, default=np.ndarray.tolist)
    counted.merge(metric(range(3, CASES)))
    assert json.dumps(state, default=np.ndarray.tolist) == before


@pytest.mark.parametrize("places", [range(CASES), ()], ids=["counted", "empty"])
def test_its_result_goes_into_the_report(metric, places):
    scores = metric(places).compute()
    selection = Selection("boxes", "val", 2, CASES, "0")
    card = ModelDescription("m", None, 0, 1, 1, "float32", "cpu")
    report = EvaluationReport(
        card, Machine.here(1), {}, [Entry("p", "model", selection, scores, {})], 1.0, {}
    )
    (entry,) = json.loads(report.to_json())["entries"]
    assert set(entry["scores"]) == {column.name for column in fields(scores)}
    assert summarize_scores(scores)


def test_a_reset_forgets(metric):
    counted = metric(range(CASES))
    counted.reset()
    assert repr(counted.compute()) == repr(metric(()).compute())
