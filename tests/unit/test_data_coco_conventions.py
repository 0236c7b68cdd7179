"""COCO files as tools write them: notations of masks, crowds that are objects, repeated rows, fractions, stuff."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.inspection import inspect_dataset
from seem.data.opening import open_dataset
from seem.data.readers.coco_masks import describe_area_conflict, describe_box_conflict, parse_mask
from seem.data.records import DataError, FlawKind

HW = tiny.A_HW  # 12 x 16
SQUARE = tiny.polygon(2, 2, 6, 6)
OTHER = tiny.polygon(8, 2, 10, 6)


def coco_of(tmp_path, change):
    tiny.photos(tmp_path / "images")
    document = tiny.coco_document()
    change(document)
    tiny.text(tmp_path / "annotations.json", document)
    return tmp_path


def report_of(folder):
    return inspect_dataset(open_dataset(str(folder), tolerant=True))


def notes_of(report, kind):
    return [f"{note.where}: {note.what}" for note in report.notes if note.kind is kind]


def runs(mask):
    return {"size": list(mask.shape), "counts": tiny.column_counts(mask)}


def mask_of(*boxes):
    mask = np.zeros(HW, bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


# --- Notations of masks -----------------------------------------------------------------------------------------------

CODE = runs(mask_of((2, 2, 6, 6)))
NOTATIONS = {
    "a list of polygons": ([SQUARE], 16),
    "one polygon, no list around it": (SQUARE, 16),
    "lists in lists": ([[[SQUARE]]], 16),
    "corners in pairs": ([[[2, 2], [6, 2], [6, 6], [2, 6]]], 16),
    "one ring of pairs": ([[2, 2], [6, 2], [6, 6], [2, 6]], 16),
    "two parts": ([SQUARE, OTHER], 24),
    "a code": (CODE, 16),
    "a list of codes": ([CODE, runs(mask_of((8, 2, 10, 6)))], 24),
    "floating-point sizes and counts": ({"size": [12.0, 16.0], "counts": list(map(float, CODE["counts"]))}, 16),
    "counts in a list": ({**CODE, "counts": [CODE["counts"]]}, 16),
    "no size": ({"counts": CODE["counts"]}, 16),
    "printed bytes": ({"size": [12, 16], "counts": "b'j048000h3'"}, 16),
}  # fmt: skip


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation_of_a_mask_is_read(notation):
    segmentation, area = NOTATIONS[notation]
    if notation == "printed bytes":
        from pycocotools import mask as rle

        counts = rle.frPyObjects(CODE, *HW)["counts"]
        segmentation = {"size": [12, 16], "counts": str(counts)}
    parsed = parse_mask(segmentation, HW)
    assert (parsed.rle.area, parsed.lost_rings) == (area, "")


@pytest.mark.parametrize(
    ("bad", "words"),
    [([1, 1, 9, 9], "4 numbers (a box"), ([1, 1, 9], "3 numbers"), ([1, 1, 9, 9, 3, 3, 4], "7 numbers"),
     ([], "0 numbers"), ([1, 1, float("nan"), 2, 3, 3], "no number"), ([None] * 6, "no list of numbers"),
     ("m", "no list of numbers")],
)  # fmt: skip
def test_a_bad_ring_costs_itself_alone(bad, words):
    parsed = parse_mask([SQUARE, bad, OTHER], HW)
    assert parsed.rle.area == 24
    assert parsed.lost_rings.startswith("1 of 3: ")
    assert words in parsed.lost_rings
    with pytest.raises(DataError, match="polygon"):
        parse_mask([bad, [1, 2]], HW)


OUTER, INNER = tiny.polygon(1, 1, 11, 11), tiny.polygon(4, 4, 8, 8)  # 100 and 16 pixels


@pytest.mark.parametrize(
    ("rings", "written", "area", "words"),
    [
        ([OUTER, INNER], None, 100, "it is filled, as COCO's tools do"),
        ([OUTER, INNER], 100, 100, "it is filled"),
        ([OUTER, INNER], 121.0, 100, "it is filled"),  # of the box
        ([INNER, OUTER], 83.5, 84, "it is read as a hole, as the area"),
        ([OUTER, OUTER], None, 100, ""),
        ([SQUARE, OTHER], 3, 24, ""),
    ],
)
def test_a_ring_in_a_ring_is_a_hole_where_the_area_says_so(rings, written, area, words):
    parsed = parse_mask(rings, HW, written)
    assert parsed.rle.area == area
    assert parsed.inner_rings.startswith(words)
    assert bool(parsed.inner_rings) == bool(words)


def test_a_part_in_the_notch_of_another_one_is_no_ring_in_a_ring():
    corner = [0, 0, 12, 0, 12, 2, 2, 2, 2, 12, 0, 12]  # an L around the other one
    assert parse_mask([corner, tiny.polygon(4, 4, 8, 8)], HW).inner_rings == ""


def test_lists_without_end_are_refused():
    deep = SQUARE
    for _ in range(30):
        deep = [deep, [1]]
    with pytest.raises(DataError, match="more than 4 lists"):
        parse_mask(deep, HW)


# --- Boxes and areas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((40, 30, 20, 10), ""), ((41.2, 29.1, 19, 12), ""), ((30, 20, 60, 60), ""), ((40, 30, 60, 40), "x0, y0, x1, y1"),
     ((30, 40, 10, 20), "y, x, height, width"), ((30, 40, 40, 60), "y0, x0, y1, x1"), ((50, 35, 20, 10), "centre"),
     ((0.2, 0.3, 0.1, 0.1), "fractions x, y, width"), ((0.2, 0.3, 0.3, 0.4), "fractions x0"),
     ((0.25, 0.35, 0.1, 0.1), "fractions of centre"), ((0, 0, 5, 5), "that of its mask 40, 30, 20, 10")],
)  # fmt: skip
def test_a_box_in_another_notation_is_named(numbers, words):
    mask = parse_mask([tiny.polygon(40, 30, 60, 40)], (100, 200)).rle
    x, y, w, h = numbers
    conflict = describe_box_conflict((x, y, x + w, y + h), mask)
    assert bool(conflict) == bool(words)
    assert words in conflict


@pytest.mark.parametrize(
    ("area", "words"),
    [(200, ""), (210.5, ""), (None, ""), (float("nan"), ""), (0, "its area is 0"), (7, "200 pixels"),
     (100_000, "its area is 100000")],
)  # fmt: skip
def test_an_area_of_another_mask_is_named(area, words):
    mask = parse_mask([tiny.polygon(40, 30, 60, 40)], (100, 200)).rle
    conflict = describe_area_conflict(area, mask)
    assert bool(conflict) == bool(words)
    assert words in conflict


def test_an_area_that_is_the_box_is_called_so():
    triangle = parse_mask([[10, 10, 90, 10, 10, 90]], (100, 200)).rle
    assert "which is its box's" in describe_area_conflict(6400, triangle)


def test_contradictions_are_one_line_with_their_number(tmp_path):
    def change(document):
        for row in document["annotations"]:
            row["area"] = 9000

    notes = notes_of(report_of(coco_of(tmp_path, change)), FlawKind.AREA_UNLIKE_MASK)
    assert len(notes) == 1
    assert notes[0].startswith(
        "4 of 4 objects: the masks count; annotation 1 of photo 7: its area is 9000"
    )


# --- Crowds -----------------------------------------------------------------------------------------------------------


def crowds(*boxes, count=1):
    def change(document):
        sound = document["annotations"][0]
        document["annotations"] = [copy.deepcopy(sound) | {"id": n} for n in range(1, count + 1)]
        for number, corners in enumerate(boxes, count + 1):
            code = runs(mask_of(corners))
            row = {
                **sound,
                "id": number,
                "segmentation": code,
                "iscrowd": 1,
                "bbox": None,
                "area": None,
            }
            document["annotations"].append(row)

    return change


@pytest.mark.parametrize(
    ("change", "groups", "words"),
    [
        (crowds((8, 2, 12, 6), count=0), 0, "the only object"),
        (crowds((8, 2, 12, 6), (1, 1, 3, 3), count=0), 0, "all 2 objects"),
        (crowds((8, 2, 12, 6), (1, 1, 3, 3), count=9), 0, "several of one class"),
        (crowds((8, 2, 12, 6), count=9), 1, "neither learnt nor scored"),
    ],
)
def test_crowds_that_are_no_crowds_are_read_as_objects(tmp_path, change, groups, words):
    folder = coco_of(tmp_path, change)
    report = report_of(folder)
    assert (report.groups, report.flaws) == (groups, ())
    (note,) = notes_of(report, FlawKind.CROWD)
    assert words in note
    dataset = open_dataset(str(folder))
    records = [record for image in dataset.images for record in dataset.objects[image.id]]
    assert sum(record.is_group for record in records) == groups


@pytest.mark.parametrize(("tool", "groups"), [("supervision", 0), ("datumaro", 0), ("unknown", 1)])
def test_exporters_that_mark_holes_as_crowds_are_known_by_their_licences(tmp_path, tool, groups):
    licences = {
        "supervision": [
            {"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}
        ],
        "datumaro": [{"name": "", "id": 0, "url": ""}],
        "unknown": [{"name": "mine", "id": 3, "url": ""}],
    }

    def change(document):
        crowds((8, 2, 12, 6), count=5)(document)
        document["licenses"] = licences[tool]

    report = report_of(coco_of(tmp_path, change))
    assert report.groups == groups
    assert (tool in str(report.notes)) == (groups == 0)


@pytest.mark.parametrize(
    ("value", "groups"), [("0", 0), ("1", 1), (False, 0), (True, 1), (None, 0), (1.0, 1)]
)
def test_iscrowd_may_be_a_text(tmp_path, value, groups):
    def change(document):
        document["annotations"][3]["iscrowd"] = value

    assert report_of(coco_of(tmp_path, change)).groups == groups


# --- Repeated rows ----------------------------------------------------------------------------------------------------


def test_two_photos_of_one_id_get_nobody_s_annotations(tmp_path):
    def change(document):
        document["images"].append({**document["images"][0], "file_name": "b.jpg"})

    report = report_of(coco_of(tmp_path, change))
    assert [flaw.kind for flaw in report.flaws] == [FlawKind.DUPLICATE_ID]
    assert "a.jpg, b.jpg" in report.flaws[0].what
    assert (report.images, report.objects) == (1, 2)


def test_one_file_as_two_photos_is_noted_and_each_has_its_own_objects(tmp_path):
    def change(document):
        document["images"][1] |= {"file_name": "a.jpg", "height": HW[0], "width": HW[1]}
        document["annotations"] = document["annotations"][:2]

    folder = coco_of(tmp_path, change)
    (note,) = notes_of(report_of(folder), FlawKind.DUPLICATE_IMAGE)
    assert note.startswith("a.jpg: photos 7, 9")
    dataset = open_dataset(str(folder))
    assert [len(dataset.objects[image.id]) for image in dataset.images] == [2, 0]


def test_an_id_of_two_objects_costs_neither(tmp_path):
    def change(document):
        document["annotations"][1]["id"] = 1
        document["annotations"][2]["id"] = "x7"

    folder = coco_of(tmp_path, change)
    (note,) = notes_of(report_of(folder), FlawKind.NEW_ID)
    assert "2 times" in note
    dataset = open_dataset(str(folder))
    ids = [record.id for image in dataset.images for record in dataset.objects[image.id]]
    assert ids == [1, 5, 6, 4]


def test_an_object_that_is_there_twice_is_noted(tmp_path):
    def change(document):
        cat = document["annotations"][0]
        code = runs(mask_of((1, 2, 6, 9)))
        document["annotations"].append({**cat, "id": 50, "segmentation": code})
        document["annotations"].append({**cat, "id": 51, "category_id": 19})

    report = report_of(coco_of(tmp_path, change))
    assert notes_of(report, FlawKind.DUPLICATE_OBJECT) == [
        "1 of 6 objects: same class, same mask; in photo 7 annotation 50 is annotation 1 once more"
    ]


def test_a_set_held_twice_is_called_so(tmp_path):
    def change(document):
        for row in list(document["annotations"]):
            document["annotations"].append({**row, "id": row["id"] + 50})

    (note,) = notes_of(report_of(coco_of(tmp_path, change)), FlawKind.DUPLICATE_OBJECT)
    assert note.startswith("4 of 8 objects: the whole set is there twice")


def test_ids_of_photos_as_texts_and_numbers_are_the_same(tmp_path):
    def change(document):
        for row in document["annotations"]:
            row["image_id"] = str(row["image_id"])
        document["images"][0]["id"] = 7.0

    report = report_of(coco_of(tmp_path, change))
    assert (report.flaws, report.objects) == ((), 4)


# --- Fractions and stuff ----------------------------------------------------------------------------------------------


def test_polygons_as_fractions_of_the_photo_are_read_as_meant(tmp_path):
    def change(document):
        cat = document["annotations"][0]
        ring = [n / (16, 12)[index % 2] for index, n in enumerate(cat["segmentation"][0])]
        cat |= {"segmentation": [ring], "bbox": [1 / 16, 2 / 12, 5 / 16, 7 / 12]}
        document["annotations"] = [cat]

    folder = coco_of(tmp_path, change)
    report = report_of(folder)
    assert notes_of(report, FlawKind.FRACTIONS)
    assert report.flaws == ()
    dataset = open_dataset(str(folder))
    (cat,) = dataset.objects[7]
    assert (cat.area, cat.box) == (35, (1, 2, 6, 9))


def test_a_panoptic_file_that_calls_objects_stuff_doubles_nothing(tmp_path):
    import json

    folder = tiny.coco_panoptic(tmp_path)
    file = folder / "annotations" / "panoptic_val2017.json"
    document = json.loads(file.read_text())
    for category in document["categories"]:
        category["isthing"] = 0
    file.write_text(json.dumps(document))
    report = report_of(folder)
    (note,) = notes_of(report, FlawKind.STUFF)
    assert "cat, dog" in note
    assert report.objects == 5  # four of the instances file and the grass


def test_a_set_of_stuff_alone_says_so(tmp_path):
    def change(document):
        document["annotations"] = []
        for category in document["categories"]:
            category["isthing"] = 0

    (note,) = notes_of(report_of(coco_of(tmp_path, change)), FlawKind.STUFF)
    assert note.startswith("all 3 classes")
