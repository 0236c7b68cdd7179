"""Annotation tools: files that their own packages wrote, and masks that they drew (`recorded/tools`)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.coco_rle import rle_to_mask
from seem.data.inspection import inspect_dataset
from seem.data.opening import list_splits, open_dataset
from seem.data.records import DataError

RECORDED = Path(__file__).parents[1] / "recorded" / "tools"
HW = (48, 64)


def copy_set(tmp_path, recorded, *names):
    """Copy a recorded set, and write photos of noise where it expects them."""
    home = tmp_path / "set"
    shutil.copytree(RECORDED / recorded / "set", home)
    for name in names:
        tiny.photo(home / name, HW)
    return home


def recorded_masks(recorded):
    """Labels and masks by photo, as the tool drew them."""
    content = json.loads((RECORDED / recorded / "truth.json").read_text())
    return {
        stem: [(row["label"], rle_to_mask(row["counts"], HW)) for row in rows]
        for stem, rows in content.items()
    }


def read_masks(dataset):
    return {
        image.path.stem: [
            (record.category.name, record.mask()) for record in dataset.objects[image.id]
        ]
        for image in dataset.images
    }


def outline_of(mask):
    """Pixels with a neighbour (of eight) on the other side."""
    padded = np.pad(mask, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.any(axis=(2, 3)) & ~windows.all(axis=(2, 3))


def assert_same_masks(dataset, recorded, differing=None):
    """Compare with what the tool drew; `differing`: pixels that may differ, all of them at the outline."""
    read, truth = read_masks(dataset), recorded_masks(recorded)
    assert read.keys() == truth.keys()
    num_differing = []
    for stem, objects in truth.items():
        assert [label for label, _ in read[stem]] == [label for label, _ in objects]
        for (_, mask), (_, drawn) in zip(read[stem], objects, strict=True):
            assert not ((mask ^ drawn) & ~outline_of(drawn)).any()
            num_differing.append(int((mask ^ drawn).sum()))
    assert num_differing == (differing or [0] * len(num_differing))


def notes_of(dataset):
    return [note.what for note in inspect_dataset(dataset).notes if note.kind.value == "not read"]


# --- labelme ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelme_set(tmp_path):
    return copy_set(tmp_path, "labelme", "images/a.jpg", "images/b.jpg", "images/c.jpg")


def test_labelme_polygons_groups_boxes_circles_and_masks(labelme_set):
    """labelme draws the border pixels of outlines too; circles and masks are the same pixel by pixel."""
    dataset = open_dataset(str(labelme_set), "train")
    assert (dataset.kind, dataset.split) == ("labelme", "all")
    assert_same_masks(dataset, "labelme", [37, 23, 0, 0, 16])
    assert inspect_dataset(dataset).ok
    assert notes_of(dataset) == [
        "shapes: 1 line, 1 point, 1 linestrip; photos without a JSON file: 1"
    ]


def test_labelme_photo_without_shapes_shows_nothing(labelme_set):
    dataset = open_dataset(f"labelme:{labelme_set}", "train")
    empty = dataset.images[1]
    assert dataset.objects[empty.id] == ()
    assert dataset.complete_names(empty) == {"cat", "dog", "ball", "box"}


def test_labelme_parts_and_version_3(tmp_path):
    square = {"label": "cat", "points": [[2, 2], [6, 2], [6, 8], [2, 8]]}
    content = {"version": "3.16.7", "shapes": [square], "imagePath": "a.png", "imageData": None}
    for part in ("train", "val"):
        tiny.photo(tmp_path / part / "a.png", (12, 16))
        tiny.text(tmp_path / part / "a.json", content)
    assert list_splits(str(tmp_path)) == ("train", "val")
    record = open_dataset(str(tmp_path), "val").objects[1][0]
    assert np.array_equal(record.mask(), tiny.rectangle((12, 16), 2, 2, 6, 8))


def test_labelme_photo_inside_of_its_file(tmp_path):
    import base64

    photo = tiny.photo(tmp_path / "a.png", (12, 16))
    pixels = np.asarray(tiny.Image.open(photo))
    data = base64.b64encode(photo.read_bytes()).decode()
    content = {"version": "5.0.1", "shapes": [], "imagePath": "a.png", "imageData": data}
    tiny.text(tmp_path / "a.json", {**content, "imageHeight": 12, "imageWidth": 16})
    photo.unlink()
    dataset = open_dataset(str(tmp_path), "train")
    assert inspect_dataset(dataset).unusable_images == frozenset()
    assert np.array_equal(dataset.pixels(dataset.images[0]), pixels)
    assert dataset.read_encoded(dataset.images[0]) == base64.b64decode(data)


def test_labelme_bad_shape_is_named_and_the_others_are_read(tmp_path):
    good = {"label": "cat", "points": [[2, 2], [6, 2], [6, 8]], "shape_type": "polygon"}
    bad = {"label": "cat", "points": [[2, 2], [6, 2]], "shape_type": "polygon"}
    tiny.photo(tmp_path / "a.png", (12, 16))
    tiny.text(tmp_path / "a.json", {"shapes": [bad, good], "imagePath": "a.png"})
    (tmp_path / "b.json").write_text('{"shapes": [], "imagePath": "b.p')
    dataset = open_dataset(str(tmp_path), "train", tolerant=True)
    assert len(dataset.objects[1]) == 1
    assert [flaw.where for flaw in inspect_dataset(dataset).flaws] == ["b.json", "a.json, shape 1"]


def write_turned_photo(path, hw, orientation):
    """Write a photo that shows a white square at (2, 3) to (6, 7), stored as a camera stores it."""
    from PIL import Image

    from seem.images import EXIF_ORIENTATION, TRANSPOSE_OF_ORIENTATION

    shown = Image.new("RGB", hw[::-1])
    shown.paste("white", (2, 3, 6, 7))
    stored = shown
    for turn in TRANSPOSE_OF_ORIENTATION.values():
        turned = shown.transpose(turn)
        undo = TRANSPOSE_OF_ORIENTATION.get(orientation)
        if undo is not None and turned.transpose(undo).tobytes() == shown.tobytes():
            stored = turned
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path.parent.mkdir(exist_ok=True)
    stored.save(path, exif=exif)


def write_turned_labelme(folder, hw):
    square = {"label": "cat", "points": [[2, 3], [6, 7]], "shape_type": "rectangle"}
    tiny.text(folder / "a.json", {"shapes": [square], "imagePath": "images/a.png"})


def write_turned_yolo(folder, hw):
    height, width = hw
    corners = ((2, 3), (6, 3), (6, 7), (2, 7))
    numbers = [number for x, y in corners for number in (x / width, y / height)]
    tiny.text(folder / "labels" / "a.txt", " ".join(map(str, (0, *numbers))))
    tiny.text(folder / "classes.txt", "cat\n")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("hw", [(12, 16), (14, 14)])
@pytest.mark.parametrize("write", [write_turned_labelme, write_turned_yolo])
def test_shapes_lie_on_the_photo_as_shown(tmp_path, write, hw, orientation):
    write_turned_photo(tmp_path / "images" / "a.png", hw, orientation)
    write(tmp_path, hw)
    dataset = open_dataset(str(tmp_path), "train")
    image = dataset.images[0]
    assert image.hw == hw
    assert np.array_equal(dataset.pixels(image)[:, :, 0] == 255, dataset.objects[1][0].mask())
    report = inspect_dataset(dataset)
    assert report.ok
    notes = [note.what for note in report.notes if note.kind.value.startswith("photo with an EXIF")]
    assert bool(notes) == (orientation > 1)
    assert all(note.endswith("read on the photo as shown") for note in notes[:1])


def test_photo_that_is_listed_twice_is_noted(label_studio_set):
    file = label_studio_set / "project-1.json"
    tasks = json.loads(file.read_text())
    file.write_text(json.dumps([*tasks, tasks[1]]))
    report = inspect_dataset(open_dataset(str(label_studio_set), "train"))
    notes = [str(note) for note in report.notes if note.kind.value == "duplicate id"]
    assert notes == ["b.jpg: duplicate id, the photo is listed 2 times, each with its own objects"]


# --- CVAT and Datumaro ------------------------------------------------------------------------------------------------


def test_cvat_shapes(tmp_path):
    home = copy_set(tmp_path, "datumaro_cvat", "images/train/a.jpg", "images/train/b.jpg")
    assert list_splits(str(home)) == ("train",)
    dataset = open_dataset(str(home), "train")
    assert [category.name for category in dataset.category_list] == ["cat", "dog", "ball"]
    assert_same_masks(dataset, "datumaro_cvat")
    assert notes_of(dataset) == [
        "shapes: 1 polyline, 1 points; attributes: 1 occluded; tags of whole photos: 1"
    ]


CVAT_FILE = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="a.png" width="16" height="12">
<mask label="dog" source="manual" occluded="0" rle="1, 2, 1, 4" left="3" top="2" width="4" height="2" z_order="0"/>
<ellipse label="cat" cx="8.00" cy="6.00" rx="4.00" ry="2.00" rotation="90.00" z_order="0">
<attribute name="is_crowd">true</attribute><attribute name="fur">long</attribute></ellipse>
<polygon label="pig" points="1.00,1.00;5.00,1.00;5.00,4.00;1.00,4.00"/>
<box label="pig" xtl="1.00" ytl="1.00" xbr="5.00" ybr="4.00"/>
<cuboid label="cat" xtl1="1.00"/><skeleton label="cat"><points label="ear" points="1.00,1.00"/></skeleton>
</image></annotations>"""


def test_cvat_masks_count_row_by_row_and_ellipses_turn_about_their_centre(tmp_path):
    tiny.photo(tmp_path / "images" / "a.png", (12, 16))
    tiny.text(tmp_path / "annotations.xml", CVAT_FILE)
    dataset = open_dataset(str(tmp_path), "train")
    dog, cat, pig = dataset.objects[1]
    rows = dog.mask()[2:4, 3:7].astype(int).tolist()
    assert (rows, dog.area) == ([[0, 1, 1, 0], [1, 1, 1, 1]], 6)
    assert (cat.box, cat.is_crowd) == ((6, 2, 10, 10), True)
    assert np.array_equal(pig.mask(), tiny.rectangle((12, 16), 1, 1, 5, 4))
    assert notes_of(dataset) == [
        "shapes: 1 cuboid, 1 skeleton; attributes: 1 fur; boxes around an outline of the same label: 1"
    ]


def test_cvat_for_video_says_what_to_export(tmp_path):
    tiny.photo(tmp_path / "images" / "a.png", (12, 16))
    video = '<annotations><version>1.1</version><track id="0" label="cat"></track></annotations>'
    tiny.text(tmp_path / "annotations.xml", video)
    with pytest.raises(ValueError, match=r"export CVAT for images 1\.1 instead"):
        open_dataset(str(tmp_path), "train")


def test_datumaro_json(tmp_path):
    home = copy_set(tmp_path, "datumaro_datumaro", "images/train/a.jpg", "images/train/b.jpg")
    dataset = open_dataset(str(home), "train")
    assert dataset.kind == "datumaro"
    assert_same_masks(dataset, "datumaro_datumaro")
    assert [record.is_crowd for record in dataset.objects[1]] == [False, False, True, False]


@pytest.mark.parametrize("label_id", [-1, 3, "cat", 0.5])
def test_datumaro_label_that_is_not_listed_is_a_flaw(tmp_path, label_id):
    home = copy_set(tmp_path, "datumaro_datumaro", "images/train/a.jpg", "images/train/b.jpg")
    file = home / "annotations" / "train.json"
    content = json.loads(file.read_text())
    content["items"][0]["annotations"][0]["label_id"] = label_id
    file.write_text(json.dumps(content))
    flaws = inspect_dataset(open_dataset(str(home), "train", tolerant=True)).flaws
    assert [flaw.what for flaw in flaws] == [f"its label_id is {label_id}, there are 3 labels"]


# --- Label Studio -----------------------------------------------------------------------------------------------------


@pytest.fixture
def label_studio_set(tmp_path):
    return copy_set(tmp_path, "label_studio", "images/a.jpg", "images/photos/b.jpg")


def test_label_studio_regions(label_studio_set):
    dataset = open_dataset(str(label_studio_set), "train")
    assert (dataset.kind, len(dataset.images)) == ("labelstudio", 2)
    objects = dataset.objects[1]
    assert [o.category.name for o in objects] == ["cat", "dog", "dog", "dog", "ball"]
    truth = json.loads((RECORDED / "label_studio" / "truth.json").read_text())
    assert np.array_equal(objects[0].mask(), rle_to_mask(truth["polygon"], HW))
    assert np.array_equal(objects[2].mask(), rle_to_mask(truth["brush"], HW))
    assert objects[1].box == (48, 10, 60, 19)
    assert objects[4].box == (2, 28, 14, 36)
    assert notes_of(dataset) == [
        "shapes: 1 keypoint; choices and texts of whole photos: 1; photos that were skipped or not annotated: 1"
    ]


def test_label_studio_rectangle_turns_about_its_upper_left_corner(label_studio_set):
    turned = open_dataset(str(label_studio_set), "train").objects[1][3]
    corner, along = np.array([40.0, 31.68]), np.radians(30)
    far = corner + 16 * np.array([np.cos(along), np.sin(along)])
    x0, _, x1, _ = turned.box
    assert abs(x1 - far[0]) <= 1
    assert abs(x0 - (corner[0] - 7.68 * np.sin(along))) <= 1
    assert abs(turned.area - 16 * 7.68) < 8


def test_label_studio_empty_task_shows_nothing_and_a_skipped_one_is_left_out(label_studio_set):
    dataset = open_dataset(str(label_studio_set), "train")
    a, b = dataset.images
    assert (a.path.name, b.path.name) == ("a.jpg", "b.jpg")
    assert dataset.objects[b.id] == ()
    assert dataset.complete_names(b) == {"cat", "dog", "ball"}


def test_label_studio_predictions_are_read_where_nobody_annotated_and_else_counted(tmp_path):
    box = {"x": 25, "y": 25, "width": 50, "height": 50, "rectanglelabels": ["cat"]}
    result = {"id": "r", "original_width": 16, "original_height": 12, "value": box}
    task = {"data": {"image": "a.png"}, "predictions": [{"result": [result]}]}
    tiny.photo(tmp_path / "a.png", (12, 16))
    tiny.text(tmp_path / "tasks.json", [task])
    assert len(open_dataset(str(tmp_path), "train").objects[1]) == 1
    tiny.text(tmp_path / "tasks.json", [{**task, "annotations": [{"result": []}]}])
    assert open_dataset(str(tmp_path), "train").objects[1] == ()
    tiny.text(tmp_path / "tasks.json", [{**task, "annotations": []}])
    with pytest.raises(DataError, match=r"not annotated: 1; predictions for such photos: 1\.$"):
        open_dataset(str(tmp_path), "train")


def test_label_studio_minimal_export(tmp_path):
    sizes = {"original_width": 16, "original_height": 12}
    box = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
    task = {"image": "/data/upload/1/0a1b2c3d-a.png", "id": 5, "label": [{**box, **sizes}]}
    tiny.photo(tmp_path / "0a1b2c3d-a.png", (12, 16))
    tiny.text(tmp_path / "export.json", [task])
    record = open_dataset(str(tmp_path), "train").objects[1][0]
    assert np.array_equal(record.mask(), tiny.rectangle((12, 16), 4, 3, 12, 9))


def test_label_studio_brush_of_another_size_is_named(label_studio_set):
    file = label_studio_set / "project-1.json"
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"][0]["result"][2]["original_width"] = 60
    file.write_text(json.dumps(tasks))
    flaws = inspect_dataset(open_dataset(str(label_studio_set), "train", tolerant=True)).flaws
    assert [flaw.what for flaw in flaws] == [
        "its brush mask has 12288 values, the photo needs 11520"
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", 1, "it has no value"),
        ("original_width", None, "it has no original_width and original_height"),
    ],
)
def test_label_studio_region_that_lacks_a_field_is_named(label_studio_set, field, value, message):
    file = label_studio_set / "project-1.json"
    tasks = json.loads(file.read_text())
    ellipse = tasks[0]["annotations"][0]["result"][5]
    if value is None:
        del ellipse[field]
    else:
        ellipse[field] = value
    file.write_text(json.dumps(tasks))
    dataset = open_dataset(str(label_studio_set), "train", tolerant=True)
    assert [flaw.what for flaw in inspect_dataset(dataset).flaws] == [message]
    assert len(dataset.objects[1]) == 4


# --- Supervisely and V7 -----------------------------------------------------------------------------------------------


def test_supervisely_project(tmp_path):
    """Polygons of whole pixels hold their corners; the tool draws 20 more pixels along slanted edges.

    Of a turned box it draws corners without their fractions. What is called a car are two figures of one object.
    """
    home = copy_set(tmp_path, "supervisely", "ds0/img/a.jpg", "ds0/img/b.jpg", "ds0/img/c.jpg")
    dataset = open_dataset(str(home), "train")
    assert (dataset.kind, dataset.split) == ("supervisely", "all")
    names = ["cat", "dog", "ball", "ear", "nose", "veil", "plate", "car"]
    assert [category.name for category in dataset.category_list] == names
    assert_same_masks(dataset, "supervisely", [20, 0, 0, 0, 20, 0])
    assert dataset.complete_names(dataset.images[1]) == set(names)
    assert notes_of(dataset) == ["shapes: 1 line, 1 point"]


def test_supervisely_project_of_videos_is_refused(tmp_path):
    tiny.text(tmp_path / "meta.json", {"classes": []})
    tiny.text(tmp_path / "key_id_map.json", {})
    (tmp_path / "ds0" / "video").mkdir(parents=True)
    with pytest.raises(DataError, match="only projects of images are read"):
        open_dataset(str(tmp_path), "train")


def test_supervisely_parts_and_pixels_of_whole_numbers(tmp_path):
    exterior = [[2, 1], [6, 1], [6, 8], [2, 8]]
    hole = [[3, 3], [5, 3], [5, 5], [3, 5]]
    points = {"exterior": exterior, "interior": [hole]}
    cat = {"classTitle": "cat", "geometryType": "polygon", "points": points, "tags": []}
    box = {"exterior": [[2.0, 1.25], [6.0, 8.75]], "interior": []}
    dog = {"classTitle": "dog", "geometryType": "rectangle", "points": box, "tags": []}
    content = {"size": {"height": 12, "width": 16}, "tags": [{"name": "day"}]}
    tiny.text(tmp_path / "meta.json", {"classes": [{"title": "dog"}, {"title": "cat"}]})
    for part in ("train", "val"):
        tiny.photo(tmp_path / part / "img" / "a.png", (12, 16))
        tiny.text(tmp_path / part / "ann" / "a.png.json", {**content, "objects": [cat, dog]})
    assert list_splits(str(tmp_path)) == ("train", "val")
    dataset = open_dataset(str(tmp_path), "val")
    mask = tiny.rectangle((12, 16), 2, 1, 7, 9) & ~tiny.rectangle((12, 16), 3, 3, 6, 6)
    assert np.array_equal(dataset.objects[1][0].mask(), mask)
    assert dataset.objects[1][1].box == (2, 1, 6, 9)
    assert notes_of(dataset) == ["tags of whole photos: 1"]


def test_darwin_paths_count_even_odd_and_masks_lie_in_the_raster_layer(tmp_path):
    """darwin-py rounds corners to whole pixels and draws the border pixels too."""
    home = copy_set(tmp_path, "darwin", "images/a.jpg", "images/b.jpg")
    dataset = open_dataset(str(home), "train")
    assert dataset.kind == "darwin"
    cat, ball, dog, second_cat, ellipse = dataset.objects[1]
    truth = json.loads((RECORDED / "darwin" / "truth.json").read_text())
    drawn = rle_to_mask(truth["polygon"], HW)
    assert not cat.mask()[7:11, 9:14].any()
    assert (cat.mask() ^ drawn).sum() == 63
    assert not ((cat.mask() ^ drawn) & ~outline_of(drawn)).any()
    assert ball.box == (48, 10, 60, 20)
    assert np.array_equal(dog.mask(), rle_to_mask(truth["dog"], HW))
    assert np.array_equal(second_cat.mask(), rle_to_mask(truth["cat"], HW))
    assert ellipse.box == (42, 28, 58, 40)
    assert notes_of(dataset) == ["tags of whole photos: 1"]
    assert dataset.objects[2] == ()


# --- VGG Image Annotator ----------------------------------------------------------------------------------------------

VIA_REGIONS = [
    ({"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [1, 1, 8, 8]}, {"class": "cat"}),
    ({"name": "rect", "x": 8, "y": 2, "width": 4, "height": 5}, {"class": "dog", "mood": "calm"}),
    ({"name": "circle", "cx": 4, "cy": 10, "r": 2}, {"class": {"ball": True, "cat": False}}),
    ({"name": "ellipse", "cx": 12, "cy": 9, "rx": 3, "ry": 1, "theta": 1.5707963}, {"class": "ball"}),
    ({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}, {"class": "cat"}),
    ({"name": "point", "cx": 1, "cy": 1}, {}),
]  # fmt: skip


def via_json():
    regions = [{"shape_attributes": s, "region_attributes": a} for s, a in VIA_REGIONS]
    return {
        "a.png100": {"filename": "a.png", "size": 100, "regions": regions, "file_attributes": {}},
        "b.png90": {"filename": "b.png", "size": 90, "regions": [], "file_attributes": {}},
    }


def via_csv():
    import csv
    import io

    table = io.StringIO(newline="")
    writer = csv.writer(table)
    shape, attributes = "region_shape_attributes", "region_attributes"
    writer.writerow(
        ["filename", "file_size", "file_attributes", "region_count", "region_id", shape, attributes]
    )
    for number, (region, values) in enumerate(VIA_REGIONS):
        row = ["a.png", 100, "{}", len(VIA_REGIONS), number, json.dumps(region), json.dumps(values)]
        writer.writerow(row)
    writer.writerow(["b.png", 90, "{}", 0, 0, "{}", "{}"])
    return table.getvalue()


@pytest.mark.parametrize("form", ["export", "project", "version 1", "table"])
def test_via_regions(tmp_path, form):
    for name in ("a.png", "b.png"):
        tiny.photo(tmp_path / name, (12, 16))
    content = via_json()
    if form == "project":
        content = {"_via_settings": {}, "_via_img_metadata": content, "_via_attributes": {}}
    if form == "version 1":
        for entry in content.values():
            entry["regions"] = {str(k): region for k, region in enumerate(entry["regions"])}
    file, text = ("via.csv", via_csv()) if form == "table" else ("via.json", content)
    tiny.text(tmp_path / file, text)
    dataset = open_dataset(str(tmp_path), "train")
    assert (dataset.kind, len(dataset.images)) == ("via", 2)
    cat, dog, ball, turned = dataset.objects[1]
    assert np.array_equal(cat.mask(), tiny.rectangle((12, 16), 2, 1, 6, 8))
    assert np.array_equal(dog.mask(), tiny.rectangle((12, 16), 8, 2, 12, 7))
    assert (ball.category.name, ball.area, ball.box) == ("ball", 12, (2, 8, 6, 12))
    assert (turned.category.name, turned.box) == ("ball", (11, 6, 13, 12))
    assert notes_of(dataset) == ["shapes: 1 polyline, 1 point; attributes: 1 mood"]


def test_via_parts_are_folders(tmp_path):
    for part in ("train", "val"):
        tiny.photo(tmp_path / part / "a.png", (12, 16))
        tiny.text(tmp_path / part / "via_region_data.json", via_json())
    assert list_splits(str(tmp_path)) == ("train", "val")
    assert len(open_dataset(str(tmp_path), "val", tolerant=True).images) == 1


# --- LabelMe's XML and CamVid -----------------------------------------------------------------------------------------


def test_labelme_xml(tmp_path):
    home = copy_set(tmp_path, "datumaro_label_me", "Images/train/a.jpg", "Images/train/b.jpg")
    assert list_splits(str(home)) == ("train",)
    dataset = open_dataset(str(home), "train")
    assert dataset.kind == "labelme_xml"
    assert_same_masks(dataset, "datumaro_label_me")
    assert [record.is_crowd for record in dataset.objects[1]] == [False, False, True]
    assert notes_of(dataset) == ["attributes: 1 occluded"]


def test_labelme_xml_deleted_objects_are_none(tmp_path):
    home = copy_set(tmp_path, "datumaro_label_me", "Images/train/a.jpg", "Images/train/b.jpg")
    file = home / "Annotations" / "train" / "a.xml"
    file.write_text(file.read_text().replace("<deleted>0<", "<deleted>1<", 1))
    names = [label for label, _ in read_masks(open_dataset(str(home), "train"))["a"]]
    assert names == ["cat", "dog", "dog"]


def test_cvat_photos_without_a_subset_are_a_part_of_their_own(tmp_path):
    image = '<image name="{}.jpg" {}><polygon label=" cat " points="1,1;9,1;9,9"/></image>'
    subsets = {"a": 'subset="train"', "b": "subset='a&amp;b'", "c": 'subset=""', "d": ""}
    for name in subsets:
        tiny.photo(tmp_path / f"images/{name}.jpg", HW)
    images = "".join(image.format(name, subset) for name, subset in subsets.items())
    tiny.text(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    assert list_splits(str(tmp_path)) == ("train", "a&b", "annotations")
    names = [image.path.stem for image in open_dataset(str(tmp_path), "annotations").images]
    assert names == ["c", "d"]
    dataset = open_dataset(str(tmp_path), "all")
    assert len(dataset.images) == 4
    assert [row.name for row in dataset.category_list] == ["cat"]


def test_labelme_xml_parts_hold_folders(tmp_path):
    home = copy_set(tmp_path, "datumaro_label_me", "Images/train/a.jpg", "Images/train/x/b.jpg")
    (home / "Annotations/train/x").mkdir()
    (home / "Annotations/train/b.xml").rename(home / "Annotations/train/x/b.xml")
    assert list_splits(str(home)) == ("train",)
    assert len(open_dataset(str(home), "train").images) == 2


def test_labelme_xml_masks_lie_inside_of_the_set(tmp_path):
    home = copy_set(tmp_path, "datumaro_label_me", "Images/train/a.jpg", "Images/train/b.jpg")
    tiny.grey(tmp_path / "secret.png", np.ones(HW))
    for file in (home / "Annotations" / "train").iterdir():
        file.write_text(re.sub("<mask>[^<]+<", "<mask>../../../secret.png<", file.read_text()))
    report = inspect_dataset(open_dataset(str(home), "train", tolerant=True))
    assert {"leads out of" in flaw.what for flaw in report.flaws} == {True}


def test_camvid_as_datumaro_writes_it(tmp_path):
    """Its legend has names without colours: they are Pascal VOC's."""
    home = copy_set(tmp_path, "datumaro_camvid")
    assert list_splits(str(home)) == ("train",)
    assert_same_masks(open_dataset(str(home), "train"), "datumaro_camvid")


LEGENDS = {
    "label_colors.txt": "0 0 0\tVoid\n128 0 0\tcrack\n0 128 0\tlight rust\n",
    "class_dict.csv": "name,r,g,b\ncrack,128,0,0\nVoid,0,0,0\nlight rust,0,128,0\n",
}


@pytest.mark.parametrize("legend", LEGENDS)
@pytest.mark.parametrize("stored", ["colours", "palette", "numbers"])
def test_camvid_maps(tmp_path, legend, stored):
    hw = (12, 16)
    numbers = tiny.labels((tiny.CAT, 1), (tiny.DOG, 2), hw=hw)
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[numbers]
    picture = tiny.Image.fromarray(colours)
    if stored == "palette":
        picture = picture.convert("P", palette=tiny.Image.Palette.ADAPTIVE, colors=3)
    if stored == "numbers":
        picture = tiny.Image.fromarray(numbers.astype(np.uint8))
    tiny.photo(tmp_path / "val" / "a.png", hw)
    tiny.photo(tmp_path / "val" / "b.png", hw)
    (tmp_path / "val_labels").mkdir()
    picture.save(tmp_path / "val_labels" / "a_L.png")
    tiny.text(tmp_path / legend, LEGENDS[legend])
    dataset = open_dataset(str(tmp_path), "val")
    assert dataset.kind == "camvid"
    assert [name for name, _ in read_masks(dataset)["a"]] == ["crack", "light rust"]
    assert np.array_equal(read_masks(dataset)["a"][0][1], tiny.CAT)
    assert np.array_equal(dataset.void(dataset.images[0]), ~tiny.CAT & ~tiny.DOG)
    assert notes_of(dataset) == ["photos without a map: 1"]


@pytest.mark.parametrize(
    ("legend", "stored"),
    [(" background\n cat\n dog\n", "colours"), (" cat\n dog\n", "numbers"), ("cat 128 0 0\ndog:0,128,0\n", "colours")],
)  # fmt: skip
def test_camvid_photos_in_sub_folders(tmp_path, legend, stored):
    """Datumaro writes legends without colours: the background is black if it comes first."""
    hw = (12, 16)
    values = tiny.labels((tiny.CAT, 1), (tiny.DOG, 2), hw=hw)
    if stored == "colours":
        values = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)])[values]
    for name in ("a", "x/b", "x/y/c"):
        tiny.photo(tmp_path / f"train/{name}.jpg", hw)
        tiny.grey(tmp_path / f"trainannot/{name}.png", values)
    tiny.text(tmp_path / "label_colors.txt", legend)
    read = read_masks(open_dataset(str(tmp_path), "train"))
    assert {stem: [name for name, _ in objects] for stem, objects in read.items()} == {
        stem: ["cat", "dog"] for stem in "abc"
    }
    assert np.array_equal(read["b"][0][1], tiny.CAT)


def test_camvid_maps_without_a_photo_and_shared_colours_are_named(tmp_path):
    tiny.photo(tmp_path / "train" / "a.jpg", (12, 16))
    for name in ("a", "x/a"):
        tiny.grey(tmp_path / f"trainannot/{name}.png", np.zeros((12, 16, 3)))
    tiny.text(tmp_path / "label_colors.txt", "9 8 7 cat\n9 8 7 dog\n")
    dataset = open_dataset(str(tmp_path), "train", tolerant=True)
    assert list(map(str, dataset.flaws)) == [
        "trainannot/x/a.png: annotation of an unknown photo, there is no photo of that name"
    ]
    assert list(map(str, dataset.notes)) == [
        "label_colors.txt: classes that share a colour, cat, dog: in maps of colours it is cat"
    ]


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        ("300 0 0 cat\n", "the colour 300 0 0; channels go from 0 to 255"),
        ("# nothing\n", "names no class"),
    ],
)
def test_legends_that_make_no_sense_are_refused(tmp_path, legend, message):
    tiny.photo(tmp_path / "train" / "a.jpg", (12, 16))
    tiny.grey(tmp_path / "trainannot" / "a.png", np.zeros((12, 16, 3)))
    tiny.text(tmp_path / "label_colors.txt", legend)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path), "train")


@pytest.mark.parametrize("has_objects", [False, True])
def test_cityscapes_with_classes_of_its_own(tmp_path, has_objects):
    """As Datumaro writes it, in old versions with numbers of objects; the photos lie in any folder."""
    hw = (12, 16)
    cat, dog = (1001, 2001) if has_objects else (1, 2)
    for name in ("a", "x/b"):
        tiny.photo(tmp_path / f"leftImg8bit/train/{name}_leftImg8bit.png", hw)
        ids = tiny.labels((tiny.CAT, cat), (tiny.DOG, dog), hw=hw)
        tiny.grey(tmp_path / f"gtFine/train/{name}_gtFine_instanceIds.png", ids, np.uint16)
    tiny.text(tmp_path / "label_colors.txt", " background\n cat\n dog\n")
    dataset = open_dataset(str(tmp_path), "train")
    assert [(row.name, row.is_thing) for row in dataset.categories.values()] == [
        ("cat", has_objects), ("dog", has_objects),
    ]  # fmt: skip
    for objects in read_masks(dataset).values():
        assert [name for name, _ in objects] == ["cat", "dog"]
        assert np.array_equal(objects[1][1], tiny.DOG)
    assert not any(record.is_group for record in dataset.objects[1])


def test_open_images_as_datumaro_writes_it(tmp_path):
    """Parts of any name, classes by their names, ids with folders."""
    hw = (12, 16)
    folder = tmp_path / "annotations"
    for part, name in (("train", "a"), ("train", "x/b"), ("mine", "c")):
        tiny.photo(tmp_path / f"images/{part}/{name}.jpg", hw)
        mask = f"{name.replace('/', '')}_cat_0.png"
        tiny.grey(tmp_path / f"masks/{part}/{mask}", tiny.CAT)
        table = folder / f"{part}-annotations-object-segmentation.csv"
        rows = table.read_text() if table.exists() else "MaskPath,ImageID,LabelName\n"
        tiny.text(table, f"{rows}{mask},{name},cat\n")
    tiny.text(folder / "class-descriptions.csv", "cat,cat\ndog,dog\n")
    assert list_splits(str(tmp_path)) == ("train", "mine")
    dataset = open_dataset(str(tmp_path), "all")
    assert {stem: [name for name, _ in objects] for stem, objects in read_masks(dataset).items()} == {
        "a": ["cat"], "b": ["cat"], "c": ["cat"],
    }  # fmt: skip


def test_camvid_unknown_colour_is_named(tmp_path):
    tiny.photo(tmp_path / "train" / "a.png", (12, 16))
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[2:4, 3:9] = (9, 8, 7)
    (tmp_path / "trainannot").mkdir()
    tiny.Image.fromarray(mask).save(tmp_path / "trainannot" / "a.png")
    tiny.text(tmp_path / "label_colors.txt", "128 0 0 crack\n")
    report = inspect_dataset(open_dataset(str(tmp_path), "train", tolerant=True))
    assert [str(flaw) for flaw in report.flaws] == [
        "a.png: unknown category, label_colors.txt does not name the colour 9,8,7"
    ]


def test_a_bad_ring_costs_itself_and_not_its_object(tmp_path):
    part = {"label": "cat", "group_id": 1, "shape_type": "polygon"}
    square = {**part, "points": [[2, 2], [6, 2], [6, 8], [2, 8]]}
    scrap = {**part, "points": [[9, 2], [9, 3]]}
    tiny.photo(tmp_path / "a.png", (12, 16))
    tiny.text(tmp_path / "a.json", {"shapes": [square, scrap], "imagePath": "a.png"})
    dataset = open_dataset(str(tmp_path), "train")
    report = inspect_dataset(dataset)
    assert report.ok
    assert [str(note) for note in report.notes if "ring" in note.kind.value] == [
        "a.json, shape 1: ring left out, 1, of fewer than three corners or with one that is no number"
    ]
    assert [record.area for record in dataset.objects[1]] == [24]


# --- Files as people leave them ---------------------------------------------------------------------------------------


SQUARE = {"label": "cat", "points": [[2, 2], [6, 2], [6, 8], [2, 8]], "shape_type": "polygon"}


def one_labelme_file(folder, *shapes, file="a.json"):
    tiny.photo(folder / "a.png", (12, 16))
    tiny.text(folder / file, {"shapes": shapes, "imagePath": "a.png"})
    return open_dataset(str(folder), "train", tolerant=True)


def test_labelme_shapes_of_its_successors_and_bad_ones(tmp_path):
    rotated = {**SQUARE, "label": " cat ", "shape_type": "rotation", "direction": 0.3}
    point = {**SQUARE, "shape_type": "rectangle", "points": [[2, 2]]}
    dataset = one_labelme_file(tmp_path, SQUARE, rotated, point, file="a.JSON")
    assert [category.name for category in dataset.categories.values()] == ["cat"]
    parsed = dataset.parse_objects(dataset.images[0])
    assert [record.area for record in parsed.objects] == [24, 24]
    assert [flaw.what for flaw in parsed.flaws] == ["it has 1 point(s); it needs two"]


CVAT_POLYGON = '<polygon label="cat" points="2,2;6,2;6,8;2,8"/>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_cvat_tracks_beside_images_are_counted(tmp_path, encoding):
    tiny.photo(tmp_path / "a.png", (12, 16))
    xml = (
        f'<?xml version="1.0" encoding="{encoding}"?><annotations>'
        f'<image name="a.png" width="16" height="12">{CVAT_POLYGON}</image>'
        f'<track label="cat">{CVAT_POLYGON}</track></annotations>'
    )
    (tmp_path / "annotations.xml").write_bytes(xml.encode(encoding))
    dataset = open_dataset(str(tmp_path), "train")
    assert len(dataset.objects[1]) == 1
    assert notes_of(dataset) == ["tracks of videos: 1"]


def test_via_files_beside_each_other_are_read_together(tmp_path):
    shape = {"name": "polygon", "all_points_x": [2, 6, 6], "all_points_y": [2, 2, 8]}
    region = {"shape_attributes": shape, "region_attributes": {"class": {"cat": True, "dog": True}}}
    for name in ("a", "b"):
        tiny.photo(tmp_path / f"{name}.png", (12, 16))
        tiny.text(
            tmp_path / f"{name}.json", {name: {"filename": f"{name}.png", "regions": [region]}}
        )
    project = {"a": {"filename": "a.png", "regions": [region]}}
    tiny.text(tmp_path / "project.json", {"_via_img_metadata": project})
    dataset = open_dataset(str(tmp_path), "train")
    assert [len(dataset.objects[image.id]) for image in dataset.images] == [1, 1]
    assert notes_of(dataset) == [
        "regions that two files hold: 1; further ticked classes of one region: 2"
    ]
