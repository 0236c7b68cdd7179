"""Plain folders of photos and masks, as people name them."""

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.inspection import inspect_dataset
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError

HW = (30, 40)
SQUARE = tiny.rectangle(HW, 5, 5, 25, 20)


def write(root, photo, mask, values=SQUARE * 255):
    tiny.photo(root / photo, HW)
    tiny.grey(root / mask, values)
    return root


@pytest.mark.parametrize(
    ("photo", "mask", "parts"),
    [
        ("img_dir/train/a.jpg", "ann_dir/train/a.png", ("train",)),
        ("image/a.jpg", "mask/a.png", ("all",)),
        ("Images/a.jpg", "Masks/a_mask.png", ("all",)),
        ("images/a.jpg", "masks/a-seg.png", ("all",)),
        ("train/a.jpg", "train_masks/a_mask.gif", ("train",)),
        ("imagesTr/a_0000.png", "labelsTr/a.png", ("all",)),
    ],
)
def test_usual_names_of_folders_and_masks_are_known(tmp_path, photo, mask, parts):
    root = write(tmp_path, photo, mask)
    assert list_splits(str(root)) == parts
    dataset = open_dataset(str(root), "train")
    (record,) = dataset.objects[dataset.images[0].id]
    assert np.array_equal(record.mask(), SQUARE)
    assert record.category.text == ""  # "mask" is no class


def test_a_map_with_mask_behind_its_name_holds_classes(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/a_mask.png", SQUARE * 2)
    tiny.text(tmp_path / "classes.txt", "cat\ndog\n")
    dataset = open_dataset(str(tmp_path), "train")
    assert [record.category.name for record in dataset.objects[1]] == ["dog"]


def test_numbered_masks_are_one_object_each(tmp_path):
    for number in (1, 2):
        write(tmp_path, "images/a.jpg", f"masks/a_mask_{number}.png", SQUARE * number)
    dataset = open_dataset(str(tmp_path), "train")
    assert [record.category.text for record in dataset.objects[1]] == ["", ""]


def test_an_empty_mask_says_that_the_photo_shows_nothing(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/a.png")
    write(tmp_path, "images/b.jpg", "masks/b.png", SQUARE * 0)
    tiny.photo(tmp_path / "images/c.jpg", HW)
    report = inspect_dataset(open_dataset(str(tmp_path), "train", tolerant=True))
    said = [str(note) for note in report.notes if note.where.endswith(".jpg")]
    assert said == [
        "b.jpg: photo annotated as showing nothing",
        "c.jpg: photo without annotation",
    ]


def test_arrays_of_numpy_are_no_masks(tmp_path):
    tiny.photo(tmp_path / "images/a.jpg", HW)
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/a.npy", SQUARE)
    with pytest.raises(DataError, match=r"Masks in NumPy's files are not read; save them as PNG\."):
        open_dataset(str(tmp_path), "train")


def test_a_photo_in_a_sub_folder_has_its_masks_in_the_same_one(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/a.png")
    write(tmp_path, "images/x/b.jpg", "masks/x/b.png")
    write(tmp_path, "images/x/y/c.jpg", "masks/x/y/c_mask.png")
    dataset = open_dataset(str(tmp_path), "train")
    assert [record.area for records in dataset.objects.values() for record in records] == [300] * 3


def class_names_of(root, *masks):
    for mask in masks:
        write(root, "images/a.jpg", f"masks/{mask}.png")
    dataset = open_dataset(str(root), "train")
    names = [record.category.text for record in dataset.objects[1]]
    return names, [str(note) for note in dataset.notes]


@pytest.mark.parametrize(
    ("masks", "names"),
    [
        (["a/apple_1", "a/a_pear"], ["pear", "apple"]),
        (["a_gas mask_1", "a_x_seg"], ["gas mask", "x seg"]),
        (["a/mask", "a/mask_2"], ["", ""]),
        (["a_1", "a_mask_2"], ["", ""]),
    ],
)
def test_names_of_masks_are_names_of_classes(tmp_path, masks, names):
    assert class_names_of(tmp_path, *masks) == (names, [])


def test_a_word_is_a_class_among_classes_and_a_note_says_so(tmp_path):
    names, notes = class_names_of(tmp_path, "a_face_1", "a_mask")
    assert names == ["face", "mask"]
    assert notes == [
        "mask: class names that nothing tells, taken for a class, because other masks are called after classes; "
        "else name its files like the photos"
    ]


def test_masks_beside_a_map_of_their_photo_are_named(tmp_path):
    names, notes = class_names_of(tmp_path, "a", "a_face_1", "a_face_2")
    assert names == [""]
    assert notes == [
        "a.png: not read, the map of its photo, beside which a_face_1.png, a_face_2.png cannot be read"
    ]
