"""Annotations lie on their objects, however the camera was held and whichever format they are in."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import seem
from seem.data.frames import AnnotationFrame, ImageHeader, undo_array_orientation
from seem.data.inspection import inspect_dataset
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.readers.shards import write_shards
from seem.data.records import DataError, FlawKind
from seem.images import EXIF_ORIENTATION, apply_orientation, exif_orientation, undo_orientation
from seem.results import Labels, Provenance, Results
from seem.vocabulary import Vocabulary

RED = (220, 30, 30)
RING = [2, 1, 9, 1, 9, 4, 5, 4, 5, 8, 2, 8]  # an L, which no turn leaves as it is
SIZES = [(12, 16), (14, 14)]
ORIENTATIONS = range(1, 9)
QUARTER_TURNS = range(5, 9)


def mask_of(hw):
    mask = np.zeros(hw, bool)
    mask[1:4, 2:9] = True
    mask[4:8, 2:5] = True
    return mask


def exif_of(orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


def write_photo(path, hw, orientation):
    """Write a photo that shows a red L; returns its height and width as stored."""
    pixels = np.random.default_rng(0).integers(90, 120, (*hw, 3)).astype(np.uint8)
    pixels[mask_of(hw)] = RED
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = apply_orientation(Image.fromarray(pixels), orientation)
    format = "PNG" if path.suffix == ".jpg" else None  # so that pixels are exact
    stored.save(path, format, exif=exif_of(orientation))
    return stored.height, stored.width


def write_map(path, values, orientation=1, own_exif=1):
    """Write a mask file: turned as a photo of this orientation is, with an orientation of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = apply_orientation(Image.fromarray(values.astype(np.uint8)), orientation)
    if own_exif == 1:
        picture.save(path)
    else:
        picture.save(path, exif=exif_of(own_exif))


def write_yolo(home, hw):
    labels = home / "labels" / "train"
    labels.mkdir(parents=True)
    shares = np.array(RING).reshape(-1, 2) / (hw[1], hw[0])
    (labels / "a.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in shares.ravel()))
    (home / "data.yaml").write_text("train: images/train\nnames: [cat]\n")
    return home / "images" / "train" / "a.png"


def write_coco(home, hw, ring=None, **changes):
    home.mkdir(parents=True, exist_ok=True)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [ring or RING]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": hw[0], "width": hw[1]}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "cat"}],
        **changes,
    }
    (home / "annotations.json").write_text(json.dumps(content))
    return home / "images" / "a.png"


def write_panoptic(home, hw):
    values = np.zeros((*hw, 3))
    values[mask_of(hw), 1] = 2
    write_map(home / "annotations" / "panoptic_train" / "a.png", values)
    segments = [{"id": 512, "category_id": 1, "iscrowd": 0}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": hw[0], "width": hw[1]}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}],
    }
    (home / "annotations" / "panoptic_train.json").write_text(json.dumps(content))
    return home / "train" / "a.png"


def write_folder(home, hw):
    write_map(home / "masks" / "a.png", mask_of(hw) * 255)
    return home / "images" / "a.png"


def write_object_files(home, hw):
    write_map(home / "masks" / "a" / "cat_1.png", mask_of(hw) * 255)
    return home / "images" / "a.png"


def write_voc(home, hw):
    write_map(home / "SegmentationClass" / "a.png", mask_of(hw) * 8)
    write_map(home / "SegmentationObject" / "a.png", mask_of(hw) * 1)
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    return home / "JPEGImages" / "a.jpg"


def write_labelme(home, hw):
    home.mkdir(parents=True)
    points = np.array(RING).reshape(-1, 2).tolist()
    shape = {"label": "cat", "points": points, "shape_type": "polygon"}
    content = {"shapes": [shape], "imagePath": "a.png", "imageHeight": hw[0], "imageWidth": hw[1]}
    (home / "a.json").write_text(json.dumps({"version": "5.5.0", "flags": {}, **content}))
    return home / "a.png"


WRITERS = {
    "yolo": write_yolo,
    "coco": write_coco,
    "panoptic": write_panoptic,
    "folder": write_folder,
    "files of objects": write_object_files,
    "voc": write_voc,
    "labelme": write_labelme,
}


def assert_on_object(dataset, orientation=1, frame=AnnotationFrame.SHOWN):
    """Check that the one mask of a data set is the L that its pixels show, in the expected frame."""
    (image,) = dataset.images
    mask = dataset.objects[image.id][0].mask()
    pixels = dataset.pixels(image).astype(int)
    is_red = (pixels[..., 0] > 170) & (pixels[..., 1] < 70)
    assert np.array_equal(mask, is_red)
    shown = undo_array_orientation(mask, orientation if frame is AnnotationFrame.STORED else 1)
    assert np.array_equal(shown, mask_of(shown.shape))


# --- The rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turns_of_arrays_and_pictures_agree_and_are_undone(orientation):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    turned = undo_orientation(Image.fromarray(values), orientation)
    assert np.array_equal(turned, undo_array_orientation(values, orientation))
    assert np.array_equal(apply_orientation(turned, orientation), values)


def test_a_size_tells_quarter_turns_and_nothing_else():
    quarter, half = ImageHeader((30, 40), 6), ImageHeader((30, 40), 3)
    assert quarter.hw(AnnotationFrame.SHOWN) == (40, 30)
    assert quarter.frame_of((40, 30), AnnotationFrame.STORED) is AnnotationFrame.SHOWN
    assert quarter.frame_of((30, 40), AnnotationFrame.SHOWN) is AnnotationFrame.STORED
    for hw in (None, (30, 40), (1, 2)):
        assert half.frame_of(hw, AnnotationFrame.SHOWN) is AnnotationFrame.SHOWN
        assert half.frame_of(hw, AnnotationFrame.STORED) is AnnotationFrame.STORED


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_headers_give_the_stored_size(tmp_path, orientation, suffix):
    file = tmp_path / f"a.{suffix}"
    stored_hw = write_photo(file, (12, 16), orientation)
    with Image.open(file) as opened:
        assert ImageHeader.of(opened) == ImageHeader(stored_hw, orientation)


def test_the_orientation_of_a_png_is_read_without_decoding_it(tmp_path, monkeypatch):
    write_photo(tmp_path / "early.png", (12, 16), 6)
    content = (tmp_path / "early.png").read_bytes()
    chunk = content[content.index(b"eXIf") - 4 : content.index(b"IDAT") - 4]
    end = content.index(b"IEND") - 4
    late = content.replace(chunk, b"")
    end -= len(chunk)
    (tmp_path / "late.png").write_bytes(late[:end] + chunk + late[end:])
    (tmp_path / "none.png").write_bytes(late)
    loads = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: (loads.append(1), load(self))[1])
    for name, orientation, decodes in (("early", 6, False), ("none", 1, False), ("late", 6, True)):
        loads.clear()
        with Image.open(tmp_path / f"{name}.png") as opened:
            assert exif_orientation(opened) == orientation
        assert bool(loads) == decodes, name


# --- Every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("hw", SIZES)
def test_annotations_lie_on_the_photo_as_shown(tmp_path, hw, orientation, format):
    photo = WRITERS[format](tmp_path / "set", hw)
    write_photo(photo, hw, orientation)
    dataset = open_dataset(f"{tmp_path / 'set'}", "train")
    assert_on_object(dataset)
    report = inspect_dataset(dataset)
    assert report.ok
    rotations = [note for note in report.notes if note.kind is FlawKind.EXIF_ROTATION]
    assert bool(rotations) == (orientation > 1)


@pytest.mark.parametrize("format", ["coco", "panoptic", "folder", "files of objects", "voc"])
@pytest.mark.parametrize("orientation", QUARTER_TURNS)
def test_a_recorded_size_tells_that_annotations_lie_on_the_photo_as_stored(
    tmp_path, orientation, format
):
    """Here the L is drawn on the pixels as they are stored, so that they are not turned."""
    home, hw = tmp_path / "set", (12, 16)
    photo = WRITERS[format](home, hw)
    write_photo(photo, hw, 1)
    with Image.open(photo) as opened:
        opened.save(photo, "PNG", exif=exif_of(orientation))
    dataset = open_dataset(f"{home}", "train")
    (image,) = dataset.images
    assert image.hw == hw
    assert_on_object(dataset)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("folder", ["masks", "masks/a"])
def test_masks_with_an_orientation_of_their_own_are_turned_by_it(tmp_path, folder, hw, orientation):
    write_photo(tmp_path / "images" / "a.png", hw, orientation)
    name = "cat_1.png" if folder == "masks/a" else "a.png"
    write_map(tmp_path / folder / name, mask_of(hw) * 255, orientation, orientation)
    assert_on_object(open_dataset(f"{tmp_path}", "train"))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("hw", SIZES)
def test_shards_keep_the_frame(tmp_path, hw, orientation):
    write_photo(write_yolo(tmp_path / "set", hw), hw, orientation)
    dataset = open_dataset(f"{tmp_path / 'set'}", "train")
    write_shards(dataset, tmp_path / "shards")
    assert_on_object(open_dataset(f"shards:{tmp_path / 'shards'}", "train"))


# --- The option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["yolo", "coco", "folder", "labelme"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("hw", SIZES)
def test_the_specification_says_that_orientations_are_to_be_ignored(
    tmp_path, hw, orientation, format
):
    home = tmp_path / "set"
    photo = WRITERS[format](home, hw)
    write_photo(photo, hw, 1)
    with Image.open(photo) as opened:
        opened.save(photo, "PNG", exif=exif_of(orientation))
    dataset = open_dataset(f"{home},frame=stored", "train")
    assert_on_object(dataset)
    write_shards(dataset, tmp_path / "shards")
    assert_on_object(open_dataset(f"{tmp_path / 'shards'}", "train"))


@pytest.mark.parametrize("orientation", QUARTER_TURNS)
def test_a_size_that_contradicts_the_annotations_is_overruled(tmp_path, orientation):
    """Coordinates on the photo as shown beside the size as stored, as careless converters write them."""
    photo = tmp_path / "images" / "a.png"
    stored_hw = write_photo(photo, (12, 16), orientation)
    write_coco(tmp_path, stored_hw)
    assert_on_object(open_dataset(f"coco:{tmp_path},frame=shown", "train"))


def test_specifications_with_a_frame():
    spec = DatasetSpec.parse("yolo:/data/x,frame=stored*2")
    assert (spec.kind, spec.path.as_posix(), spec.frame, spec.weight) == (
        "yolo",
        "/data/x",
        AnnotationFrame.STORED,
        2.0,
    )
    assert DatasetSpec.parse("/data/a,b").frame is None
    with pytest.raises(DataError, match=r"frame of .* is 'upright'; write frame=shown"):
        DatasetSpec.parse("/data/x,frame=upright")


# --- Evidence ---------------------------------------------------------------------------------------------------------


def evidence(dataset):
    notes = [
        note for note in inspect_dataset(dataset).notes if "of the turned photos" in note.where
    ]
    assert len(notes) <= 1
    return notes[0].what if notes else ""


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_a_check_says_which_frame_the_outlines_fit(tmp_path, orientation):
    hw = (12, 16)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    write_photo(write_yolo(right, hw), hw, orientation)
    photo = write_yolo(wrong, hw)
    write_photo(photo, hw, 1)
    with Image.open(photo) as opened:
        opened.save(photo, "PNG", exif=exif_of(orientation))
    assert evidence(open_dataset(f"{right}", "train")).endswith("they fit as shown, as read")
    what = evidence(open_dataset(f"{wrong}", "train"))
    assert "drawn on the photo as stored and are read as shown" in what
    assert what.endswith(f"write {wrong},frame=stored")
    assert evidence(open_dataset(f"{wrong},frame=stored", "train")).endswith(
        "they fit as stored, as read"
    )
    write_photo(photo, hw, 1)
    assert evidence(open_dataset(f"{wrong}", "train")) == ""  # nothing is turned


# --- What Seem writes -------------------------------------------------------------------------------------------------

FORMATS = ["coco", "coco-polygons", "coco-panoptic", "yolo", "labelme", "cvat"]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("hw", SIZES)
def test_what_is_written_is_read_back(tmp_path, hw, orientation):
    photos = tmp_path / "photos"
    write_photo(photos / "a.png", hw, orientation)
    results = Results.of(
        np.zeros((*hw, 3), np.uint8),
        mask_of(hw)[None],
        (0.9,),
        vocabulary=Vocabulary.of(["cat"]),
        kind="object",
        provenance=Provenance("find", "nano", image_name="a.png", orientation=orientation),
        labels=Labels(("cat",), (0.5,)),
    )
    seem.save_dataset([results], tmp_path / "out", FORMATS, photos=photos, copy_photos=True)
    for format in FORMATS:
        home = tmp_path / "out" / format
        assert_on_object(open_dataset(os.fspath(home), list_splits(os.fspath(home))[0]))
    write_photo(tmp_path / "set" / "images" / "a.png", hw, orientation)
    results.save(tmp_path / "set" / "masks")
    (tmp_path / "set" / "masks" / "a.overlay.png").unlink()
    assert_on_object(open_dataset(f"folder:{tmp_path / 'set'}", "train"))
    record = tmp_path / "set" / "masks" / "a.json"
    assert_on_object(open_dataset(f"coco:{record}", "train"))
