"""What `seem data check` finds: every fault once, in words, and nothing in a sound set."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

import tiny_data as tiny
import tiny_training
from seem.cli.main import main
from seem.data import coco_rle
from seem.data.inspection import inspect_dataset
from seem.data.opening import open_dataset
from seem.data.polygons import goes_round_twice, is_self_intersecting
from seem.data.records import FlawKind


def report_of(folder, **changes):
    return inspect_dataset(open_dataset(str(folder), tolerant=True), **changes)


def coco_with(tmp_path, change):
    """COCO as people export it, after `change(document)`."""
    tiny.photos(tmp_path / "images")
    document = tiny.coco_document()
    change(document)
    tiny.text(tmp_path / "annotations.json", document)
    return tmp_path


@pytest.mark.parametrize(
    "write",
    [tiny.coco, tiny.lvis, tiny.voc, tiny.context, tiny.sbd, tiny.grabcut, tiny.berkeley, tiny.youtube_vos, tiny.ade20k,
     tiny.cityscapes, tiny.sunrgbd, tiny.openimages, tiny.yolo, tiny.folder_of_maps, tiny.folder_of_objects,
     tiny.folder_of_classes],
)  # fmt: skip
def test_a_sound_set_has_no_problem(tmp_path, write):
    folder = write(tmp_path)
    split = "test" if write is tiny.sunrgbd else "val"
    report = inspect_dataset(open_dataset(str(folder), split, tolerant=True))
    assert report.flaws == ()
    assert report.images >= 1
    assert report.objects >= 1


def test_counts_sizes_and_classes(tmp_path):
    report = report_of(tiny.coco(tmp_path))
    assert (report.images, report.objects, report.groups, report.captions) == (2, 4, 1, 1)
    assert report.sizes_hw == ((10, 14), (10, 14), (12, 16))
    assert [(c.name, c.objects, c.images) for c in report.classes] == [
        ("cat", 2, 2),
        ("dog", 1, 1),
        ("horse", 1, 1),
    ]
    assert report.ok


def set_row(place, **values):
    return lambda document: document["annotations"][place].update(values)


def repeat(key):
    return lambda document: document[key].append(dict(document[key][0]))


def coded(hw, counts):
    return set_row(1, segmentation={"size": list(hw), "counts": counts})


NAN = float("nan")
FAULTS = {
    "unknown category": (set_row(0, category_id=99), FlawKind.UNKNOWN_CATEGORY, "99"),
    "category of another kind": (set_row(0, category_id="cat"), FlawKind.UNKNOWN_CATEGORY, "'cat'"),
    "unknown photo": (set_row(0, image_id=1234), FlawKind.UNKNOWN_IMAGE, "1234"),
    "box outside": (set_row(0, bbox=[1, 2, 50, 7]), FlawKind.OUT_OF_BOUNDS, "xyxy"),
    "no mask": (set_row(0, segmentation=[]), FlawKind.NO_MASK, "box at most"),
    "polygon outside": (set_row(0, segmentation=[tiny.polygon(1, 2, 60, 9)]), FlawKind.OUT_OF_BOUNDS, "corner"),
    "bow tie": (set_row(0, segmentation=[[1, 1, 9, 9, 9, 1, 1, 9]]), FlawKind.SELF_INTERSECTION, "cross"),
    "two corners": (set_row(0, segmentation=[[1, 1, 9, 9]]), FlawKind.UNREADABLE_ROW, "three corners"),
    "NaN corner": (set_row(0, segmentation=[[1, 1, 9, NAN, 9, 1]]), FlawKind.UNREADABLE_ROW, "no number"),
    "corners as words": (set_row(0, segmentation=[["1", "1", "9", "9", "9", "1"]]), FlawKind.UNREADABLE_ROW, "numbers"),
    "polygon without area": (set_row(0, segmentation=[[3, 3] * 3], bbox=[3, 3, 0, 0]), FlawKind.EMPTY_MASK, "no pixel"),
    "run lengths of another size": (coded((5, 5), [25]), FlawKind.WRONG_SIZE, "5 x 5"),
    "run lengths too short": (coded((12, 16), [4, 5]), FlawKind.WRONG_SIZE, "sum to 9"),
    "negative run": (coded((12, 16), [-8, 200]), FlawKind.UNREADABLE_ROW, "counts"),
    "text that is no code": (coded((12, 16), "\x01"), FlawKind.UNREADABLE_ROW, "letters"),
    "code cut short": (coded((12, 16), "oo"), FlawKind.UNREADABLE_ROW, "cut short"),
    "empty run lengths": (coded((12, 16), [192]), FlawKind.EMPTY_MASK, "no pixel"),
    "a number for a mask": (set_row(0, segmentation=3), FlawKind.UNREADABLE_ROW, "neither"),
    "category twice": (repeat("categories"), FlawKind.DUPLICATE_ID, "'cat'"),
    "no file name": (lambda d: d["images"][0].pop("file_name"), FlawKind.UNREADABLE_ROW, "file_name"),
    "category without a name": (lambda d: d["categories"].append({"id": 3}), FlawKind.UNREADABLE_ROW, "name"),
}  # fmt: skip


CONTRADICTIONS = {
    "NaN in the box": (set_row(0, bbox=[NAN, 2, 5, 7]), FlawKind.BAD_BOX, "nan"),
    "negative box": (set_row(0, bbox=[1, 2, -5, 7]), FlawKind.BAD_BOX, "-5"),
    "three numbers for a box": (set_row(0, bbox=[1, 2, 3]), FlawKind.BAD_BOX, "x, y, width, height"),
    "words for a box": (set_row(0, bbox="all of it"), FlawKind.BAD_BOX, "all of it"),
    "annotation twice": (repeat("annotations"), FlawKind.DUPLICATE_ID, "annotations bear it"),
    "photo twice": (repeat("images"), FlawKind.DUPLICATE_ID, "photos bear it"),
    "box of nothing": (set_row(0, bbox=[0, 0, 0, 0]), FlawKind.BOX_UNLIKE_MASK, "of its mask 1, 2, 5, 7"),
    "box in corners": (set_row(0, bbox=[1, 2, 6, 9]), None, ""),  # within the tolerance of so small a photo
    "area of another mask": (set_row(0, area=3500), FlawKind.AREA_UNLIKE_MASK, "3500, its mask has 35 pixels"),
    "a scrap beside a polygon": (
        lambda d: d["annotations"][0]["segmentation"].append([9, 9, 10, 9]), FlawKind.LOST_RING, "1 of 2"),
    "an annotation without an id": (lambda d: d["annotations"][0].pop("id"), FlawKind.NEW_ID, "numbered from"),
}  # fmt: skip


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_an_object_with_a_good_mask_is_kept_with_a_note(tmp_path, contradiction):
    change, kind, words = CONTRADICTIONS[contradiction]
    report = report_of(coco_with(tmp_path, change))
    assert (report.flaws, report.objects) == ((), 4)
    notes = [note for note in report.notes if note.kind in (kind, FlawKind.BOX_UNLIKE_MASK)]
    assert [note.kind for note in notes] == [kind] * (kind is not None)
    assert all(words in note.what for note in notes)
    dataset = open_dataset(str(tmp_path))  # which refuses a set with flaws
    masks = [record.area for image in dataset.images for record in dataset.objects[image.id]]
    assert sorted(masks) == [10, 35, 56, 70]
    assert all(np.isfinite(record.box).all() for record in dataset.objects[dataset.images[0].id])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_an_annotation_file_is_found(tmp_path, fault):
    change, kind, words = FAULTS[fault]
    report = report_of(coco_with(tmp_path, change))
    assert [flaw.kind for flaw in report.flaws] == [kind]
    assert words in report.flaws[0].what
    assert not report.ok
    json.dumps(report.to_json())


def test_corners_on_the_border_and_a_pixel_beyond_are_fine(tmp_path):
    folder = coco_with(
        tmp_path, set_row(0, segmentation=[tiny.polygon(0, -0.4, 16.7, 12)], bbox=[0, 0, 16.7, 12])
    )
    assert report_of(folder).ok


def test_faults_of_images_are_found(tmp_path):
    tiny.coco(tmp_path)
    images = tmp_path / "val2017"
    (images / "a.jpg").unlink()
    tiny.photo(images / "b.jpg", (14, 10))
    report = report_of(tmp_path)
    assert [flaw.kind for flaw in report.flaws] == [FlawKind.MISSING_IMAGE, FlawKind.WRONG_SIZE]
    assert "EXIF" in report.flaws[1].what


@pytest.mark.parametrize(("orientation", "sound"), [(6, True), (8, True), (1, False), (3, False)])
def test_sizes_as_shown_turn_the_image_as_it_is_shown(tmp_path, orientation, sound):
    tiny.coco(tmp_path)
    file = tmp_path / "val2017" / "a.jpg"
    shown = Image.open(file).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    undone = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(
        orientation, Image.Transpose.ROTATE_90
    )
    shown.transpose(undone).save(file, exif=exif, quality=95)
    report = report_of(tmp_path)
    assert report.ok == sound
    if sound:
        assert any("as shown" in str(note) or "shown, as" in str(note) for note in report.notes)
        dataset = open_dataset(f"coco:{tmp_path}", "val")
        drawn = dataset.pixels(
            next(image for image in dataset.images if image.path.name == "a.jpg")
        )
        assert np.abs(drawn.astype(int) - np.asarray(shown)).mean() < 12
    else:
        assert [flaw.kind for flaw in report.flaws] == [FlawKind.WRONG_SIZE]


def test_masks_of_255_alone_are_explained(tmp_path):
    tiny_training.bricks(tmp_path)
    for mask in (tmp_path / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(mask)) > 0, 255, 0).astype(np.uint8)).save(
            mask
        )
    report = report_of(tmp_path)
    assert "255 does not count" in report.flaws[0].what


def test_an_image_that_is_cut_short_is_found_by_decoding(tmp_path):
    tiny.coco(tmp_path)
    file = tmp_path / "val2017" / "a.jpg"
    file.write_bytes(file.read_bytes()[:-40])
    assert report_of(tmp_path, pixels=False).ok
    assert [flaw.kind for flaw in report_of(tmp_path).flaws] == [FlawKind.UNREADABLE_IMAGE]


def test_what_may_be_meant_is_noted(tmp_path):
    def change(document):
        document["annotations"] = document["annotations"][:2]

    folder = coco_with(tmp_path, change)
    pixels = Image.open(folder / "images" / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.save(folder / "images" / "a.jpg", exif=exif)
    report = report_of(folder)
    assert report.ok
    assert {note.kind for note in report.notes} == {
        FlawKind.NO_OBJECT,
        FlawKind.EXIF_ROTATION,
        FlawKind.UNUSED_CLASS,
    }


def test_what_a_model_cannot_tell_apart_by_name_is_noted(tmp_path):
    def change(document):
        document["categories"].append({"id": 77, "name": document["categories"][0]["name"]})

    notes = [
        note
        for note in report_of(coco_with(tmp_path / "coco", change)).notes
        if note.kind is FlawKind.DUPLICATE_NAME
    ]
    assert [str(note) for note in notes] == [
        "'cat': classes that share a name, ids 17, 77 count as one class"
    ]
    tiny.folder_of_classes(tmp_path / "maps")
    (tmp_path / "maps" / "classes.txt").unlink()
    report = report_of(tmp_path / "maps")
    assert report.ok
    told = [note for note in report.notes if note.kind is FlawKind.UNNAMED_OBJECTS]
    assert [note.where for note in told] == [f"{report.objects} of {report.objects}"]
    assert "classes.txt" in told[0].what


def test_a_set_that_says_nothing_about_any_image_is_wrong(tmp_path):
    report = report_of(coco_with(tmp_path, lambda document: document["annotations"].clear()))
    assert [(flaw.kind, flaw.where) for flaw in report.flaws] == [
        (FlawKind.NO_ANNOTATION, "all photos")
    ]


def test_faults_of_yolo_rows_are_found(tmp_path):
    tiny.yolo(tmp_path)
    rows = [
        "7 0 0 1 0 1 1", "0 0.5 0.5 0.2 0.2", "0 0 0 1 0", "1 0 0 3 0 3 3", "1 0 0 1 1 1 0 0 1", "cat 0 0 1 0 1 1",
        "0 0 0 x 0 1 1", "",
    ]  # fmt: skip
    (tmp_path / "labels" / "val" / "a.txt").write_text("\n".join(rows))
    assert [flaw.kind.value for flaw in report_of(tmp_path).flaws] == [
        "unknown category", "annotation without a mask", "annotation without a mask",
        "mask or box outside the photo", "unknown category", "unreadable annotation", "self-crossing polygon",
    ]  # fmt: skip


def test_faults_of_maps_are_found(tmp_path):
    tiny.folder_of_classes(tmp_path)
    tiny.grey(tmp_path / "masks" / "a.png", tiny.labels((tiny.CAT, 9), hw=tiny.A_HW))
    tiny.grey(tmp_path / "masks" / "b.png", np.random.default_rng(0).integers(0, 255, (10, 14, 3)))
    tiny.grey(tmp_path / "masks" / "nobody.png", np.ones((3, 3)))
    kinds = [flaw.kind for flaw in report_of(tmp_path).flaws]
    assert kinds == [
        FlawKind.UNKNOWN_IMAGE,
        FlawKind.UNKNOWN_CATEGORY,
        FlawKind.UNREADABLE_MASK_FILE,
    ]


def test_the_command_line_says_it_in_words_and_in_json(tmp_path, capsys):
    folder = coco_with(tmp_path, set_row(0, category_id=99))
    assert main(["data", "check", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "unknown category: 1" in told
    assert "1 problem." in told
    assert main(["data", "check", f"coco:{folder}", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["ok"], told["parts"][0]["photos"]) == ("coco", False, 2)
    assert told["parts"][0]["flaws"][0]["kind"] == "unknown category"


def test_the_command_line_ends_well_for_a_sound_set(tmp_path, capsys):
    tiny.yolo(tmp_path)
    shutil.copytree(tmp_path / "labels" / "val", tmp_path / "labels" / "train")
    assert main(["data", "check", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "part train" in told
    assert "part val" in told
    assert "Nothing is wrong." in told
    assert main(["data", "check", str(tmp_path), "--split", "val", "--quick"]) == 0


@pytest.mark.parametrize(
    ("path", "code"), [("/nowhere/at/all", 1), ("cocoo:/x", 2), ("coco:{}", 1), ("{}", 1)]
)
def test_the_command_line_explains_what_it_cannot_read(tmp_path, capsys, path, code):
    assert main(["data", "check", path.format(tmp_path)]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1


SQUARE = [0, 0, 20, 0, 20, 20, 0, 20]


@pytest.mark.parametrize(
    ("polygon", "repeats"),
    [
        (SQUARE, False),
        (SQUARE * 2, True),
        ([*SQUARE, 1, 1, 19, 1, 19, 19, 1, 19], True),  # nearly the same again
        ([0, 0, 20, 0, 20, 20, 10, 20, 10, 5, 10, 20, 0, 20], False),  # a spike inwards
        ([0, 0, 20, 20, 20, 0, 0, 20], False),  # a figure of eight, which crosses itself
        ([0, 0, 1, 0, 1, 30, 0, 30], False),
        ([0, 0] * 8, False),
        ([math.nan, 0, 20, 0] * 4, False),
        ([value * 1e7 for value in SQUARE * 2], False),  # too large to draw
    ],
)
def test_outlines_that_go_round_twice(polygon, repeats):
    assert goes_round_twice([float(value) for value in polygon]) is repeats


@pytest.mark.parametrize(
    ("ring", "crosses"),
    [
        (tiny.polygon(0, 0, 5, 5), False),
        ([0, 0, 5, 5, 5, 0, 0, 5], True),
        ([0, 0, 4, 0, 4, 4, 0, 4, 0, 0], False),  # closed by hand
        ([0, 0, 4, 0, 4, 4, 2, 0, 0, 4], False),  # touches itself
        ([0, 0, 9, 0, 9, 9, 5, -3, 0, 9], True),
    ],
)
def test_crossing_polygons(ring, crosses):
    assert is_self_intersecting([float(value) for value in ring]) is crosses


def test_corners_at_the_end_of_the_numbers_overflow_nothing():
    """Warnings are errors here."""
    assert not is_self_intersecting([0, 0, 1e308, 0, 1e308, 1e308, 0, 1e308])
    assert is_self_intersecting([0, 0, 1e308, 1e308, 1e308, 0, 0, 1e308])


def test_codes_agree_with_masks():
    rng = np.random.default_rng(0)
    for hw in ((1, 1), (1, 7), (9, 1), (13, 17)):
        for density in (0.0, 0.3, 1.0):
            values = (rng.random(hw) < density) * rng.integers(1, 4, hw)
            coded = coco_rle.label_map_to_rles(values)
            assert sorted(coded) == sorted(set(values.ravel().tolist()) - {0})
            for number, code in coded.items():
                assert np.array_equal(coco_rle.rle_to_mask(code.counts, hw), values == number)
                assert sum(coco_rle.decompress_counts(code.counts)) == values.size
                assert code.area == (values == number).sum()
            mask = values > 0
            assert np.array_equal(coco_rle.rle_to_mask(coco_rle.mask_to_rle(mask).counts, hw), mask)


def test_polygons_are_drawn_as_coco_draws_them():
    from pycocotools import mask as rle

    rng = np.random.default_rng(1)
    for _ in range(20):
        rings = [(rng.random(2 * rng.integers(3, 9)) * 40 - 5).tolist() for _ in range(2)]
        expected = rle.merge(rle.frPyObjects(rings, 30, 25))
        assert coco_rle.polygons_to_rle(rings, (30, 25)).counts == expected["counts"].decode()
    assert coco_rle.polygons_to_rle([tiny.polygon(-1e12, -1e12, 1e12, 1e12)], (30, 25)).area == 750


def test_what_is_lost_as_photos_are_read_is_noted(tmp_path):
    tiny.folder_of_objects(tmp_path)
    deep = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 20
    Image.fromarray(deep).save(tmp_path / "images/a.png")
    (tmp_path / "images/a.jpg").unlink(missing_ok=True)
    notes = {note.kind: note for note in report_of(tmp_path).notes}
    note = notes[FlawKind.CONVERSION]
    assert str(note).endswith(
        "(a.png): photo that loses something as it is read, more than 8 bits of grey: read as 12 bits"
    )
    assert FlawKind.CONVERSION not in {
        note.kind for note in report_of(tmp_path, pixels=False).notes
    }
