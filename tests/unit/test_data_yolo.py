"""YOLO folders as tools and people leave them: text files elsewhere, parts that are missing, names of any kind."""

import pytest

import tiny_data as tiny
from seem.cli.main import main
from seem.data.inspection import inspect_dataset
from seem.data.layouts import recognize_layout
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError, FlawKind

ROW = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"


def report_of(path, split="all"):
    return inspect_dataset(open_dataset(str(path), split, tolerant=True))


def findings(flaws):
    return [(flaw.kind, flaw.where) for flaw in flaws]


def yolo_photos(folder, *stems):
    for stem in stems:
        tiny.photo(folder / f"{stem}.png", (30, 40))


def test_text_files_beside_the_photos_are_read(tmp_path):
    for folder in ("plain", "images"):
        yolo_photos(tmp_path / "train" / folder, f"{folder}0")
        tiny.text(tmp_path / "train" / folder / f"{folder}0.txt", ROW)
    tiny.text(tmp_path / "data.yaml", "train: train\nnames: [cat]\n")
    report = report_of(tmp_path)
    assert (report.images, report.objects, report.flaws) == (2, 2, ())


def test_text_files_that_no_photo_uses_are_named(tmp_path):
    yolo_photos(tmp_path / "images/train", "0", "1")
    for name in ("0", "img_1", "deep/2", "classes"):
        tiny.text(tmp_path / f"labels/train/{name}.txt", ROW)
    tiny.text(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\n")
    report = report_of(tmp_path)
    unknown = FlawKind.UNKNOWN_IMAGE
    assert findings(report.flaws) == [
        (unknown, "labels/train/deep/2.txt"),
        (unknown, "labels/train/img_1.txt"),
    ]
    assert (FlawKind.NO_ANNOTATION, "1.png") in findings(report.notes)


def test_text_files_of_another_parts_photos_are_no_flaw(tmp_path):
    yolo_photos(tmp_path / "images", "0", "1")
    for stem in ("0", "1"):
        tiny.text(tmp_path / f"labels/{stem}.txt", ROW)
        tiny.text(tmp_path / f"part{stem}.txt", f"./images/{stem}.png\n")
    tiny.text(tmp_path / "data.yaml", "train: part0.txt\nval: part1.txt\nnames: [cat]\n")
    assert [report_of(tmp_path, part).flaws for part in ("train", "val")] == [(), ()]


def test_an_empty_text_file_says_that_there_is_nothing(tmp_path):
    yolo_photos(tmp_path / "images/train", "0", "1", "2")
    tiny.text(tmp_path / "labels/train/0.txt", ROW)
    tiny.text(tmp_path / "labels/train/1.txt", "")
    tiny.text(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\n")
    notes = findings(report_of(tmp_path).notes)
    assert notes == [(FlawKind.NO_OBJECT, "1.png"), (FlawKind.NO_ANNOTATION, "2.png")]


def test_a_part_that_is_missing_is_noted_and_the_others_are_read(tmp_path, capsys):
    for part in ("train", "valid"):
        yolo_photos(tmp_path / part / "images", part)
        tiny.text(tmp_path / part / "labels" / f"{part}.txt", ROW)
    description = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\n"
    tiny.text(tmp_path / "data.yaml", f"{description}names: [cat]\n")
    assert list_splits(str(tmp_path)) == ("train", "val")
    assert main(["data", "check", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "test: data.yaml says ../test/images, which does not exist" in printed
    assert (printed.count("part train:"), printed.count("part val:")) == (1, 1)


def test_a_set_without_parts_is_one_part(tmp_path):
    yolo_photos(tmp_path / "images", "a")
    tiny.text(tmp_path / "labels/a.txt", ROW)
    tiny.text(tmp_path / "data.yaml", "names:\n- cat\nnc: 1\n")
    assert list_splits(str(tmp_path)) == ("all",)
    report = report_of(tmp_path, "train")
    assert (report.split, report.objects, report.flaws, report.notes) == ("all", 1, (), ())


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("[yes, no, 1.0, null, ~, 2024-01-01]", ["yes", "no", "1.0", "null", "~", "2024-01-01"]),
        ("{0: on, 7: background, 300000000000: object}", ["on", "background", "object"]),
        ("\n- person # who\n- 'no: 1'\n- void\n", ["person", "no: 1", "void"]),
    ],
)
def test_any_name_is_a_name(tmp_path, written, names):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "data.yaml", f"train: images/train\nnames: {written}\n")
    categories = open_dataset(str(tmp_path), "train").categories.values()
    assert [category.name for category in categories] == names
    assert [category.text for category in categories] == names


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_encodings_are_recognized_and_named(tmp_path, encoding):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "labels/train/a.txt", "")
    (tmp_path / "labels/train/a.txt").write_bytes(ROW.encode(encoding))
    (tmp_path / "data.yaml").write_bytes("train: images/train\nnames: [tür]\n".encode(encoding))
    report = report_of(tmp_path, "train")
    assert [row.name for row in report.classes] == ["tür"]
    assert (report.objects, report.flaws) == (1, ())
    expected = [] if encoding.startswith("utf-8") else [(FlawKind.ENCODING, "data.yaml")]
    assert findings(report.notes) == expected


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("{0: cat, 0: dog}", "the key 0 is there twice"),
        ("{-1: cat}", "write a list, or number: name"),
        ("[[cat]]", "write a list, or number: name"),
        ("{cat: 0}", "write a list, or number: name"),
    ],
)
def test_names_without_a_clear_number_are_refused(tmp_path, names, words):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "data.yaml", f"train: images/train\nnames: {names}\n")
    with pytest.raises(DataError, match=words):
        open_dataset(f"yolo:{tmp_path}", "train")


def test_class_numbers_and_corners_as_numpy_writes_them(tmp_path):
    yolo_photos(tmp_path / "images/train", "a")
    rows = f"0.0{ROW[1:]}0 -0.05 0.1 0.5 0.1 0.5 0.5\n1{ROW[1:]}0.5{ROW[1:]}"
    tiny.text(tmp_path / "labels/train/a.txt", rows)
    tiny.text(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\n")
    report = report_of(tmp_path, "train")
    assert report.objects == 1
    assert [flaw.what for flaw in report.flaws] == [
        "a corner lies at -0.05; corners are shares from 0 to 1",
        "its class is 1, the names go from 0 to 0",
        "its class is 0.5, the names go from 0 to 0",
    ]


@pytest.mark.parametrize(
    "content",
    [
        "names: a model\ntrain: 3 epochs\n",
        "names: [a]\ntrain: {epochs: 3}\n",
        "names: [a]\nval: x\n",
    ],
)
def test_other_yaml_files_make_no_yolo_set(tmp_path, content):
    folder = tiny.coco(tmp_path)
    tiny.text(folder / "config.yaml", content)
    assert recognize_layout(folder).kind == "coco"


def test_rows_of_keypoints_are_no_polygons(tmp_path):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "labels/train/a.txt", "0 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n")
    tiny.text(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\nkpt_shape: [2, 2]\n")
    with pytest.raises(DataError, match=r"describes poses \(kpt_shape\).*; export polygons"):
        open_dataset(str(tmp_path), "train")


def test_a_score_behind_the_corners_is_named(tmp_path):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "labels/train/a.txt", f"{ROW.strip()} 0.93\n")
    tiny.text(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\n")
    (flaw,) = report_of(tmp_path).flaws
    assert flaw.what == "its 7 numbers are no pairs; a score behind the corners must go"


@pytest.mark.parametrize(
    "line",
    ["data/images/train/a.png", "/content/set/images/train/a.png", "..\\images\\train\\a.png"],
)
def test_a_list_that_was_written_elsewhere_finds_its_photos(tmp_path, line):
    yolo_photos(tmp_path / "images/train", "a")
    tiny.text(tmp_path / "labels/train/a.TXT", ROW)
    tiny.text(tmp_path / "train.txt", f"{line}\n")
    tiny.text(tmp_path / "data.yaml", "path: .\ntrain: train.txt\nnames: [cat]\n")
    report = report_of(tmp_path)
    assert (report.images, report.objects, report.flaws) == (1, 1, ())
    assert tmp_path / "train.txt" in open_dataset(str(tmp_path), "train").files


# --- Boxes ------------------------------------------------------------------------------------------------------------

TURNED_BOX = "0 0.5 0.2 0.7 0.466667 0.5 0.733333 0.3 0.466667\n"  # of 40 x 30 pixels
UPRIGHT_BOX = "0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n"


@pytest.mark.parametrize(
    ("rows", "is_noted"),
    [
        (TURNED_BOX, True),
        (TURNED_BOX + UPRIGHT_BOX, True),
        (UPRIGHT_BOX, False),  # windows, doors and screens are rectangles
        (TURNED_BOX + ROW, False),
        ("0 0.5 0.2 0.7 0.466667 0.5 0.9 0.3 0.466667\n", False),  # a kite
    ],
)
def test_turned_boxes_are_noted_where_there_is_nothing_else(tmp_path, rows, is_noted):
    yolo_photos(tmp_path / "images", "0")
    tiny.text(tmp_path / "labels" / "0.txt", rows)
    tiny.text(tmp_path / "classes.txt", "plate\n")
    kinds = [note.kind for note in report_of(tmp_path).notes]
    assert (FlawKind.TURNED_BOXES in kinds) == is_noted


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_brush_masks_of_label_studio_are_named(tmp_path, ending):
    yolo_photos(tmp_path / "images", "0")
    tiny.text(tmp_path / f"task-4-annotation-4-by-1-b-dog-0.{ending}", "")
    with pytest.raises(DataError, match="brush masks of Label Studio: their names tell no photo"):
        open_dataset(str(tmp_path), "train")
