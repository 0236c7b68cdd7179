"""A detector's boxes: masks that keep its classes, scores and ids, and the way to supervision and back."""

import sys
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import pytest
import torch

import seem
from seem.inference import prompt_decoder
from seem.tasks.boxes import read_boxes
from tiny import CONFIGS, picture, tiny_model, tiny_relative

BOXES = [[1, 2, 30, 30], [4.5, 5, 60, 30], [0, 0, 53, 37]]


@dataclass
class Detections:
    """The columns of supervision.Detections, under the names that it has."""

    xyxy: np.ndarray
    mask: np.ndarray | None = None
    confidence: np.ndarray | None = None
    class_id: np.ndarray | None = None
    tracker_id: np.ndarray | None = None
    data: dict = field(default_factory=dict)


@pytest.fixture(scope="module", params=CONFIGS)
def photo(request):
    return tiny_model(request.param).encode(picture(53, 37))


def detections(**columns):
    return Detections(np.array(BOXES, dtype=np.float32), **columns)


# --- Boxes alone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "array", "tensor", "detections"])
def test_every_form_of_boxes_is_answered_as_the_prompts_are(photo, form):
    given = {
        "list": BOXES,
        "array": np.array(BOXES),
        "tensor": torch.tensor(BOXES),
        "detections": detections(),
    }[form]
    result, wanted = (
        photo.segment_boxes(given),
        photo.segment_many([[seem.Box(*sides)] for sides in BOXES]),
    )
    assert (result.masks == wanted.masks).all()
    assert result.scores.tolist() == wanted.scores.tolist()
    assert result.ids.tolist() == [1, 2, 3]
    assert result.labels == wanted.labels
    assert result.provenance.prompts == wanted.provenance.prompts


@pytest.mark.parametrize(
    "given", [[], np.zeros((0, 4)), torch.zeros(0, 4), Detections(np.zeros((0, 4)))]
)
def test_no_boxes_give_an_empty_result(photo, given):
    result = photo.segment_boxes(given)
    assert result.masks.shape == (0, 37, 53)
    assert result.labels == ()
    assert result.to_records() == []


def test_many_small_boxes_are_answered_as_one_by_one(photo):
    many = [[x, y, x + 4, y + 4] for x in range(0, 44, 5) for y in range(0, 29, 3)]
    assert len(many) > 64
    result = photo.segment_boxes(many)
    for row in (0, 63, 64, len(many) - 1):
        np.testing.assert_allclose(
            result.logits[row], photo.segment(seem.Box(*many[row])).logits[0], atol=1e-4
        )


def test_many_large_boxes_share_tokens_with_few_others(monkeypatch, photo):
    passes = []
    segment_objects = prompt_decoder.segment_objects
    monkeypatch.setattr(
        prompt_decoder,
        "segment_objects",
        lambda *a, **k: passes.append(a[2]) or segment_objects(*a, **k),
    )
    photo.segment_boxes([[0, 0, 50, 30]] * 20)
    together = [prompts.positive.shape[1] for prompts in passes]
    assert together == (
        [20] if photo.model.network.decoder.policy.independent_objects else [8, 8, 4]
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            [1, 2, float("nan"), 4],
            r"Row 1 of the boxes: The x1 of a box is nan; it must be a finite number",
        ),
        ([1, 2, float("inf"), 4], r"Row 1 of the boxes: The x1 of a box is inf"),
        (
            [9, 2, 3, 4],
            r"Row 1 of the boxes: Box\(9, 2, 3, 4\) is inverted; give the left top corner",
        ),
        ([9, 2, 9, 4], r"Row 1 of the boxes: Box\(9, 2, 9, 4\) is empty"),
        (
            [60, 2, 70, 4],
            r"Row 1 of the boxes: Box\(60, 2, 70, 4\) lies outside the image of 53 x 37 pixels",
        ),
        ([-9, -9, 0, 0], r"Row 1 of the boxes: Box\(-9, -9, 0, 0\) lies outside the image"),
    ],
)
@pytest.mark.parametrize("form", ["list", "detections"])
def test_a_bad_box_is_refused_by_its_row(photo, row, message, form):
    table = [BOXES[0], row, BOXES[2]]
    with pytest.raises(ValueError, match=message) as caught:
        photo.segment_boxes(table if form == "list" else Detections(np.array(table)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [1.0, 2.0, 3.0, 4.0],
            r"Boxes are N x 4 numbers, .* shape \(4,\); put a single box into a list",
        ),
        ([[1, 2, 3]], r"Boxes are N x 4 numbers, .* shape \(1, 3\)\.$"),
        ([[1, 2, 3, 4], [1, 2, 3]], "these have rows of different lengths"),
        (np.array([["a", "b", "c", "d"]]), "Boxes are N x 4 numbers"),
        (np.zeros((2, 2, 4)), r"shape \(2, 2, 4\)"),
    ],
    ids=["one box", "three sides", "ragged", "letters", "three axes"],
)
def test_what_is_no_table_of_boxes_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        read_boxes.__wrapped__(given, (37, 53))  # without the type checks of these tests


def test_a_model_that_takes_no_boxes_says_so():
    with pytest.raises(ValueError, match="takes no visual prompts"):
        tiny_relative("xdecoder").encode(picture(53, 37)).segment_boxes(BOXES)


# --- What the detector said -------------------------------------------------------------------------------------------


def test_classes_scores_and_ids_of_the_detector_are_kept(photo):
    given = detections(
        confidence=np.array([0.9, 0.4, 0.7], dtype=np.float32),
        class_id=np.array([16, 2, 16]),
        tracker_id=np.array([7, 3, 12]),
        data={"class_name": np.array(["dog", "car", "dog"])},
    )
    result = photo.segment_boxes(given)
    assert result.labels == ("dog", "car", "dog")
    assert result.category_ids.tolist() == [17, 3, 17]
    assert [(c["id"], c["name"]) for c in result.categories] == [
        (0, "unlabelled"),
        (3, "car"),
        (17, "dog"),
    ]
    assert result.scores.tolist() == pytest.approx([0.9, 0.4, 0.7])
    assert result.label_scores == pytest.approx([0.9, 0.4, 0.7])
    assert result.ids.tolist() == [7, 3, 12]
    assert result.provenance.rules == ("box: filled", "score: the detector's")
    assert (result.masks == photo.segment_boxes(BOXES).masks).all()
    assert [one["id"] for one in result.filter(label="dog").to_coco()["annotations"]] == [7, 12]
    assert result.overlay().size == (53, 37)


@pytest.mark.parametrize(
    ("columns", "classes", "labels", "ids"),
    [
        ({"class_id": [16, 2, 0]}, None, ("class 16", "class 2", "class 0"), [17, 3, 1]),
        ({"class_id": [16, 2, 0]}, "coco", ("dog", "car", "person"), [18, 3, 1]),
        ({"class_id": [1, 0, 1]}, ["cat", "sky"], ("sky", "cat", "sky"), [2, 1, 2]),
        ({"data": {"class_name": ["a", "b", "a"]}}, None, ("a", "b", "a"), [1, 2, 1]),
        (
            {"class_id": [5, 0, 5], "data": {"class_name": ["a", "b", "a"]}},
            "coco",
            ("a", "b", "a"),
            [6, 1, 6],
        ),
    ],
    ids=["ids alone", "ids of COCO", "ids of own names", "names alone", "names go first"],
)
def test_a_class_is_called_what_is_known_of_it(photo, columns, classes, labels, ids):
    given = detections(
        **{name: np.array(c) if name == "class_id" else c for name, c in columns.items()}
    )
    result = photo.segment_boxes(given, classes=classes)
    assert result.labels == labels
    assert result.category_ids.tolist() == ids
    assert result.scores.tolist() == photo.segment_boxes(BOXES).scores.tolist()


@pytest.mark.parametrize(
    ("columns", "classes", "message"),
    [
        (
            {"confidence": [0.5, 1.5, 0.5]},
            None,
            "Row 1 of the boxes has the confidence 1.5; it must be between 0 and 1",
        ),
        (
            {"confidence": [0.5, float("nan"), 0.5]},
            None,
            "Row 1 of the boxes has the confidence nan",
        ),
        (
            {"confidence": [0.5]},
            None,
            "There are 3 boxes, but 1 values of confidence; give one for each box",
        ),
        (
            {"tracker_id": [1, 2, 0]},
            None,
            "Row 2 of the boxes has the tracker id 0; they start at 1",
        ),
        ({"tracker_id": [1, 2, 1]}, None, "Rows 0 and 2 of the boxes both have the tracker id 1"),
        (
            {"class_id": [1, -1, 1]},
            None,
            "Row 1 of the boxes has the class id -1; class ids count from 0",
        ),
        (
            {"class_id": [1, 2, 1]},
            ["cat", "dog"],
            "Row 1 of the boxes has class id 2, but classes has 2 names",
        ),
        (
            {"class_id": [1, 2, 1], "data": {"class_name": ["a", "b", "c"]}},
            None,
            "Row 2 of the boxes calls class 1 'c'",
        ),
        (
            {"class_id": [1, 2, 3], "data": {"class_name": ["a", "b", "a"]}},
            None,
            "Row 2 of the boxes calls class 3 'a'",
        ),
        ({"data": {"class_name": ["a", "b"]}}, None, "3 boxes, but 2 values of class_name"),
    ],
    ids=[
        *(
            "score above 1",
            "score NaN",
            "too few scores",
            "id 0",
            "id twice",
            "class below 0",
            "class beyond names",
        ),
        *("class of two names", "name of two classes", "too few names"),
    ],
)
def test_a_column_that_cannot_be_is_refused_by_its_row(photo, columns, classes, message):
    given = detections(
        **{name: c if name == "data" else np.array(c) for name, c in columns.items()}
    )
    with pytest.raises(ValueError, match=message) as caught:
        photo.segment_boxes(given, classes=classes)
    assert len(str(caught.value).splitlines()) == 1


def test_classes_for_boxes_alone_are_refused(photo):
    with pytest.raises(ValueError, match="classes has no effect on boxes alone"):
        photo.segment_boxes(BOXES, classes=["cat"])


# --- supervision ------------------------------------------------------------------------------------------------------


@pytest.fixture
def supervision(monkeypatch):
    """Stand in for the package, which is optional."""
    package = ModuleType("supervision")
    package.Detections = Detections
    monkeypatch.setitem(sys.modules, "supervision", package)


def test_detections_come_back_as_they_went_with_masks(photo, supervision):
    given = detections(
        confidence=np.array([0.9, 0.4, 0.7], dtype=np.float32),
        class_id=np.array([16, 2, 16]),
        tracker_id=np.array([7, 3, 12]),
        data={"class_name": np.array(["dog", "car", "dog"])},
    )
    result = photo.segment_boxes(given)
    assert not result.scores.flags.writeable
    assert not result.ids.flags.writeable
    back = result.to_supervision()
    for column in ("confidence", "class_id", "tracker_id"):
        assert getattr(back, column).tolist() == getattr(given, column).tolist()
    assert back.data["class_name"].tolist() == ["dog", "car", "dog"]
    assert back.mask.shape == (3, 37, 53)
    assert (back.mask == result.masks).all()
    assert (back.xyxy == result.boxes).all()
    assert back.xyxy.dtype == np.float32


def test_class_ids_count_from_0_in_every_vocabulary(photo, supervision):
    for classes in (None, "ade20k", ["fox", "the sky at night"]):
        result = photo.semantic(classes)
        found = result.to_supervision()
        assert found.class_id.tolist() == [
            result.vocabulary.names.index(label) for label in result.labels
        ]
        assert found.data["class_name"].tolist() == list(result.labels)


def test_what_has_no_name_has_class_minus_1(photo, supervision, monkeypatch):
    monkeypatch.setattr(
        "seem.tasks.labels.MIN_TEXT_MAP_PROBABILITY", 1.1
    )  # tiny networks know no names
    found = photo.segment(seem.Point(4, 2)).to_supervision()
    assert found.class_id.tolist() == [-1]
    assert found.data["class_name"].tolist() == ["unlabelled"]
    assert photo.segment_boxes([]).to_supervision().mask.shape == (0, 37, 53)


def test_without_supervision_the_extra_is_named(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(
        seem.SeemError, match=r'supervision is not installed .*pip install "seem\[supervision\]"'
    ):
        photo.segment(seem.Point(4, 2)).to_supervision()


def test_the_real_package_takes_what_we_hand_over(photo):
    package = pytest.importorskip("supervision", reason="needs the extra supervision")
    given = package.Detections(
        xyxy=np.array(BOXES, dtype=np.float32), class_id=np.array([16, 2, 16])
    )
    back = photo.segment_boxes(given, classes="coco").to_supervision()
    assert isinstance(back, package.Detections)
    assert back.class_id.tolist() == [16, 2, 16]
    records = photo.everything(
        2, pred_iou_threshold=0.0, stability_score_threshold=0.0
    ).to_records()
    assert len(package.Detections.from_sam(records)) == len(records)
