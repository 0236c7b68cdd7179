"""Annotations as files: the masks that went in come out of COCO's own tool and of this package's readers."""

import io
import json
import zipfile

import numpy as np
import pytest
from pycocotools.coco import COCO

from seem.coco_format import to_rle
from seem.server.settings import Limits
from server import decode, image_file, problem_of, running, upload
from tiny import tiny_model

HEIGHT, WIDTH = 40, 48
FIRST = np.zeros((HEIGHT, WIDTH), dtype=bool)
FIRST[3:20, 4:30] = True
FIRST[8:12, 10:15] = False  # a hole
SECOND = np.zeros((HEIGHT, WIDTH), dtype=bool)
SECOND[25:39, 20:47] = True
OBJECTS = [
    {"mask": to_rle(FIRST), "label": "Cat", "score": 0.75},
    {"mask": to_rle(SECOND), "label": "dog"},
]


@pytest.fixture(scope="module")
def client():
    with running(tiny_model("nano"), Limits(image_pixels=10_000)) as client:
        yield client


def image_with(objects=OBJECTS, name="a.jpg", **fields):
    return {"name": name, "width": WIDTH, "height": HEIGHT, "objects": objects, **fields}


def export(client, *images, **fields):
    return client.post("/v1/export", json={"images": list(images), **fields})


def files_in(response) -> dict[str, bytes]:
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_coco_has_the_masks_labels_and_scores(client, tmp_path):
    response = export(client, image_with(), image_with(OBJECTS[:1], "b.jpg"))
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-disposition"] == 'attachment; filename="coco.json"'
    path = tmp_path / "coco.json"
    path.write_bytes(response.content)
    coco = COCO(str(path))
    names = {row["id"]: row["name"] for row in coco.loadCats(coco.getCatIds())}
    found = [
        (coco.imgs[row["image_id"]]["file_name"], names[row["category_id"]], row["score"])
        for row in coco.loadAnns(coco.getAnnIds())
    ]
    assert found == [("a.jpg", "Cat", 0.75), ("a.jpg", "dog", 1.0), ("b.jpg", "Cat", 0.75)]
    rows = coco.loadAnns(coco.getAnnIds())
    for row, mask in zip(rows, (FIRST, SECOND, FIRST), strict=True):
        assert (decode(row["segmentation"]) == mask).all()


def test_polygons_give_the_same_masks(client):
    content = export(client, image_with(), format="coco-polygons").json()
    assert isinstance(content["annotations"][0]["segmentation"], list)


def test_classes_keep_the_order_that_is_given(client):
    response = export(client, image_with(), classes={"names": ["dog", "cat", "bird"]})
    content = response.json()
    assert [row["name"] for row in content["categories"]] == ["dog", "cat", "bird"]
    assert [row["category_id"] for row in content["annotations"]] == [2, 1]


def test_spellings_of_a_label_are_one_class(client):
    objects = [OBJECTS[0], {**OBJECTS[1], "label": "CAT"}]
    content = export(client, image_with(objects)).json()
    assert [row["name"] for row in content["categories"]] == ["Cat"]
    assert [row["category_id"] for row in content["annotations"]] == [1, 1]


def test_an_object_without_a_label_is_exported(client):
    content = export(client, image_with([{"mask": to_rle(FIRST)}])).json()
    (row,) = content["annotations"]
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names[row["category_id"]] == "unlabelled"


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("coco-panoptic", {"annotations/panoptic_all.json", "annotations/panoptic_all/a.png"}),
        ("yolo", {"data.yaml", "images/a.png", "labels/a.txt"}),
        ("labelme", {"a.json"}),
        ("cvat", {"annotations.xml"}),
        ("label-studio", {"tasks.json", "label_config.xml"}),
        ("geojson", {"a.geojson"}),
    ],
)
def test_other_formats_come_as_an_archive(client, format, expected):
    image = image_with(image_id=upload(client, image_file(WIDTH, HEIGHT)))
    files = files_in(export(client, image, format=format))
    assert expected <= set(files)
    assert all(files.values())


def test_names_stay_inside_the_archive_and_apart(client):
    names = ("../../a.jpg", "/etc/a.jpg", "a.png", "..", "C:\\x\\a.jpg")
    images = [image_with(name=name) for name in names]
    files = files_in(export(client, *images, format="labelme"))
    assert len(files) == 5
    assert not any(".." in name or name.startswith("/") for name in files)
    content = json.loads(export(client, *images).content)
    assert [row["file_name"] for row in content["images"]] == ["a.jpg", "a.jpg", "a.png", "image", "a.jpg"]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "fields", "kind"),
    [
        (image_with(), {"format": "yolo"}, "invalid-request"),
        (image_with(image_id="nothing"), {"format": "yolo"}, "not-found"),
        (image_with(), {"format": "pdf"}, "invalid-request"),
        (image_with([{"mask": to_rle(FIRST[:20])}]), {}, "invalid-request"),
        (image_with([{**OBJECTS[0], "label": "a\0b"}]), {}, "invalid-request"),
        (image_with([{**OBJECTS[0], "score": 2}]), {}, "invalid-request"),
        ({**image_with([]), "width": 100_000, "height": 100_000}, {}, "too-many-pixels"),
        ({**image_with([]), "width": 0}, {}, "invalid-request"),
        (image_with(path="/etc/passwd"), {}, "invalid-request"),
    ],
)
def test_exports_that_cannot_be(client, image, fields, kind):
    assert problem_of(export(client, image, **fields)) == kind


def test_an_image_of_another_size_is_no_image_of_the_annotations(client):
    image = image_with(image_id=upload(client, image_file(20, 20)))
    assert problem_of(export(client, image, format="yolo")) == "invalid-request"
