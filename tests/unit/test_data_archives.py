"""Data sets inside of zip files, formats that are not read, and panoptic maps with a palette."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

import tiny_data as tiny
from seem.data import archives
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError
from seem.errors import SeemError

SQUARE = {"label": "cat", "points": [[2, 3], [6, 7]], "shape_type": "rectangle"}


def labelme_folder(folder):
    tiny.photo(folder / "a.png", (12, 16))
    tiny.text(folder / "a.json", {"shapes": [SQUARE], "imagePath": "a.png"})
    return folder


def zipped(folder, file, top=""):
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


@pytest.mark.parametrize("top", ["", "export/", "a/b/"])
def test_zip_is_read_without_touching_what_lies_beside_it(tmp_path, top):
    file = zipped(labelme_folder(tmp_path / "set"), tmp_path / "pets.zip", top)
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(str(file), "train")
    assert (dataset.kind, dataset.name, dataset.path) == ("labelme", "pets", file)
    assert np.array_equal(dataset.objects[1][0].mask(), tiny.rectangle((12, 16), 2, 3, 6, 7))
    assert dataset.pixels(dataset.images[0]).shape == (12, 16, 3)
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_keeps_parts_and_known_formats(tmp_path):
    for part in ("train", "val"):
        labelme_folder(tmp_path / "set" / part)
    assert list_splits(str(zipped(tmp_path / "set", tmp_path / "a.zip"))) == ("train", "val")
    tiny.coco(tmp_path / "coco")
    dataset = open_dataset(f"coco:{zipped(tmp_path / 'coco', tmp_path / 'coco.zip')}", "val")
    assert len(dataset.images) == 2


def test_zip_is_unpacked_once_and_again_when_it_changes(tmp_path):
    file = zipped(labelme_folder(tmp_path / "set"), tmp_path / "pets.zip")
    first = archives.unpacked_folder(file)
    assert archives.unpacked_folder(file) == first
    labelme_folder(tmp_path / "set" / "more")
    assert archives.unpacked_folder(zipped(tmp_path / "set", file)) != first


def test_temporary_folder_is_removed_at_the_end(tmp_path):
    import os
    import subprocess
    import sys

    file = zipped(labelme_folder(tmp_path / "set"), tmp_path / "pets.zip")
    (tmp_path / "tmp").mkdir()
    script = (
        "import os, sys; from seem.data.opening import open_dataset\n"
        "open_dataset(sys.argv[1], 'train'); assert os.listdir(sys.argv[2])"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", script, str(file), str(tmp_path / "tmp")]
    subprocess.run(command, check=True, env=environment)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:/a.png", "..\\a.png"])
def test_member_that_leaves_the_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DataError, match="leaves its folder"):
        open_dataset(str(tmp_path / "a.zip"))


def test_zip_is_bounded(tmp_path, monkeypatch):
    file = zipped(labelme_folder(tmp_path / "set"), tmp_path / "a.zip")
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(DataError, match=r"a member 'a\.json' of .* more than 10"):
        open_dataset(str(file))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="2 members, more than 1"):
        open_dataset(str(file))
    monkeypatch.undo()
    monkeypatch.setattr(archives, "DISK_SHARE", 0.0)
    with pytest.raises(SeemError, match="unpack it elsewhere"):
        open_dataset(str(file))


def test_damaged_zip_and_other_archives_say_what_to_do(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked .*give the folder"):
        open_dataset(str(tmp_path / "a.zip"))
    (tmp_path / "a.7z").write_bytes(b"7z")
    with pytest.raises(DataError, match="unpack it and give the folder"):
        open_dataset(str(tmp_path / "a.7z"))


UNREAD = {
    "boxes.xml": "<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>",
    "via3.json": '{"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}}',
    "labels/a.txt": "0 0.5 0.5 0.25 0.25\n",
    "samples.json": '{"samples": [{"filepath": "a.png"}]}',
    "darwin.json": '{"image": {"original_filename": "a.png"}, "annotations": []}',
    "results.json": '[{"image_id": 1, "category_id": 1, "segmentation": {}, "score": 0.5}]',
    "sa_1.json": '{"image": {}, "annotations": [{"predicted_iou": 1, "counts": "x"}]}',
    "project.csv": "annotation_id,annotator,image,lead_time\n",
    "train.datum": "binary",
    "annotations.json.gz": "packed",
}
WAY_OUT = {
    "boxes.xml": "boxes of Pascal VOC: their boxes have no masks, their polygons are not read",
    "via3.json": "VIA 3: export COCO",
    "labels/a.txt": "YOLO needs data.yaml, or classes.txt",
    "samples.json": "FiftyOne set: export it as",
    "darwin.json": "Darwin JSON 1.0 of V7: export Darwin JSON 2.0",
    "results.json": "it names no photos; put it under annotations",
    "sa_1.json": "masks of SA-1B: convert them to COCO",
    "project.csv": "Label Studio's table: export JSON",
    "train.datum": "Datumaro's binary set: export it as datumaro",
    "annotations.json.gz": "packed files: unpack them",
}


@pytest.mark.parametrize("name", UNREAD)
def test_format_that_is_not_read_names_the_export_to_choose(tmp_path, name):
    tiny.photo(tmp_path / "photos" / "a.png", (12, 16))
    tiny.text(tmp_path / name, UNREAD[name])
    with pytest.raises(DataError, match=WAY_OUT[name]) as told:
        open_dataset(str(tmp_path))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


# --- YOLO as Label Studio exports it ----------------------------------------------------------------------------------


@pytest.fixture
def yolo_of_label_studio(tmp_path):
    tiny.text(tmp_path / "classes.txt", "cat\ndog\n")
    tiny.text(tmp_path / "notes.json", {"categories": [{"id": 0, "name": "cat"}]})
    tiny.text(tmp_path / "labels" / "0a1b2c3d-a.txt", "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    tiny.text(tmp_path / "labels" / "b.txt", "")
    for name in ("a.png", "b.png", "c.png"):
        tiny.photo(tmp_path / "images" / name, (12, 16))
    return tmp_path


def test_yolo_of_label_studio_has_no_description(yolo_of_label_studio):
    dataset = open_dataset(str(yolo_of_label_studio), "train")
    assert (dataset.kind, dataset.split) == ("yolo", "all")
    dog = dataset.objects[1][0]
    assert (dog.category.name, dog.box) == ("dog", (4, 3, 12, 9))
    assert [dataset.complete_names(image) for image in dataset.images] == [
        {"cat", "dog"}, {"cat", "dog"}, frozenset(),
    ]  # fmt: skip


def test_yolo_text_file_without_a_photo_is_named(yolo_of_label_studio):
    (yolo_of_label_studio / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"0a1b2c3d-a\.txt: annotation of an unknown photo"):
        open_dataset(str(yolo_of_label_studio), "train")


# --- Panoptic maps ----------------------------------------------------------------------------------------------------


def test_panoptic_map_with_a_palette_holds_the_same_ids(tmp_path):
    tiny.coco_panoptic(tmp_path)
    dataset = open_dataset(f"coco:{tmp_path}", "val")
    image = dataset.images[0]
    ids = dataset.panoptic(image).ids
    with tiny.Image.open(image.panoptic_path) as picture:
        few = picture.convert("RGB").convert("P", palette=tiny.Image.Palette.ADAPTIVE, colors=8)
        assert np.array_equal(np.asarray(few.convert("RGB")), np.asarray(picture.convert("RGB")))
    few.save(image.panoptic_path)
    again = open_dataset(f"coco:{tmp_path}", "val")
    assert np.array_equal(again.panoptic(again.images[0]).ids, ids)
