"""Every format as its authors lay it out, two small photos each: masks, classes and what is complete, exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tiny_data as tiny
from seem.data.layouts import LAYOUTS
from seem.data.object_selection import click_truth, validation_objects, video_frames
from seem.data.opening import open_dataset
from seem.data.records import DataError
from tiny_data import A_HW, CAT, DOG, HORSE, rectangle


def annotated_masks(dataset, index=0):
    """Return class, mask and whether it is a group of the objects of an image, sorted by class."""
    records = dataset.objects[dataset.images[index].id]
    return [
        (r.category.text, r.mask(), r.is_group)
        for r in sorted(records, key=lambda r: (r.category.text, r.id))
    ]


def assert_objects(dataset, expected, index=0):
    annotated = annotated_masks(dataset, index)
    assert [(text, group) for text, _, group in annotated] == [
        (text, group) for text, _, group in expected
    ]
    for (text, mask, _), (_, truth, _) in zip(annotated, expected, strict=True):
        assert np.array_equal(mask, truth), text
    for record in dataset.objects[dataset.images[index].id]:
        rows, columns = np.nonzero(record.mask())
        assert record.area == len(rows)
        assert record.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    image = dataset.images[index]
    assert dataset.pixels(image).shape == (*image.hw, 3)


PETS = [("cat", CAT, False), ("dog", DOG, False)]


def test_coco_of_2017(tmp_path):
    pets = open_dataset(str(tiny.coco(tmp_path)))
    assert (pets.name, pets.split, [image.id for image in pets.images]) == (
        tmp_path.name,
        "val",
        [7, 9],
    )
    assert_objects(pets, PETS)
    assert_objects(
        pets, [("cat", rectangle((10, 14), 13, 0, 14, 10), True), ("horse", HORSE, False)], 1
    )
    assert pets.images[0].captions == ("A cat and a dog.",)
    assert pets.complete_names(pets.images[0]) == {"cat", "dog", "horse"}
    assert pets.panoptic(pets.images[0]) is None
    assert pets.semantic(pets.images[0]) is None
    assert [record.id for record in pets.objects[7]] == [1, 2]


def test_coco_panoptic_adds_stuff_to_the_instances(tmp_path):
    pets = open_dataset(f"coco:{tiny.coco_panoptic(tmp_path)}", "val")
    grass = ~CAT & ~DOG
    grass[-1] = False
    assert_objects(pets, [*PETS, ("grass", grass, False)])
    image = pets.images[0]
    truth = pets.panoptic(image)
    assert [(s.id, s.category.id, s.area) for s in truth.segments] == [
        (5, 17, 35),
        (300, 18, 56),
        (70000, 193, 85),
    ]
    assert np.array_equal(truth.ids == 300, DOG)
    assert np.array_equal(pets.semantic(image) == 193, grass)
    assert np.array_equal(pets.void(image), rectangle(A_HW, 0, 11, 16, 12))
    assert (image.labelled, pets.images[1].labelled) == ("panoptic", "instances")
    assert "grass" in pets.complete_names(image)
    assert "grass" not in pets.complete_names(pets.images[1])


def test_coco_panoptic_alone_gives_all_segments(tmp_path):
    tiny.coco_panoptic(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").unlink()
    pets = open_dataset(f"coco:{tmp_path}")
    assert [text for text, _, _ in annotated_masks(pets)] == ["cat", "dog", "grass"]


@pytest.mark.parametrize("layout", ["bare", "one file", "beside", "service", "annotation tool"])
def test_coco_as_people_export_it(tmp_path, layout):
    document, spec, split = tiny.coco_document(), str(tmp_path), "all"
    if layout == "service":
        tiny.photos(tmp_path / "valid")
        tiny.text(tmp_path / "valid" / "_annotations.coco.json", document)
        tiny.photos(tmp_path / "train")
        tiny.text(tmp_path / "train" / "_annotations.coco.json", document)
        split = "val"
    elif layout == "beside":
        tiny.photos(tmp_path)
        tiny.text(tmp_path / "labels_of_my_pets.json", document)
    else:
        tiny.photos(tmp_path / "images")
        name = (
            "annotations/instances_default.json"
            if layout == "annotation tool"
            else "annotations.json"
        )
        file = tiny.text(tmp_path / name, document)
        spec = str(file) if layout == "one file" else spec
    pets = open_dataset(spec, split)
    assert_objects(pets, PETS)
    assert pets.split == ("valid" if layout == "service" else "all")


def test_coco_images_are_found_whatever_folder_their_rows_name(tmp_path):
    tiny.photos(tmp_path / "images")
    tiny.text(
        tmp_path / "annotations.json",
        tiny.coco_document(("somewhere/else/a.jpg", "somewhere/else/b.jpg")),
    )
    pets = open_dataset(f"coco:{tmp_path}")
    assert pets.pixels(pets.images[1]).shape == (10, 14, 3)


def test_lvis_knows_what_was_looked_for(tmp_path):
    pets = open_dataset(str(tiny.lvis(tmp_path)))
    assert_objects(pets, [("cat", CAT, False), ("hot dog", DOG, False)])
    assert pets.complete_names(pets.images[0]) == {
        "cat",
        "horse",
    }  # dogs not all marked, horses known to be absent


def test_refcoco(tmp_path):
    pets = open_dataset(str(tiny.refcoco(tmp_path)), "testA")
    assert_objects(pets, PETS)
    (expression,) = pets.expressions
    assert (expression.image_id, expression.object_id) == (7, 2)
    assert expression.sentences == ("dog on the right", "the dog")
    assert pets.objects[7][1].phrases == ("dog on the right", "the dog")
    assert [image.id for image in open_dataset(f"refcoco:{tmp_path}/refcoco", "train").images] == [
        9
    ]


def test_pascal_voc(tmp_path):
    pets = open_dataset(str(tiny.voc(tmp_path)))
    assert_objects(pets, PETS)
    assert_objects(pets, [("horse", HORSE, False)], 1)
    edge = rectangle(A_HW, 6, 2, 7, 9)
    assert np.array_equal(pets.void(pets.images[0]), edge)
    assert np.array_equal(pets.semantic(pets.images[0]), tiny.labels((CAT, 8), (DOG, 12), hw=A_HW))
    truth = click_truth(pets, validation_objects(pets)[0])
    assert np.array_equal(truth, tiny.labels((CAT, 1), (edge, -1), hw=A_HW))
    assert len(pets.complete_names(pets.images[0])) == 20


def test_pascal_voc_without_objects_has_groups(tmp_path):
    tiny.voc(tmp_path)
    for file in (tmp_path / "VOC2012" / "SegmentationObject").iterdir():
        file.unlink()
    assert_objects(open_dataset(f"voc:{tmp_path}"), [("cat", CAT, True), ("dog", DOG, True)])


def test_pascal_context(tmp_path):
    pets = open_dataset(str(tiny.context(tmp_path)))
    assert_objects(pets, [("cat", CAT, True), ("grass", ~CAT, False)])


def test_sbd(tmp_path):
    pets = open_dataset(str(tiny.sbd(tmp_path)))
    assert_objects(pets, PETS)
    assert_objects(pets, [("horse", HORSE, False)], 1)


def test_grabcut(tmp_path):
    clicks = open_dataset(str(tiny.grabcut(tmp_path)))
    items = validation_objects(clicks, min_area=0)
    edge = rectangle(A_HW, 6, 2, 7, 9)
    assert np.array_equal(click_truth(clicks, items[0]), tiny.labels((CAT, 1), (edge, -1), hw=A_HW))
    assert np.array_equal(click_truth(clicks, items[1]), HORSE)
    assert clicks.split == "all"


def test_berkeley_has_an_image_for_every_mask(tmp_path):
    clicks = open_dataset(str(tiny.berkeley(tmp_path)))
    assert [image.path.name for image in clicks.images] == ["a.jpg", "a.jpg", "b.jpg"]
    for item, mask in zip(validation_objects(clicks), (CAT, DOG, HORSE), strict=True):
        assert np.array_equal(item.truth.mask(), mask)


def test_davis_2017_has_tracks(tmp_path):
    video = open_dataset(f"davis2017:{tiny.davis(tmp_path)}")
    first, second = video_frames(video)["pets"]
    assert [record.track_id for record in video.objects[first.id]] == [1, 2]
    for record, mask in zip(video.objects[first.id], (CAT, DOG), strict=True):
        assert np.array_equal(record.mask(), mask)
    assert [record.track_id for record in video.objects[second.id]] == [1]
    assert np.array_equal(video.void(second), rectangle(A_HW, 0, 0, 2, 1))
    assert (first.frame, second.frame) == (0, 1)


def test_davis_2016_has_one_object_a_sequence(tmp_path):
    video = open_dataset(f"davis2016:{tiny.davis(tmp_path)}")
    (record,) = video.objects[video.images[0].id]
    assert np.array_equal(record.mask(), CAT | DOG)


def test_davis_2016_in_its_first_distribution(tmp_path):
    tiny.davis(tmp_path)
    for year in ("2016", "2017"):
        (tmp_path / "ImageSets" / year / "val.txt").unlink()
    lines = "".join(
        f"/JPEGImages/480p/pets/{k}.jpg /Annotations/480p/pets/{k}.png\n"
        for k in ("00000", "00001")
    )
    tiny.text(tmp_path / "ImageSets" / "480p" / "val.txt", lines)
    assert len(open_dataset(str(tmp_path)).images) == 2


def test_youtube_vos(tmp_path):
    video = open_dataset(str(tiny.youtube_vos(tmp_path)))
    assert video.split == "valid"
    assert_objects(video, [("cat", CAT, False), ("giant panda", DOG, False)])
    assert video.objects[video.images[1].id] == ()
    assert [image.labelled for image in video.images] == ["tracks", ""]


def test_ade20k_of_classes(tmp_path):
    rooms = open_dataset(str(tiny.ade20k(tmp_path)))
    wall = ~CAT
    wall[0] = False
    assert_objects(rooms, [("bed", CAT, True), ("wall", wall, False)])
    assert np.array_equal(rooms.void(rooms.images[0]), rectangle(A_HW, 0, 0, 16, 1))
    assert rooms.panoptic(rooms.images[0]) is None
    assert len(rooms.categories) == 150


def test_ade20k_with_objects_is_panoptic(tmp_path):
    folder, left, right = tiny.ade20k_objects(tmp_path)
    rooms = open_dataset(f"ade20k:{folder}")
    wall = ~CAT
    wall[0] = False
    assert_objects(rooms, [("bed", left, False), ("bed", right, False), ("wall", wall, False)])
    truth = rooms.panoptic(rooms.images[0])
    assert [segment.category.id for segment in truth.segments] == [1, 8, 8]
    assert np.array_equal(rooms.semantic(rooms.images[0]) == 8, CAT)


def test_ade20k_takes_a_prepared_panoptic_map(tmp_path):
    tiny.ade20k(tmp_path)
    ids = tiny.labels((~CAT, 40), (CAT, 41), hw=A_HW)
    tiny.grey(
        tmp_path / "ade20k_panoptic_val" / "ADE_val_00000001.png",
        np.stack([ids, ids * 0, ids * 0], -1),
    )
    segments = [
        {"id": 40, "category_id": 0, "iscrowd": 0},
        {"id": 41, "category_id": 7, "iscrowd": 0},
    ]
    row = {
        "image_id": "ADE_val_00000001",
        "file_name": "ADE_val_00000001.png",
        "segments_info": segments,
    }
    tiny.text(
        tmp_path / "ade20k_panoptic_val.json",
        {"images": [], "annotations": [row], "categories": []},
    )
    rooms = open_dataset(f"ade20k:{tmp_path}")
    assert_objects(rooms, [("bed", CAT, False), ("wall", ~CAT, False)])


def test_full_ade20k(tmp_path):
    folder, left, right = tiny.ade20k_full(tmp_path)
    rooms = open_dataset(str(folder))
    assert_objects(rooms, [("bed", left, False), ("bed", right, False), ("wall", ~CAT, False)])
    assert len(rooms.categories) == 847


def test_full_ade20k_as_prepared_for_detectron(tmp_path):
    tiny.photos(tmp_path / "images_detectron2" / "validation")
    for stem, mask in (("a", CAT), ("b", HORSE)):
        values = np.where(mask, 7, 65535)
        tiny.grey(
            tmp_path / "annotations_detectron2" / "validation" / f"{stem}.tif", values, np.uint16
        )
    assert_objects(open_dataset(str(tmp_path)), [("bed", CAT, True)])


def test_cityscapes(tmp_path):
    street = open_dataset(str(tiny.cityscapes(tmp_path)))
    border = rectangle(A_HW, 0, 11, 16, 12)
    people = rectangle(A_HW, 0, 0, 1, 2)
    road = ~CAT & ~DOG & ~border & ~people
    expected = [
        ("car", CAT, False),
        ("car", DOG, False),
        ("person", people, True),
        ("road", road, False),
    ]
    assert_objects(street, expected)
    assert np.array_equal(street.void(street.images[0]), border)
    assert np.array_equal(street.semantic(street.images[0]) == 26, CAT | DOG)
    assert_objects(street, [("car", HORSE, True)], 1)  # labelIds alone


def test_bdd100k_with_19_classes(tmp_path):
    street = open_dataset(f"bdd100k:{tiny.bdd(tmp_path)}")
    assert_objects(street, [("car", CAT, True)])
    assert_objects(street, [("road", ~HORSE, False), ("sky", HORSE, False)], 1)
    assert np.array_equal(street.void(street.images[0]), ~CAT)


def test_bdd100k_with_40_classes_and_objects(tmp_path):
    street = open_dataset(f"bdd100k_panoptic:{tiny.bdd(tmp_path)}")
    road = rectangle(A_HW, 0, 0, 16, 1)
    assert_objects(street, [("car", DOG, True), ("car", CAT, False), ("road", road, False)])
    assert {
        s.is_crowd for s in street.panoptic(street.images[0]).segments if s.category.text == "road"
    } == {False}


def test_sun_rgbd(tmp_path):
    rooms = open_dataset(str(tiny.sunrgbd(tmp_path)), "test")
    assert_objects(rooms, [("bed", CAT, True), ("wall", ~CAT, False)])
    assert_objects(rooms, [("ceiling", HORSE, False)], 1)


@pytest.mark.parametrize(
    ("count", "names"),
    [(20, ["chair", "chair", "wall"]), (40, ["chair", "chair", "dresser", "wall"])],
)
def test_scannet_brings_maps_to_the_image(tmp_path, count, names):
    rooms = open_dataset(f"scannet{count}:{tiny.scannet(tmp_path)}")
    annotated = annotated_masks(rooms)
    assert [text for text, _, _ in annotated] == names
    assert np.array_equal(annotated[0][1], np.kron(CAT, np.ones((2, 2), bool)))


def test_open_images(tmp_path):
    things = open_dataset(str(tiny.openimages(tmp_path)))
    assert_objects(things, [("cat", np.kron(CAT, np.ones((2, 2), bool)), False)])
    assert things.complete_names(things.images[0]) == frozenset()


def test_yolo(tmp_path):
    pets = open_dataset(str(tiny.yolo(tmp_path)))
    assert_objects(pets, [("cat", CAT, False)])
    assert pets.objects[pets.images[1].id] == ()
    assert {c.id: c.name for c in pets.categories.values()} == {1: "dog", 2: "cat"}
    assert pets.complete_names(pets.images[0]) == {"cat", "dog"}
    assert (
        pets.complete_names(pets.images[1]) == set()
    )  # it has no text file: nothing is known about it
    tiny.text(tmp_path / "labels" / "val" / "b.txt", "")
    pets = open_dataset(str(tmp_path))
    assert pets.complete_names(pets.images[1]) == {"cat", "dog"}


@pytest.mark.parametrize("entry", ["../val/images", "val/images", "[val/images]", "val.txt"])
def test_yolo_paths_as_exports_write_them(tmp_path, entry):
    tiny.photos(tmp_path / "val" / "images")
    tiny.text(tmp_path / "val.txt", "val/images/a.jpg\nval/images/b.jpg\n")
    tiny.text(tmp_path / "val" / "labels" / "a.txt", "0 0 0 0.5 0 0.5 1 0 1\n")
    tiny.text(tmp_path / "data.yaml", f"val: {entry}\nnames: [cat]\nnc: 1\n")
    pets = open_dataset(str(tmp_path))
    assert_objects(pets, [("cat", rectangle(A_HW, 0, 0, 8, 12), False)])


def test_folder_of_maps_of_objects(tmp_path):
    pets = open_dataset(str(tiny.folder_of_maps(tmp_path)))
    assert_objects(pets, [("", CAT, False), ("", DOG, False)])
    assert np.array_equal(pets.void(pets.images[0]), rectangle(A_HW, 0, 0, 1, 1))
    assert pets.objects[pets.images[1].id] == ()


def test_folder_of_maps_of_classes(tmp_path):
    tissue = open_dataset(str(tiny.folder_of_classes(tmp_path)))
    assert_objects(tissue, [("lesion", CAT, False), ("vessel", DOG, False)])
    assert not any(category.is_thing for category in tissue.categories.values())
    assert tissue.complete_names(tissue.images[0]) == {"lesion", "vessel"}
    assert tissue.complete_names(tissue.images[1]) == frozenset()  # it has no map


def test_folder_of_one_file_an_object(tmp_path):
    pets = open_dataset(str(tiny.folder_of_objects(tmp_path)))
    assert_objects(pets, PETS)
    assert_objects(pets, [("", HORSE, False)], 1)


@pytest.mark.parametrize("parts", ["train/images", "images/train"])
def test_folder_in_parts(tmp_path, parts):
    outer, inner = parts.split("/")
    other = inner.replace("images", "masks") if outer == "train" else "train"
    tiny.photos(tmp_path / outer / inner)
    mask_folder = tmp_path / outer / other if outer == "train" else tmp_path / "masks" / "train"
    tiny.grey(mask_folder / "a.png", tiny.labels((CAT, 255), hw=A_HW))
    assert_objects(open_dataset(str(tmp_path), "train"), [("", CAT, False)])


def test_pack(shared):
    pack = open_dataset(f"pack:{shared / 'data' / 'coco_full'}", "val")
    assert len(pack.expressions) == 86
    assert pack.flaws == ()
    image = next(image for image in pack.images if image.panoptic_path)
    assert pack.parse_objects(image).flaws == ()
    assert [(r.id, r.area, r.counts) for r in pack.parse_objects(image).objects] == [
        (r.id, r.area, r.counts) for r in pack.objects[image.id]
    ]


def test_every_format_has_a_word_of_its_own():
    kinds = [layout.kind for layout in LAYOUTS]
    assert len(set(kinds)) == len(kinds)


def test_class_lists_are_complete():
    from seem.data.classes import CLASS_LISTS, class_list

    sizes = {
        name: (len(class_list(name)), sum(c.is_thing for c in class_list(name)))
        for name in CLASS_LISTS
    }
    assert sizes["pascal_voc"] == (20, 20)
    assert sizes["pascal_context"][0] == 59
    assert sizes["cityscapes"] == sizes["bdd100k"] == (19, 8)
    assert sizes["bdd100k_panoptic"] == (40, 10)
    assert (sizes["sunrgbd"][0], sizes["scannet40"][0]) == (37, 40)
    assert sizes["scannet20"] == (20, 18)
    assert sizes["ade20k"] == (150, 100)
    assert sizes["ade20k_full"][0] == 847
    assert sizes["coco"] == (133, 80)
    for name in CLASS_LISTS:
        texts = [category.text for category in class_list(name)]
        assert len(set(texts)) == len(texts), name


def test_image_ids_that_are_no_numbers_become_positions(tmp_path):
    tiny.photos(tmp_path / "images")
    document = json.loads(
        json.dumps(tiny.coco_document())
        .replace('"id": 7', '"id": "x"')
        .replace('_id": 7', '_id": "x"')
    )
    tiny.text(tmp_path / "annotations.json", document)
    pets = open_dataset(f"coco:{tmp_path}")
    assert [image.id for image in pets.images] == [1, 2]
    assert_objects(pets, PETS)


def test_names_that_lead_out_of_the_set_are_refused(tmp_path):
    root = tiny.voc(tmp_path / "voc")
    for file in root.rglob("ImageSets/Segmentation/*.txt"):
        file.write_text("../../secret\n")
    with pytest.raises(DataError, match=r"names \.\./\.\./secret, which leads out of the folder"):
        open_dataset(str(root), "val")
    root = tiny.ade20k(tmp_path / "ade")
    rows = {"images": [], "categories": [], "annotations": []}
    for file in (root / "annotations/validation").iterdir():
        name = f"../../{file.name}"
        rows["annotations"].append({"file_name": name, "segments_info": [], "image_id": 1})
    tiny.text(root / "ade20k_panoptic_val.json", json.dumps(rows).replace(".tif", ".png"))
    dataset = open_dataset(str(root), "val", tolerant=True)
    flaws = dataset.parse_objects(dataset.images[0]).flaws
    assert "leads out of" in str(flaws[0])
