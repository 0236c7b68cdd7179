"""Specifications, recognition, and what a person is told whose folder is laid out otherwise."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.classes import vocabulary_from_categories
from seem.data.layouts import LAYOUTS
from seem.data.opening import DatasetSpec, list_splits, open_dataset, open_mixture
from seem.data.plain_pickle import read_plain_pickle
from seem.data.records import DataError, FlawKind


@pytest.mark.parametrize(
    ("text", "kind", "path", "weight"),
    [
        ("coco:/data/coco", "coco", "/data/coco", 1.0),
        ("coco:/data/coco*2", "coco", "/data/coco", 2.0),
        ("/data/coco*0.5", None, "/data/coco", 0.5),
        ("folder:../photos of cats", "folder", "../photos of cats", 1.0),
        ("C:/data/coco", None, "C:/data/coco", 1.0),
        ("refcoco:/data/refcoco+", "refcoco", "/data/refcoco+", 1.0),
        ("refcoco:/d/refs(unc).p", "refcoco", "/d/refs(unc).p", 1.0),
    ],
)
def test_a_specification_is_read(text, kind, path, weight):
    spec = DatasetSpec.parse(text)
    assert (spec.kind, spec.path.as_posix(), spec.weight) == (kind, path, weight)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cocoo:/data", "did you mean coco:/data"),
        ("imagenet:/data", "There is no format 'imagenet'"),
        ("coco:", "names no path"),
        ("coco:/data*0", "positive number"),
        ("coco:/data*-1", "positive number"),
        ("coco:/data*two", "positive number"),
        ("coco:/data*nan", "positive number"),
        ("coco:/nowhere/at/all", "There is no data set at"),
    ],
)
def test_a_wrong_specification_is_explained(text, words):
    with pytest.raises(DataError, match=words) as caught:
        open_dataset(text)
    assert "\n" not in str(caught.value)


WRITERS = {
    "coco": tiny.coco,
    "lvis": tiny.lvis,
    "refcoco": tiny.refcoco,
    "voc": tiny.voc,
    "context": tiny.context,
    "sbd": tiny.sbd,
    "clicks": tiny.grabcut,
    "youtube_vos": tiny.youtube_vos,
    "ade20k": tiny.ade20k,
    "ade20k_full": lambda root: tiny.ade20k_full(root)[0],
    "cityscapes": tiny.cityscapes,
    "sunrgbd": tiny.sunrgbd,
    "openimages": tiny.openimages,
    "yolo": tiny.yolo,
    "folder": tiny.folder_of_maps,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_layout_is_recognised(tmp_path, kind):
    assert DatasetSpec.parse(str(WRITERS[kind](tmp_path))).layout().kind == kind


def test_the_set_of_the_pack_is_no_coco_set(shared):
    assert DatasetSpec.parse(str(shared / "data" / "bsds500")).layout().kind == "pack"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (tiny.davis, "davis2016:.* or davis2017:"),
        (tiny.bdd, "bdd100k:.* or bdd100k_panoptic:"),
        (tiny.scannet, "scannet20:.* or scannet40:"),
    ],
)
def test_an_ambiguous_layout_says_what_to_write(tmp_path, write, words):
    with pytest.raises(DataError, match=words):
        open_dataset(str(write(tmp_path)))


def test_a_folder_that_is_nothing_known_is_described(tmp_path):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match=r"holds holiday/.*Export COCO .*one of coco, lvis"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("trace", "kind"),
    [("data.yaml", "yolo"), ("labels", "yolo"), ("annotations", "coco"), ("images", "folder")],
)
def test_of_what_is_left_of_a_set_the_reader_says_what_is_missing(tmp_path, trace, kind):
    (tmp_path / trace).mkdir()
    with pytest.raises(DataError) as told:
        open_dataset(f"{kind}:{tmp_path}")
    with pytest.raises(DataError) as meant:
        open_dataset(str(tmp_path))
    assert str(meant.value) == str(told.value)
    assert "no data set in a format that is known" not in str(told.value)


def test_a_set_one_folder_down_is_a_part(tmp_path):
    tiny.coco(tmp_path / "pets")
    with pytest.raises(DataError, match=r"has no part 'val'; it has pets"):
        open_dataset(str(tmp_path))
    below = open_dataset(str(tmp_path / "pets"), "all")
    assert len(open_dataset(str(tmp_path), "all").images) == len(below.images) > 0


@pytest.mark.parametrize("kind", [layout.kind for layout in LAYOUTS])
def test_an_empty_folder_is_no_set_of_any_format(tmp_path, kind):
    with pytest.raises(DataError) as caught:
        open_dataset(f"{kind}:{tmp_path}")
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message


PARTIAL = {
    "coco photos": (tiny.coco, "val2017", None),
    "refcoco instances": (tiny.refcoco, "refcoco/instances.json", "looked for instances.json"),
    "voc photos": (tiny.voc, "VOC2012/JPEGImages", "looked for JPEGImages"),
    "ade20k photos": (tiny.ade20k, "images/validation", "looked for|no complete|has no part"),
    "cityscapes maps": (tiny.cityscapes, "gtFine", None),
    "openimages names": (
        tiny.openimages,
        "class-descriptions-boxable.csv",
        "class-descriptions-boxable.csv",
    ),
    "openimages photos": (tiny.openimages, "validation", "none of its 2 photos"),
    "yolo photos": (tiny.yolo, "images/val", "has no part 'val'; it has train"),
    "youtube meta": (tiny.youtube_vos, "valid/JPEGImages", "looked for JPEGImages"),
}


@pytest.mark.parametrize("case", [name for name, (_, _, words) in PARTIAL.items() if words])
def test_a_partial_layout_says_what_is_missing(tmp_path, case):
    write, gone, words = PARTIAL[case]
    folder = write(tmp_path)
    kind = case.split()[0]
    place = tmp_path / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(DataError, match=words):
        open_dataset(
            f"{'youtube_vos' if kind == 'youtube' else kind}:{folder}",
            "train" if kind == "refcoco" else "val",
        )


def test_missing_images_are_named_when_they_are_asked_for(tmp_path):
    tiny.coco(tmp_path)
    shutil.rmtree(tmp_path / "val2017")
    pets = open_dataset(f"coco:{tmp_path}")
    with pytest.raises(DataError, match=r"a\.jpg"):
        pets.pixels(pets.images[0])


def test_an_image_of_another_size_is_refused(tmp_path):
    pets = open_dataset(f"coco:{tiny.coco(tmp_path)}")
    tiny.photo(tmp_path / "val2017" / "a.jpg", (5, 6))
    with pytest.raises(DataError, match=r"\(5, 6\).*\(12, 16\)"):
        pets.pixels(pets.images[0])


@pytest.mark.parametrize(
    ("write", "gone", "kind"),
    [
        (tiny.voc, "VOC2012/SegmentationClass/a.png", FlawKind.MISSING_MASK_FILE),
        (tiny.sbd, "benchmark_RELEASE/dataset/inst/a.mat", FlawKind.MISSING_MASK_FILE),
        (tiny.ade20k, "annotations/validation/ADE_val_00000001.png", FlawKind.MISSING_MASK_FILE),
        (tiny.openimages, "masks/0/00ab_m01yrx_1.png", FlawKind.MISSING_MASK_FILE),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "no picture"])
def test_a_damaged_mask_file_is_told_not_thrown(tmp_path, write, gone, kind, damage):
    path = write(tmp_path)
    (tmp_path / gone).unlink()
    if damage == "no picture":
        (tmp_path / gone).write_bytes(b"no picture")
        kind = FlawKind.UNREADABLE_MASK_FILE
    strict, tolerant = open_dataset(str(path)), open_dataset(str(path), tolerant=True)
    with pytest.raises(DataError, match="seem data check"):
        _ = strict.objects[strict.images[0].id]
    assert tolerant.objects[tolerant.images[0].id] == ()
    assert [flaw.kind for flaw in tolerant.parse_objects(tolerant.images[0]).flaws] == [kind]


def test_a_mask_of_another_size_is_told(tmp_path):
    tiny.folder_of_maps(tmp_path)
    tiny.grey(tmp_path / "masks" / "a.png", np.ones((16, 12)))
    pets = open_dataset(str(tmp_path), tolerant=True)
    (flaw,) = pets.parse_objects(pets.images[0]).flaws
    assert flaw.kind is FlawKind.WRONG_SIZE
    assert "EXIF" in flaw.what


def test_splits_are_named_as_the_set_names_them(tmp_path):
    tiny.ade20k(tmp_path)
    assert list_splits(str(tmp_path)) == ("validation",)
    assert open_dataset(str(tmp_path), "val").split == "validation"
    with pytest.raises(DataError, match="has no part 'train'; it has validation"):
        open_dataset(str(tmp_path), "train")


def test_a_mixture_keeps_its_weights(tmp_path):
    tiny.folder_of_maps(tmp_path / "one")
    tiny.yolo(tmp_path / "two")
    mixture = open_mixture([f"{tmp_path}/one*3", f"yolo:{tmp_path}/two"], "train")
    assert [(each.dataset.name, each.weight) for each in mixture] == [("one", 3.0), ("two", 1.0)]


def test_a_vocabulary_of_a_set_has_positive_ids(tmp_path):
    document = tiny.coco_document()
    for row in (*document["categories"], *document["annotations"]):
        key = "category_id" if "category_id" in row else "id"
        row[key] -= 17
    tiny.photos(tmp_path / "images")
    tiny.text(tmp_path / "annotations.json", document)
    pets = open_dataset(f"coco:{tmp_path}")
    words = vocabulary_from_categories(pets.categories.values())
    assert (words.names, words.ids) == (("cat", "dog", "horse"), (1, 2, 3))


class Evil:
    def __reduce__(self):
        return os.system, ("exit 3",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "content", [Evil(), [{"ref_id": Evil()}], np.float64(1.0), {1, 2}, os.getcwd]
)
def test_a_pickle_that_asks_for_anything_is_refused(tmp_path, content, protocol):
    file = tmp_path / "refs(unc).p"
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    if isinstance(content, set) and protocol >= 4:
        assert read_plain_pickle(file) == content  # sets are plain from protocol 4 on
        return
    with pytest.raises(DataError, match="it asks for"):
        read_plain_pickle(file)


def test_a_malicious_refcoco_file_runs_nothing(tmp_path):
    folder = tiny.refcoco(tmp_path)
    witness = tmp_path / "witness"
    code = f"c__builtin__\neval\n(V__import__('pathlib').Path({str(witness)!r}).touch()\ntR."
    (folder / "refs(unc).p").write_bytes(code.encode())
    with pytest.raises(DataError, match="plain lists"):
        open_dataset(f"refcoco:{folder}", "val")
    assert not witness.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02]", b"hello", b"\x80\x02K\x01."])
def test_a_damaged_pickle_is_explained(tmp_path, content):
    folder = tiny.refcoco(tmp_path)
    (folder / "refs(unc).p").write_bytes(content)
    with pytest.raises(DataError, match=r"refs\(unc\)\.p"):
        open_dataset(f"refcoco:{folder}", "val")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "no images, annotations, categories"),
        ('{"images": 3}', "no images"),
        ('{"images": [null], "annotations": [], "categories": []}', "row 0 of images"),
    ],
)
def test_a_damaged_coco_file_is_explained(tmp_path, text, words):
    tiny.coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(DataError, match=words):
        open_dataset(f"coco:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "words"),
    [("names: [cat", "cannot be read as YAML"), ("train: x", "tells no names"), ("names: 3\nval: v", "names is 3"),
     ("!!python/object/apply:os.getcwd []", "tells no names")],
)  # fmt: skip
def test_a_damaged_yaml_file_is_explained(tmp_path, text, words):
    tiny.yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        open_dataset(f"yolo:{tmp_path}")


def test_refs_that_are_not_what_they_should_be_are_explained(tmp_path):
    folder = tiny.refcoco(tmp_path)
    ref = {
        "ref_id": 1,
        "ann_id": 2,
        "image_id": 7,
        "split": "val",
        "sentences": [{"raw": "no sent"}],
    }
    (folder / "refs(unc).p").write_bytes(pickle.dumps([ref]))
    with pytest.raises(DataError, match="cannot be read as RefCOCO"):
        open_dataset(f"refcoco:{folder}")
