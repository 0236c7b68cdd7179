"""What formats of label maps share: lists of names in any encoding, maps whose numbers have gaps or no class."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.classes import numbered_categories
from seem.data.inspection import inspect_dataset
from seem.data.opening import list_splits, open_dataset
from seem.data.readers.label_maps import (
    label_map_of_classes,
    label_map_of_segments,
    number_segments,
    pair_by_stem,
    pair_images,
    pair_in_folders,
    read_name_list,
    remap_values,
)
from seem.data.records import DataError, FlawKind, ImageRecord, image_record

NAMES = "scene1\r\nscene2 1\r\n\r\n"


@pytest.mark.parametrize(
    "content",
    [
        NAMES.encode(),
        codecs.BOM_UTF8 + NAMES.encode(),
        NAMES.encode("utf-16"),
        NAMES.encode("utf-16-le"),
        b"scene1\rscene2\r",
        b"# of this part\nscene1\nscene2\nscene1\n",
        b"\tscene1\t-1\n  scene2",
    ],
    ids=["windows", "mark", "utf-16", "no mark", "old mac", "comment and repeated", "tabs"],
)
def test_list_of_names(tmp_path, content):
    (tmp_path / "val.txt").write_bytes(content)
    assert read_name_list(tmp_path / "val.txt") == ["scene1", "scene2"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png", "JPEGImages/480p/bear/00000.jpg"),
        ("JPEGImages\\bear\\1.jpg", "JPEGImages/bear/1.jpg"),
        ("a..b", "a..b"),
        ("straße", "straße"),
    ],
)  # fmt: skip
def test_name_of_a_line(tmp_path, line, name):
    (tmp_path / "val.txt").write_bytes(line.encode("cp1252"))
    assert read_name_list(tmp_path / "val.txt") == [name]


def test_empty_list_has_no_names(tmp_path):
    (tmp_path / "val.txt").write_bytes(b"\n \n")
    assert read_name_list(tmp_path / "val.txt") == []


@pytest.mark.parametrize("line", ["../a", "a/../../b", "..\\a"])
def test_name_that_leads_out_is_refused(tmp_path, line):
    (tmp_path / "val.txt").write_text(line)
    with pytest.raises(DataError, match="leads out of the folder of photos"):
        read_name_list(tmp_path / "val.txt")


@pytest.mark.parametrize(
    ("write", "list_file"),
    [
        (tiny.voc, "VOC2012/ImageSets/Segmentation/val.txt"),
        (tiny.davis, "ImageSets/2017/val.txt"),
        (tiny.scannet, "scannetv2_val.txt"),
    ],
)
def test_lists_of_notepad_name_the_same_images(tmp_path, write, list_file):
    """Windows' editor writes a byte-order mark, or UTF-16."""
    root = write(tmp_path / "set")
    specification = f"davis2017:{root}" if write is tiny.davis else str(root)
    if write is tiny.scannet:
        specification = f"scannet20:{root}"
    file = root / list_file
    names = file.read_text()
    expected = [image.path for image in open_dataset(specification, "val").images]
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(names.replace("\n", "\r\n"), encoding=encoding)
        images = open_dataset(specification, "val").images
        assert [image.path for image in images] == expected


# --- Pairs ------------------------------------------------------------------------------------------------------------


def test_map_of_another_ending_is_found_and_png_comes_first(tmp_path):
    photos = [tiny.photo(tmp_path / "images" / name, (4, 4)) for name in ("a.jpg", "b.JPG", "c.jpg")]  # fmt: skip
    for name in ("a.tif", "a.png", "b.TIFF"):
        tiny.grey(tmp_path / "labels" / name, np.zeros((4, 4)))
    pairs = pair_by_stem(photos, tmp_path / "labels")
    assert [mask.name for _, mask in pairs] == ["a.png", "b.TIFF", "c.png"]


def test_unreadable_images_are_flaws_and_the_others_keep_their_numbers(tmp_path):
    good = tiny.photo(tmp_path / "a.jpg", (4, 6))
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    (tmp_path / "d.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    pairs = [(tmp_path / name, None) for name in ("b.jpg", "c.jpg", "d.jpg")]
    images, flaws = pair_images([*pairs, (good, None)], "set", "val", "semantic")
    assert [(image.id, image.hw, image.labelled) for image in images] == [(4, (4, 6), "")]
    assert [flaw.kind for flaw in flaws] == [
        FlawKind.UNREADABLE_IMAGE,
        FlawKind.MISSING_IMAGE,
        FlawKind.UNREADABLE_IMAGE,
    ]
    assert "run git lfs pull" in flaws[2].what


# --- Sub-folders ------------------------------------------------------------------------------------------------------

SEMANTIC_SETS = {
    "ade20k": (tiny.ade20k, "images/validation", ["annotations/validation"]),
    "bdd100k": (tiny.bdd, "images/10k/val", ["labels/sem_seg/masks/val"]),
    "bdd100k_panoptic": (tiny.bdd, "images/10k/val", ["labels/pan_seg/bitmasks/val"]),
    "sunrgbd": (tiny.sunrgbd, "image/test", ["label37/test"]),
}


def move_into(folder, sub_folder):
    """Move the files of a folder into a sub-folder of it."""
    for file in list(filter(Path.is_file, folder.iterdir())):
        (folder / sub_folder).mkdir(exist_ok=True)
        file.rename(folder / sub_folder / file.name)


def class_ids(dataset):
    return [
        [record.category.id for record in dataset.objects[image.id]] for image in dataset.images
    ]


@pytest.mark.parametrize("kind", SEMANTIC_SETS)
def test_photos_and_maps_in_the_same_sub_folders(tmp_path, kind):
    write, image_folder, label_folders = SEMANTIC_SETS[kind]
    write(tmp_path)
    split = Path(image_folder).name
    expected = class_ids(open_dataset(f"{kind}:{tmp_path}", split))
    assert all(expected)
    for folder in (image_folder, *label_folders):
        move_into(tmp_path / folder, "city")
    assert class_ids(open_dataset(f"{kind}:{tmp_path}", split)) == expected


@pytest.mark.parametrize("kind", ["ade20k", "bdd100k"])
def test_photos_alone_in_sub_folders_have_the_only_map_of_their_name(tmp_path, kind):
    write, image_folder, _ = SEMANTIC_SETS[kind]
    write(tmp_path)
    split = Path(image_folder).name
    expected = class_ids(open_dataset(f"{kind}:{tmp_path}", split))
    move_into(tmp_path / image_folder, "city")
    assert class_ids(open_dataset(f"{kind}:{tmp_path}", split)) == expected


def test_two_photos_of_one_name_share_no_map(tmp_path):
    photos = [tiny.photo(tmp_path / "images" / name, (4, 4)) for name in ("x/a.png", "y/a.png")]
    tiny.grey(tmp_path / "labels" / "a.png", np.zeros((4, 4)))
    pairs = pair_in_folders(tmp_path / "images", tmp_path / "labels")
    assert [photo for photo, _ in pairs] == photos
    expected = [tmp_path / "labels" / name for name in ("x/a.png", "y/a.png")]
    assert [mask for _, mask in pairs] == expected


def test_objects_of_ade20k_in_sub_folders(tmp_path):
    tiny.ade20k_objects(tmp_path)
    for folder in ("images", "annotations", "annotations_instance"):
        move_into(tmp_path / folder / "validation", "home")
    dataset = open_dataset(f"ade20k:{tmp_path}", "val")
    assert [record.category.name for record in dataset.objects[1]].count("bed") == 2


# --- Other releases ---------------------------------------------------------------------------------------------------


def test_bdd100k_of_2018(tmp_path):
    """Its maps end in _train_id and hold the same numbers; they are no masks of a class called train_id."""
    tiny.photo(tmp_path / "images" / "val" / "a.jpg", tiny.A_HW)
    ids = tiny.labels((~tiny.CAT, 255), (tiny.CAT, 13), hw=tiny.A_HW)
    tiny.grey(tmp_path / "labels" / "val" / "a_train_id.png", ids)
    tiny.photo(tmp_path / "color_labels" / "val" / "a_train_color.png", tiny.A_HW)
    dataset = open_dataset(str(tmp_path), "val")
    assert dataset.kind == "bdd100k"
    assert [record.category.name for record in dataset.objects[1]] == ["car"]
    assert np.array_equal(dataset.objects[1][0].mask(), tiny.CAT)


@pytest.mark.parametrize("resolution", ["480p", "1080p", "Full-Resolution"])
def test_davis_of_every_resolution(tmp_path, resolution):
    tiny.davis(tmp_path)
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder / "480p").rename(tmp_path / folder / resolution)
    assert len(open_dataset(f"davis2017:{tmp_path}", "val").images) == 2


def test_unsupervised_davis(tmp_path):
    tiny.davis(tmp_path)
    (tmp_path / "Annotations").rename(tmp_path / "Annotations_unsupervised")
    (tmp_path / "ImageSets" / "2017").rename(tmp_path / "ImageSets" / "2019")
    assert list_splits(f"davis2017:{tmp_path}") == ("val",)
    assert [len(ids) for ids in class_ids(open_dataset(f"davis2017:{tmp_path}", "val"))] == [2, 1]


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("kv1/NYUdata/NYU0001/seg.mat", "SUN RGB-D as published: make folders"),
        ("index_ade20k.mat", "ADE20K of 2016: its class numbers are others"),
    ],
)
def test_release_that_is_not_read_is_named(tmp_path, name, way_out):
    tiny.text(tmp_path / name, "MATLAB")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=f"It looks like {way_out}"):
        open_dataset(str(tmp_path), "train")


# --- What lists leave out ---------------------------------------------------------------------------------------------


def unread_notes(dataset):
    return [(note.where, note.what) for note in dataset.notes if note.kind is FlawKind.UNREAD]


def test_sequences_that_no_list_names_are_noted(tmp_path):
    tiny.davis(tmp_path)
    for name in ("cows", "dogs"):
        tiny.photo(tmp_path / "JPEGImages" / "480p" / name / "0.jpg", tiny.A_HW)
    tiny.text(tmp_path / "ImageSets" / "2017" / "train.txt", "dogs\n")
    assert unread_notes(open_dataset(f"davis2017:{tmp_path}", "val")) == [
        ("ImageSets of 2017", "sequences that no list names: 1 (cows)")
    ]


def test_scenes_that_are_missing_or_in_no_list_are_noted(tmp_path):
    root = tiny.scannet(tmp_path / "set")
    for number in range(2, 7):
        name = f"scene000{number}_00"
        tiny.photo(root / "scannet_frames_25k" / name / "color" / "0.jpg", tiny.A_HW)
    tiny.text(root / "scannetv2_val.txt", "scene0001_00\nscene0009_00\n")
    tiny.text(root / "scannetv2_train.txt", "scene0002_00\n")
    unlisted = "4 (scene0003_00, scene0004_00, scene0005_00, ...)"
    assert unread_notes(open_dataset(f"scannet20:{root}", "val")) == [
        ("scannetv2_val.txt", "scenes of the list that are not here: 1 of 2"),
        ("set", f"scenes that no list names: {unlisted}"),
    ]


def test_maps_of_cityscapes_without_a_photo_are_noted(tmp_path):
    root = tiny.cityscapes(tmp_path)
    (root / "leftImg8bit" / "val" / "ulm" / "ulm_1_leftImg8bit.png").unlink()
    assert unread_notes(open_dataset(str(root), "val")) == [
        ("val", "maps without a photo: 1 (ulm_1)")
    ]


def test_a_missing_map_of_objects_is_no_map_of_classes(tmp_path):
    """Of ScanNet: what one photo lacks and others have is missing; a set without such maps is one of classes."""
    root = tiny.scannet(tmp_path)
    file = root / "scannet_frames_25k" / "scene0001_00" / "instance" / "000000.png"
    file.unlink()
    flaws = inspect_dataset(open_dataset(f"scannet20:{root}", "val", tolerant=True)).flaws
    assert [flaw.kind for flaw in flaws] == [FlawKind.MISSING_MASK_FILE]
    file.parent.rmdir()
    dataset = open_dataset(f"scannet20:{root}", "val")
    assert [record.quality for record in dataset.objects[1]].count("group") == 1


def test_photos_of_open_images_that_are_not_here_are_counted(tmp_path):
    root = tiny.openimages(tmp_path)
    class_file = root / "class-descriptions-boxable.csv"
    class_file.write_text("/m/01yrx,Köpek\n", encoding="cp1252")
    dataset = open_dataset(str(root), "validation")
    assert [category.name for category in dataset.categories.values()] == ["Köpek"]
    assert [note.what for note in dataset.notes] == [
        "read as CP1252; save it as UTF-8 if names look wrong",
        "photos of the list that are not here: 1 of 2",
    ]


# --- Maps -------------------------------------------------------------------------------------------------------------

CATEGORIES = numbered_categories(["wall", "bed"])


@pytest.fixture
def image(tmp_path) -> ImageRecord:
    return image_record(1, "set", tmp_path / "a.png", (1, 4), "val", "semantic")


def test_numbers_with_gaps_and_huge_ones_are_translated():
    values = np.array([[0, 7, 2_000_000_000, -1]], np.int32)
    table = {7: 1, 2_000_000_000: 2}
    assert remap_values(values, table).tolist() == [[0, 1, 2, 0]]
    assert remap_values(np.zeros((0, 4), np.int32), table).shape == (0, 4)


def test_zero_is_no_segment():
    ids = np.array([[0, 5, 5, 70_000]], np.int32)
    assert number_segments(ids, lambda number: number // 5) == {5: 1, 70_000: 14_000}


def test_segment_of_no_known_class_is_a_flaw_and_the_others_stay(image):
    ids = np.array([[0, 1, 1, 9]], np.int32)
    labels = label_map_of_segments(ids, {1: 2, 9: 77}, CATEGORIES, image)
    assert [(segment.category.name, segment.area) for segment in labels.segments] == [("bed", 2)]
    assert [(flaw.kind, flaw.what) for flaw in labels.flaws] == [
        (FlawKind.UNKNOWN_CATEGORY, "its category is 77")
    ]


def test_map_of_classes_makes_a_group_of_each_countable_class(image):
    labels = label_map_of_classes(np.array([[0, 1, 2, 9]], np.int32), CATEGORIES, image)
    assert labels.qualities == {1: "group", 2: "group"}
    assert [segment.id for segment in labels.segments] == [1, 2]
    assert [flaw.what for flaw in labels.flaws] == ["its category is 9"]
    assert labels.category_ids().tolist() == [[0, 1, 2, 9]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_whole_numbers_of_every_width_are_classes(tmp_path, dtype):
    dataset = ade20k_with_map(tmp_path, tiny.labels((tiny.HORSE, 3), hw=tiny.B_HW), dtype)
    assert [record.category.id for record in dataset.objects[2]] == [3]
    assert inspect_dataset(dataset).ok


def test_fractions_are_no_classes(tmp_path):
    dataset = ade20k_with_map(tmp_path, np.full(tiny.B_HW, 2.5), np.float32)
    flaws = inspect_dataset(dataset).flaws
    assert [flaw.kind for flaw in flaws] == [FlawKind.UNREADABLE_MASK_FILE]
    assert "float32 numbers" in flaws[0].what


def ade20k_with_map(root, values, dtype):
    """Write ADE20K whose second map is a TIFF of numbers of a type."""
    tiny.ade20k(root)
    home = root / "annotations" / "validation"
    (home / "ADE_val_00000002.png").unlink()
    tiny.grey(home / "ADE_val_00000002.tif", values, dtype)
    return open_dataset(str(root), "val", tolerant=True)
