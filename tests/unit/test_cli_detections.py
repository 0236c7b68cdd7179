"""Files of boxes: the rows that can be used are, the others are named."""

import json

import numpy as np
import pytest

from seem.cli.detections import read_detections

GOOD = {"image_id": 7, "bbox": [3, 4, 27, 26], "category_id": 17, "score": 0.9}
HW = (37, 53)


@pytest.fixture
def read(tmp_path):
    """Write a file and read it."""

    def read(rows, ids_from=None, **changes):
        content = rows
        if changes is not None and changes.pop("bare", False) is False:
            content = {
                "images": [{"id": 7, "file_name": "set/street.png"}],
                "annotations": rows,
                "categories": [{"id": 17, "name": "cat"}],
                **changes,
            }
        path = tmp_path / "found.json"
        path.write_text(json.dumps(content), encoding="utf-8-sig")
        return read_detections(path, ids_from)

    return read


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bbox": [3, 4, 0, 26]}, "Box(3, 4, 3, 30) is empty"),
        ({"bbox": [3, 4, -2, 26]}, "is inverted"),
        ({"bbox": [90, 4, 5, 5]}, "lies outside the image of 53 x 37 pixels"),
        ({"bbox": [3, 4, 5]}, "its bbox is [3, 4, 5], not x, y, width, height"),
        ({"bbox": [3, 4, None, 5]}, "not x, y, width, height"),
        ({"bbox": [float("nan"), 4, 5, 5]}, "must be a finite number"),
        ({"bbox": [10**400, 4, 5, 5]}, "further away than any image reaches"),
        ({"bbox": None}, "'bbox' is missing"),
        ({"score": None}, "it has no score, and other rows have one"),
        ({"score": 90}, "its score is 90; it must be between 0 and 1"),
        ({"score": "high"}, "its score is 'high'"),
        ({"category_id": None}, "its category_id is None, and other rows have one"),
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_a_bad_row_is_named_and_the_good_one_is_used(read, bad, reason, position):
    rows = [GOOD]
    rows.insert(position, {**GOOD, **bad})
    boxes, notes = read(rows).boxes_in("street.png", HW)
    assert boxes.xyxy.tolist() == [[3, 4, 30, 30]]
    assert boxes.confidence.tolist() == [0.9]
    assert boxes.data == {"class_name": ["cat"]}
    (note,) = notes
    assert note.startswith(f"found.json, row {position} is left out: ")
    assert reason in note


def test_an_image_whose_rows_are_all_bad_is_refused(read):
    file = read([{**GOOD, "bbox": [90, 4, 5, 5]}])
    with pytest.raises(ValueError, match=r"None of its boxes in .*found\.json can be used, row 0"):
        file.boxes_in("street.png", HW)


def test_an_image_without_rows_has_no_boxes(read):
    images = [{"id": 7, "file_name": "street.png"}, {"id": 8, "file_name": "empty.png"}]
    boxes, notes = read([GOOD], images=images).boxes_in("empty.png", HW)
    assert (len(boxes.xyxy), notes) == (0, ())


def test_rows_of_unknown_images_are_counted_for_the_file(read):
    file = read([GOOD, {**GOOD, "image_id": 9}, {**GOOD, "image_id": [1]}])
    (note,) = file.notes
    assert note.endswith("row 1 is left out: image_id 9 is not among images; so are 1 more.")
    assert len(file.rows["street.png"]) == 1


@pytest.mark.parametrize(
    ("ids", "class_ids", "note"),
    [
        ([1, 3], [0, 2], None),
        ([0, 3], [0, 3], "category ids count from 0, those of the results are one higher"),
        (["cat", "dog"], [0, 1], "no whole numbers from 1 on; they are numbered in their order"),
        ([-1, 10**30], [0, 1], "they are numbered in their order"),
        ([1.0, 3.0], [0, 2], None),
    ],
)
def test_category_ids_of_any_kind_are_classes(read, ids, class_ids, note):
    categories = [{"id": ids[0], "name": "cat"}, {"id": ids[1], "name": "dog"}]
    rows = [{**GOOD, "category_id": number} for number in ids]
    file = read(rows, categories=categories)
    boxes, _ = file.boxes_in("street.png", HW)
    assert boxes.class_id.tolist() == class_ids
    assert boxes.data == {"class_name": ["cat", "dog"]}
    assert len(file.notes) == (note is not None)
    assert note is None or note in file.notes[0]


def test_a_category_without_a_name_keeps_its_box(read):
    file = read([GOOD, {**GOOD, "category_id": 4}])
    boxes, _ = file.boxes_in("street.png", HW)
    assert boxes.data == {"class_name": ["cat", "class 4"]}
    assert file.notes[0].endswith("category_id 4 is not among categories; it is called 'class 4'.")


def test_boxes_without_classes_and_scores_are_boxes_alone(read):
    boxes, _ = read([{"image_id": 7, "bbox": [3, 4, 5, 6]}]).boxes_in("street.png", HW)
    assert boxes.class_id is None
    assert boxes.confidence is None
    assert boxes.data == {}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"image_id": "street"}, "street.png"),  # a stem, as Ultralytics writes
        ({"image_id": 139}, "000000000139.jpg"),  # COCO's number
        ({"image_id": 5, "file_name": "set/street.png"}, "street.png"),
    ],
)
def test_a_bare_list_of_results_names_its_photos_itself(read, row, name):
    boxes, _ = read([{**GOOD, **row}], bare=True).boxes_in(name, HW)
    assert boxes.xyxy.tolist() == [[3, 4, 30, 30]]
    assert boxes.data == {"class_name": ["class 17"]}
    assert boxes.class_id.tolist() == [16]


def test_another_file_says_what_the_ids_of_a_list_are(read, tmp_path):
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "val/street.png"}],
                "categories": [{"id": 17, "name": "cat"}],
            }
        )
    )
    boxes, _ = read([GOOD], ids_from=truth, bare=True).boxes_in("street.png", HW)
    assert boxes.data == {"class_name": ["cat"]}
    assert np.allclose(boxes.confidence, 0.9)


def test_a_list_that_does_not_name_the_photo_says_how_to(read):
    with pytest.raises(ValueError, match="it has 7; --ids-from FILE says which photo"):
        read([GOOD], bare=True).boxes_in("street.png", HW)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_boxes_are_read_in_every_encoding_of_json(tmp_path, encoding):
    path = tmp_path / "boxes.json"
    path.write_text('[{"image_id": "ü.png", "bbox": [1, 2, 3, 4]}]', encoding=encoding)
    assert list(read_detections(path).rows) == ["ü.png"]
