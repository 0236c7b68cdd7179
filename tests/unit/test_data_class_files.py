"""Lists of classes beside label maps: whose numbers and colours they name, in VOC's layout and in plain folders."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny_data as tiny
from seem.data.inspection import inspect_dataset
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError, FlawKind
from seem.data.unused_files import find_unused_files

CLASS_MAP = tiny.labels((tiny.CAT, 1), (tiny.DOG, 2), hw=tiny.A_HW)
COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 9: (224, 224, 192)}
LABEL_MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n"


def coloured(values):
    drawn = np.zeros((*values.shape, 3), np.uint8)
    for value, colour in COLOURS.items():
        drawn[values == value] = colour
    return Image.fromarray(drawn)


def indexed(values, colours):
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette([part for colour in colours for part in colour])
    return image


def own_voc(root, class_map, object_map=None, parts=True):
    """Write a set of one's own in VOC's layout: two objects, a cat and a dog."""
    tiny.photo(root / "JPEGImages" / "p0.png", tiny.A_HW)
    for name, image in (("SegmentationClass", class_map), ("SegmentationObject", object_map)):
        if image is not None:
            (root / name).mkdir(parents=True, exist_ok=True)
            image.save(root / name / "p0.png")
    if parts:
        tiny.text(root / "ImageSets" / "Segmentation" / "train.txt", "p0\n")
    return root


def names_of(root, split="train"):
    dataset = open_dataset(str(root), split)
    return [record.category.name for record in dataset.objects[dataset.images[0].id]]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labelmap.txt", LABEL_MAP),
        ("labelmap.txt", "cat:128,0,0::\ndog:0,128,0::\nbackground:0,0,0::\n"),
        ("class_names.txt", "_background_\ncat\ndog\n"),
        ("class_names.txt", "__ignore__\n_background_\ncat\ndog"),
        ("classes.txt", "cat\ndog\n"),
    ],
)
def test_own_classes_in_vocs_layout(tmp_path, file, content):
    image = Image.fromarray(CLASS_MAP.astype(np.uint8))
    tiny.text(own_voc(tmp_path, image, image) / file, content)
    assert sorted(names_of(tmp_path)) == ["cat", "dog"]
    dataset = open_dataset(str(tmp_path), "train")
    assert {c.id: c.name for c in dataset.categories.values()} == {1: "cat", 2: "dog"}
    assert inspect_dataset(dataset).notes == ()


@pytest.mark.parametrize(
    "written",
    [
        coloured(CLASS_MAP),
        indexed(np.choose(CLASS_MAP, [0, 2, 1]), [COLOURS[0], COLOURS[2], COLOURS[1]]),
    ],
)
def test_colours_mean_what_the_list_says(tmp_path, written):
    objects = coloured(np.where(CLASS_MAP == 0, 9, CLASS_MAP))
    tiny.text(own_voc(tmp_path, written, objects) / "labelmap.txt", LABEL_MAP)
    dataset = open_dataset(str(tmp_path), "train")
    image = dataset.images[0]
    assert np.array_equal(dataset.semantic(image), CLASS_MAP)
    assert sorted(names_of(tmp_path)) == ["cat", "dog"]
    assert np.array_equal(dataset.void(image), CLASS_MAP == 0)


def test_a_colour_that_the_list_lacks_is_named(tmp_path):
    folder = own_voc(tmp_path, coloured(CLASS_MAP))
    tiny.text(folder / "labelmap.txt", "cat:128,0,0::\n")
    flaws = inspect_dataset(open_dataset(str(folder), "train", tolerant=True)).flaws
    assert "has the colour 0,128,0, which labelmap.txt does not name" in flaws[0].what


def test_a_set_without_lists_of_parts_is_one_part(tmp_path):
    folder = own_voc(tmp_path, Image.fromarray(CLASS_MAP.astype(np.uint8)), parts=False)
    tiny.text(folder / "class_names.txt", "_background_\ncat\ndog\n")
    assert list_splits(str(folder)) == ("all",)
    assert sorted(names_of(folder)) == ["cat", "dog"]


def test_vocs_names_are_not_assumed_where_the_boxes_are_of_other_classes(tmp_path):
    folder = own_voc(tmp_path, Image.fromarray(CLASS_MAP.astype(np.uint8)))
    report = inspect_dataset(open_dataset(str(folder), "train"))
    assert [note.kind for note in report.notes] == [FlawKind.ASSUMED_CLASSES, FlawKind.UNUSED_CLASS]
    box = "<annotation><object><name>{}</name></object></annotation>"
    tiny.text(folder / "Annotations" / "p0.xml", box.format("cat"))
    open_dataset(str(folder), "train")
    tiny.text(folder / "Annotations" / "p0.xml", box.format("crack"))
    with pytest.raises(DataError, match=r"its classes are others \(crack\): write class_names.txt"):
        open_dataset(str(folder), "train")


def folder_of_maps(root, file, content):
    tiny.photo(root / "images" / "a.jpg", tiny.A_HW)
    tiny.grey(root / "masks" / "a.png", CLASS_MAP)
    (root / file).write_bytes(content)
    return inspect_dataset(open_dataset(str(root)))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.txt", b"cat\ndog\n"),
        ("classes.txt", "cat\r\ndog\r\n".encode("utf-16")),
        ("classes.txt", b"\xef\xbb\xbfcat\ndog\n"),
        ("classes.json", json.dumps({"1": "cat", "2": "dog"}).encode("utf-16")),
        ("class_names.txt", b"_background_\ncat\ndog\n"),
        ("labelmap.txt", LABEL_MAP.encode()),
        ("dataset.json", b'{"labels": {"background": 0, "cat": 1, "dog": 2}, "numTraining": 1}'),
        ("dataset.json", b'{"labels": {"0": "background", "1": "cat", "2": "dog"}}'),
    ],
)
def test_lists_of_classes_of_a_folder(tmp_path, file, content):
    report = folder_of_maps(tmp_path, file, content)
    assert {row.id: (row.name, row.objects) for row in report.classes} == {1: ("cat", 1), 2: ("dog", 1)}  # fmt: skip
    is_utf_16 = content.startswith(b"\xff\xfe")
    assert [note.kind for note in report.notes] == [FlawKind.ENCODING] * is_utf_16


@pytest.mark.parametrize("name", ["background", "Background", "_background_"])
def test_a_first_line_called_background_is_noted(tmp_path, name):
    report = folder_of_maps(tmp_path, "classes.txt", f"{name}\nbuilding\n".encode())
    note = report.notes[0]
    assert (note.kind, note.where) == (FlawKind.BACKGROUND_CLASS, "classes.txt")
    assert f"its first line, {name}, is 1, and building 2, as written" in note.what


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[1, 2]", "is not a list of"), (b"{", "is not a list of"), (b'{"a": "b"}', "is not a list of"),
        (b'{"1": null}', "is not a list of"), (b'{"0": "cat", "1": "dog"}', "calls 0 'cat'; in maps 0 is nothing"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        folder_of_maps(tmp_path, "classes.json", content)


@pytest.mark.parametrize("name", ["a.PNG", "a.tiff", "a.TIF", "a.gif", "a.webp", "a.bmp"])
def test_maps_may_have_any_ending(tmp_path, name):
    tiny.photo(tmp_path / "images" / "a.jpg", tiny.A_HW)
    (tmp_path / "masks").mkdir()
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(CLASS_MAP.astype(np.uint8)).save(tmp_path / "masks" / name, **options)
    tiny.text(tmp_path / "classes.txt", "cat\ndog\n")
    assert sorted(names_of(tmp_path)) == ["cat", "dog"]


# --- Colours in plain folders -----------------------------------------------------------------------------------------


def folder_of_colours(root, part="", picture=None):
    tiny.photo(root / "images" / part / "a.png", CLASS_MAP.shape)
    (root / "masks" / part).mkdir(parents=True)
    (picture or coloured(CLASS_MAP)).save(root / "masks" / part / "a.png")
    return root


@pytest.mark.parametrize("part", ["", "train"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labelmap.txt", LABEL_MAP),
        ("label_colors.txt", "128 0 0 cat\n0 128 0 dog\n"),
        ("class_dict.csv", "name,r,g,b\ncat,128,0,0\ndog,0,128,0\n"),
    ],
)
def test_colours_of_a_folder_mean_what_the_list_beside_it_says(tmp_path, part, file, content):
    tiny.text(folder_of_colours(tmp_path, part) / file, content)
    dataset = open_dataset(str(tmp_path), "train")
    assert np.array_equal(dataset.semantic(dataset.images[0]), CLASS_MAP)
    assert sorted(names_of(tmp_path)) == ["cat", "dog"]


@pytest.mark.parametrize("classes", ["", "cat\ndog\n"])
def test_colours_that_nothing_explains_are_refused_with_the_way_out(tmp_path, classes):
    folder_of_colours(tmp_path)
    if classes:
        tiny.text(tmp_path / "classes.txt", classes)
    report = inspect_dataset(open_dataset(str(tmp_path), "train", tolerant=True))
    what = report.flaws[0].what
    assert (
        "has the colours 0,0,0 and 128,0,0 and 0,128,0; if they are classes, name them in" in what
    )
    assert (
        'label_colors.txt beside the folders, "red green blue name" a line; else save one' in what
    )


def test_the_colours_of_a_jpeg_are_too_many_to_be_classes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (*CLASS_MAP.shape, 3)).astype(np.uint8)
    large = Image.fromarray(noise.repeat(2, 0).repeat(2, 1))
    tiny.photo(tmp_path / "images/a.png", (large.height, large.width))
    (tmp_path / "masks").mkdir()
    large.save(tmp_path / "masks/a.jpg")
    report = inspect_dataset(open_dataset(str(tmp_path), "train", tolerant=True))
    assert "colours, as JPEG or resizing makes them (save it as PNG)" in report.flaws[0].what


def test_maps_of_voc_that_lost_their_palette_are_read_by_its_colours(tmp_path):
    own_voc(tmp_path, coloured(CLASS_MAP), Image.fromarray(CLASS_MAP.astype(np.uint8)))
    assert sorted(names_of(tmp_path)) == ["aeroplane", "bicycle"]
    dataset = open_dataset(str(tmp_path), "train")
    assert np.array_equal(dataset.semantic(dataset.images[0]), CLASS_MAP)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:::\ncat:::\ndog:::\n"),
        ("class_names.txt", "_background_\ncat\ndog\n"),
    ],
)
def test_a_list_without_colours_has_those_of_voc(tmp_path, file, content):
    folder = own_voc(tmp_path, coloured(CLASS_MAP), coloured(CLASS_MAP))
    tiny.text(folder / file, content)
    dataset = open_dataset(str(tmp_path), "train")
    assert np.array_equal(dataset.semantic(dataset.images[0]), CLASS_MAP)
    assert sorted(names_of(tmp_path)) == ["cat", "dog"]


def test_classes_without_maps_of_objects_are_stuff(tmp_path):
    folder = own_voc(tmp_path, Image.fromarray(CLASS_MAP.astype(np.uint8)))
    tiny.text(folder / "class_names.txt", "_background_\ncat\ndog\n")
    dataset = open_dataset(str(tmp_path), "train")
    objects = dataset.objects[dataset.images[0].id]
    assert [(one.category.is_thing, one.is_group) for one in objects] == [(False, False)] * 2


@pytest.mark.parametrize(
    "content", ["0 background\n1 cat\n2 dog\n", "1: cat\n2: dog\n", "1\tcat\n\n2\tdog\n"]
)
def test_lines_that_count_themselves_are_numbers(tmp_path, content):
    tiny.folder_of_maps(tmp_path)
    tiny.text(tmp_path / "classes.txt", content)
    dataset = open_dataset(str(tmp_path), "train")
    assert [(row.id, row.name) for row in dataset.category_list] == [(1, "cat"), (2, "dog")]
    assert "numbers, which are taken for those of the maps: 1 is cat" in str(dataset.notes[-1])


@pytest.mark.parametrize("content", ["1 euro\n2 euro\n", "2 cats\n3 dogs\n", "7 up\n"])
def test_names_may_begin_with_numbers(tmp_path, content):
    tiny.folder_of_maps(tmp_path)
    tiny.text(tmp_path / "classes.txt", content)
    names = [row.name for row in open_dataset(str(tmp_path), "train", tolerant=True).category_list]
    assert names == content.splitlines()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("classes.txt", "\n", "names no class; write a name a line"),
        ("class_names.txt", "_background_\n", "names no class"),
        ("classes.json", '{"1": "cat", "01": "dog"}', "dog has number 1, below 0 or of another class"),
        ("classes.json", '{"cat": 1, "dog": 1}', "dog has number 1"),
        ("classes.json", '{"-1": "cat"}', "cat has number -1"),
    ],
)  # fmt: skip
def test_lists_that_lose_a_class_are_refused(tmp_path, file, content, message):
    tiny.folder_of_maps(tmp_path)
    tiny.text(tmp_path / file, content)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path), "train")


# --- Darwin's list of classes -----------------------------------------------------------------------------------------

DARWIN_LISTS = {
    "index": ("0", "1", "2"),
    "grey": ("0", "127", "255"),
    "colour": ("0 0 0", "255 50 50", "50 255 50"),
}


def darwin_masks(root, kind):
    """Write one map as Darwin of V7 exports it: cat and dog by number, by grey value or by colour."""
    tiny.photo(root / "images" / "a.png", tiny.A_HW)
    colours = DARWIN_LISTS[kind]
    rows = zip(("__background__", "cat", "dog"), colours, strict=True)
    lines = ["class_name,class_color", *(f"{name},{colour}" for name, colour in rows)]
    tiny.text(root / "class_mapping.csv", "\r\n".join(lines) + "\r\n")
    channels = np.array([list(map(int, colour.split())) for colour in colours])
    numbers = tiny.labels((tiny.CAT, 1), (tiny.DOG, 2), hw=tiny.A_HW)
    tiny.grey(root / "masks" / "a.png", channels[numbers.astype(int)].squeeze())


@pytest.mark.parametrize("kind", DARWIN_LISTS)
def test_maps_of_darwin_have_the_classes_of_its_list(tmp_path, kind):
    """A value of 255 is a class where the list says so, and does not count elsewhere."""
    darwin_masks(tmp_path, kind)
    dataset = open_dataset(str(tmp_path), "train")
    masks = {record.category.name: record.mask() for record in dataset.objects[1]}
    assert masks.keys() == {"cat", "dog"}
    assert np.array_equal(masks["cat"], tiny.CAT)
    assert np.array_equal(masks["dog"], tiny.DOG)
    assert find_unused_files(tmp_path, [dataset]) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class_name,class_color\n", "names no class"),
        ("class_name,class_color\ncat,red\n", "has a row without class_name and class_color"),
        ("class_name,class_color\ncat,1 2\n", "cat has the colour '1 2'"),
        ("name,colour\ncat,1\n", "has a row without class_name and class_color"),
    ],
)
def test_list_of_darwin_that_names_no_colour_is_refused(tmp_path, content, message):
    darwin_masks(tmp_path, "index")
    tiny.text(tmp_path / "class_mapping.csv", content)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path), "train")


def test_single_masks_of_darwin_have_the_classes_of_its_list(tmp_path):
    tiny.photo(tmp_path / "images" / "a.png", tiny.A_HW)
    for number, mask in enumerate((tiny.CAT, tiny.DOG)):
        tiny.grey(tmp_path / "masks" / f"a_0000{number}.png", mask * 255)
    rows = "image_id,mask_id,class_name\na,a_00000,cat\na,a_00001,sausage dog\n"
    tiny.text(tmp_path / "instance_mask_annotations.csv", rows)
    dataset = open_dataset(str(tmp_path), "train")
    assert [record.category.name for record in dataset.objects[1]] == ["cat", "sausage dog"]
    assert find_unused_files(tmp_path, [dataset]) == ()
