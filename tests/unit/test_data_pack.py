"""The pack's reader and the bank of training photos, on a set small enough to see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from seem.data.image_bank import ImageBank
from seem.data.object_selection import promptable_objects, validation_objects
from seem.data.pack import Pack, PackError


def rectangle(hw, x0, y0, x1, y1):
    mask = np.zeros(hw, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def annotation(number, image, category, mask, **more):
    code = rle.encode(np.asfortranarray(mask))
    x, y, w, h = rle.toBbox(code).tolist()
    code["counts"] = code["counts"].decode()
    row = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": code,
        "bbox": [x, y, w, h],
        "area": int(mask.sum()),
        "iscrowd": 0,
    }
    return row | more


def write_set(root: Path, name: str = "coco_full", **labelled) -> Path:
    """Two training photos (20 x 30 and 40 x 60) and one for validation, each with a left and a right square."""
    folder = root / name
    (folder / "images").mkdir(parents=True)
    sizes = {1: (20, 30), 2: (40, 60), 3: (40, 60)}
    images, annotations = [], []
    for number, (height, width) in sizes.items():
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, : width // 2] = (200, 10, 10)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        split = "val" if number == 3 else "train"
        images.append(
            {
                "id": number,
                "file_name": f"images/{number}.png",
                "height": height,
                "width": width,
                "split": split,
            }
            | {"labelled": "instances", "captions": ["Two squares."]}
            | labelled
        )
        k = 10 * number
        left, right = (
            rectangle((height, width), 2, 2, 8, 8),
            rectangle((height, width), 20, 10, 28, 18),
        )
        annotations += [
            annotation(
                k, number, 1, left, phrases=["the square on the left"], phrase_source="template"
            ),
            annotation(
                k + 1,
                number,
                1,
                right,
                phrases=["the square on the right"],
                phrase_source="template",
            ),
            annotation(k + 2, number, 2, rectangle((height, width), 0, 15, 12, 20)),
            annotation(k + 3, number, 1, rectangle((height, width), 12, 0, 18, 6), iscrowd=1),
        ]
    categories = [
        {"id": 1, "name": "square", "isthing": 1},
        {"id": 2, "name": "grass-merged", "isthing": 0, "text": "grass"},
        {"id": 3, "name": "kite", "isthing": 1},
        {"id": 4, "name": "object", "isthing": 1},
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_records_hold_what_the_file_says(tmp_path):
    pack = Pack.open(write_set(tmp_path), "train")
    assert [image.id for image in pack] == [1, 2]
    image = pack.images[0]
    assert (image.hw, image.labelled, image.source, image.captions) == (
        (20, 30),
        "instances",
        "coco_full",
        ("Two squares.",),
    )
    left, _, grass, crowd = pack.objects[1]
    assert (left.category.text, left.box, left.area, left.phrases) == (
        "square",
        (2, 2, 8, 8),
        36,
        ("the square on the left",),
    )
    assert np.array_equal(left.mask(), rectangle((20, 30), 2, 2, 8, 8).astype(bool))
    assert (grass.category.text, grass.category.is_thing) == ("grass", False)
    assert crowd.is_group
    assert pack.categories[4].text == ""
    assert pack.pixels(image)[0, 0].tolist() == [200, 10, 10]


@pytest.mark.parametrize(
    ("labelled", "expected"),
    [
        ("panoptic", {"square", "grass", "kite"}),
        ("semantic", {"square", "grass", "kite"}),
        ("instances", {"square", "kite"}),
        ("person-only", {"person"}),
        ("instances-partial", set()),
        ("one salient object or group", set()),
    ],
)
def test_complete_names_follow_what_is_labelled(tmp_path, labelled, expected):
    pack = Pack.open(write_set(tmp_path, labelled=labelled), "train")
    assert pack.complete_names(pack.images[0]) == expected


def test_a_mixed_set_is_complete_only_for_the_classes_of_the_image_s_source(tmp_path):
    pack = Pack.open(write_set(tmp_path, source_set="garden"), "train")
    assert pack.complete_names(pack.images[0]) == {"square", "grass"}


def test_validation_objects_leave_out_stuff_crowds_and_specks(tmp_path):
    pack = Pack.open(write_set(tmp_path), "val")
    assert [entry.truth.id for entry in validation_objects(pack)] == [30, 31]
    assert [entry.truth.id for entry in validation_objects(pack, min_area=0.02)] == [31]
    assert [entry.truth.id for entry in validation_objects(pack, things_only=False)] == [30, 31, 32]


def test_panoptic_map_comes_with_its_segments(tmp_path):
    folder = write_set(tmp_path, panoptic_file="panoptic/1.png")
    (folder / "panoptic").mkdir()
    ids = np.zeros((20, 30, 3), np.uint8)
    ids[:10, :, 0], ids[:10, :, 1] = 7, 1  # 7 + 256
    Image.fromarray(ids).save(folder / "panoptic" / "1.png")
    segment = {"id": 263, "category_id": 2, "area": 300, "iscrowd": 0}
    rows = [{"image_id": 1, "segments_info": [segment]}]
    (folder / "panoptic.json").write_text(json.dumps({"annotations": rows}))
    pack = Pack.open(folder, "train")
    truth = pack.panoptic(pack.images[0])
    assert truth is not None
    assert np.unique(truth.ids).tolist() == [0, 263]
    assert truth.segments[0].category.text == "grass"


def break_nothing(folder):
    return folder.parent / "elsewhere"


def remove_images(folder):
    (folder / "images").rename(folder / "photos")
    return folder


def remove_annotations(folder):
    (folder / "annotations.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_nothing, "is no folder"),
        (remove_images, "no images/"),
        (remove_annotations, "no annotations.json"),
    ],
)
def test_a_wrong_layout_is_explained_in_one_line(tmp_path, damage, words):
    folder = damage(write_set(tmp_path))
    with pytest.raises(PackError, match=words) as caught:
        Pack.open(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("{}", "no images, annotations, categories"),
        ('{"images": [{"id": 1}]', "not valid"),
        ('{"images": ["a"], "annotations": [], "categories": []}', "row 0 of images is 'a'"),
        ('{"images": [{"id": []}], "annotations": [], "categories": []}', "id is no whole number"),
        (
            '{"images": [{"id": 3, "split": 0}], "annotations": [], "categories": []}',
            "split of image 3 is 0, no text",
        ),
        (
            '{"images": [{"id": 3, "file_name": 1.5}], "annotations": [], "categories": []}',
            "file_name of image 3 is 1.5",
        ),
    ],
)
def test_a_damaged_annotation_file_is_explained(tmp_path, text, words):
    folder = write_set(tmp_path)
    (folder / "annotations.json").write_text(text)
    with pytest.raises(PackError, match=words):
        _ = Pack.open(folder).images


def test_an_image_row_without_a_height_is_explained(tmp_path):
    folder = write_set(tmp_path)
    document = json.loads((folder / "annotations.json").read_text())
    del document["images"][0]["height"]
    (folder / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(PackError, match="an image has no 'height'"):
        _ = Pack.open(folder).images


def test_a_category_without_a_name_is_explained(tmp_path):
    folder = write_set(tmp_path)
    document = json.loads((folder / "annotations.json").read_text())
    del document["categories"][0]["name"]
    (folder / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(PackError, match="a category has no 'name'"):
        _ = Pack.open(folder).categories


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(PackError, match="has no split 'test'; use one of train, val, all"):
        Pack.open(write_set(tmp_path), "test")


@pytest.mark.parametrize("damage", ["missing", "other size", "no photo"])
def test_a_bad_image_is_named(tmp_path, damage):
    folder = write_set(tmp_path)
    image = folder / "images" / "2.png"
    if damage == "missing":
        image.unlink()
    elif damage == "other size":
        Image.new("RGB", (7, 5)).save(image)
    else:
        image.write_bytes(b"no photo")
    pack = Pack.open(folder)
    with pytest.raises(PackError, match=r"2\.png"):
        pack.pixels(pack.images[1])
    with pytest.raises(PackError, match=r"2\.png"):
        ImageBank.load(tmp_path)


def test_research_sets_and_unlicensed_images_are_not_trainable(tmp_path):
    for name in ("camvid", "carparts", "bsds500", "duts"):
        write_set(tmp_path, name)
    write_set(tmp_path, "open_mix", license_group="C")
    sets = Pack.trainable(tmp_path)
    assert [entry.name for entry in sets] == ["duts", "open_mix"]
    duts, mix = ((entry, Pack.open(entry.path, "all")) for entry in sets)
    assert [duts[0].admits(image) for image in duts[1]] == [True, True, False]
    assert not any(mix[0].admits(image) for image in mix[1])
    with pytest.raises(PackError, match="camvid"):
        ImageBank.load(tmp_path, sets=["camvid"])


def test_a_folder_without_sets_is_refused(tmp_path):
    with pytest.raises(PackError, match="none of the sets"):
        Pack.trainable(tmp_path)


def test_bank_shrinks_images_and_masks_together(tmp_path):
    write_set(tmp_path)
    bank = ImageBank.load(tmp_path, longest_side=30)
    small, halved = bank[0], bank[1]
    assert (small.image.shape, halved.image.shape) == ((20, 30, 3), (20, 30, 3))
    assert [entry.box for entry in small.objects[:2]] == [(2, 2, 8, 8), (20, 10, 28, 18)]
    assert [entry.box for entry in halved.objects[:2]] == [(1, 1, 4, 4), (10, 5, 14, 9)]
    assert halved.objects[0].area == 9
    assert [entry.record.is_crowd for entry in halved.ignored] == [True]


def test_a_bank_tells_what_it_was_made_of(tmp_path):
    folder = write_set(tmp_path)
    plain = ImageBank.load(tmp_path).fingerprint
    assert len(plain) == 64
    assert ImageBank.load(tmp_path, cache=tmp_path / "cache").fingerprint == plain
    assert ImageBank.load(tmp_path, longest_side=16).fingerprint != plain
    (folder / "annotations.json").write_text((folder / "annotations.json").read_text() + " ")
    assert ImageBank.load(tmp_path).fingerprint != plain


def test_cached_bank_equals_the_decoded_one_and_follows_its_source(tmp_path):
    folder = write_set(tmp_path)
    place = tmp_path / "bank.bin"
    plain = ImageBank.load(tmp_path, longest_side=30)
    for _ in range(2):  # written, then read
        cached = ImageBank.load(tmp_path, longest_side=30, cache=place)
        assert len(cached) == len(plain) == 2
        for a, b in zip(plain.images, cached.images, strict=True):
            assert a.record == b.record
            assert a.complete_names == b.complete_names
            assert np.array_equal(a.image, b.image)
            for one, two in zip(a.objects + a.ignored, b.objects + b.ignored, strict=True):
                assert (one.record, one.box, one.area) == (two.record, two.box, two.area)
                assert np.array_equal(one.soft_mask, two.soft_mask)
    before = place.read_bytes()
    place.write_bytes(before[:-8])  # cut short
    assert len(ImageBank.load(tmp_path, longest_side=30, cache=place)) == 2
    assert place.read_bytes() == before
    document = json.loads((folder / "annotations.json").read_text())
    document["annotations"] = document["annotations"][1:]
    (folder / "annotations.json").write_text(json.dumps(document))
    assert len(ImageBank.load(tmp_path, longest_side=30, cache=place)[0].objects) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.bin", "coco_full"]


@pytest.mark.parametrize(("things_only", "count"), [(True, 427), (False, 535)])
def test_coco_full_validation_has_the_agreed_objects(shared, things_only, count):
    assert (
        len(
            validation_objects(
                Pack.open(shared / "data" / "coco_full", "val"), things_only=things_only
            )
        )
        == count
    )


def test_trainable_images_of_the_real_pack_are_counted(shared):
    sets = {entry.name: entry for entry in Pack.trainable(shared / "data")}
    assert len(sets) == 8
    counts = {
        name: sum(sets[name].admits(image) for image in Pack.open(sets[name].path, "all"))
        for name in ("coco_full", "davis2016", "ccp", "open_mix")
    }
    assert counts == {
        "coco_full": 400,
        "davis2016": 389,
        "ccp": 808,
        "open_mix": 496,
    }


def test_panoptic_segments_equal_their_annotations(shared):
    pack = Pack.open(shared / "data" / "coco_full", "val")
    image = next(image for image in pack if image.panoptic_path is not None)
    truth = pack.panoptic(image)
    assert truth is not None
    assert len(pack.complete_names(image)) >= 130
    areas = {
        (segment.category.id, int((truth.ids == segment.id).sum())) for segment in truth.segments
    }
    assert areas == {(entry.category.id, entry.area) for entry in pack.objects[image.id]}


def test_regions_are_asked_for_where_a_set_knows_no_things(tmp_path):
    folder = write_set(tmp_path)
    file = folder / "annotations.json"
    document = json.loads(file.read_text())
    with_things = Pack.open(folder)
    assert all(
        r.category.is_thing
        for image in with_things
        for r in promptable_objects(with_things, image, 0.0)
    )
    for category in document["categories"]:
        category["isthing"] = 0
    file.write_text(json.dumps(document))
    without = Pack.open(folder)
    asked = [record for image in without for record in promptable_objects(without, image, 0.0)]
    assert asked == [r for image in without for r in without.objects[image.id] if not r.is_group]
    assert len(asked) > 0
