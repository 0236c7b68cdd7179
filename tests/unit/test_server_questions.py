"""Every question over HTTP has the answer of the API, whatever the form of prompts and masks."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seem
from seem.coco_format import to_rle
from server import POINT, assert_same, image_file, running, upload
from tiny import tiny_model

WIDTH, HEIGHT = 48, 40
REGION = np.zeros((HEIGHT, WIDTH), dtype=bool)
REGION[5:20, 8:30] = True


def png_text(mask) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


PROMPTS = {
    "point": (POINT, seem.Point(20, 10)),
    "negative point": ({**POINT, "x": 2.5, "positive": False}, seem.Point(2.5, 10, positive=False)),
    "stroke": (
        {"kind": "stroke", "points": [[3, 4], [20, 30]], "width": 5},
        seem.Stroke([(3, 4), (20, 30)], width=5),
    ),
    "scribble": (
        {"kind": "scribble", "strokes": [[[3, 4], [20, 30]], [[1, 1], [9, 2]]]},
        seem.Scribble([[(3, 4), (20, 30)], [(1, 1), (9, 2)]]),
    ),
    "polygon": (
        {"kind": "polygon", "points": [[4, 4], [30, 6], [20, 35]]},
        seem.Polygon([(4, 4), (30, 6), (20, 35)]),
    ),
    "box": ({"kind": "box", "x0": 4, "y0": 5, "x1": 30, "y1": 20}, seem.Box(4, 5, 30, 20)),
    "mask as rle": ({"kind": "mask", "rle": to_rle(REGION)}, seem.Mask(REGION)),
    "mask as png": ({"kind": "mask", "png": png_text(REGION)}, seem.Mask(REGION)),
    "text": ({"kind": "text", "phrase": "a red car"}, seem.Text("a red car")),
}
QUESTIONS = {
    "panoptic": ({"threshold": 0.1}, lambda image: image.panoptic(threshold=0.1)),
    "instances": (
        {"classes": ["dog", "sky"], "threshold": 0.0, "top": 5, "mask_nms_threshold": 0.9},
        lambda image: image.instances(["dog", "sky"], 0.0, 5, mask_nms_threshold=0.9),
    ),
    "semantic": (
        {"classes": {"names": ["dog", "lawn"], "stuff": ["lawn"], "background": True}},
        lambda image: image.semantic(
            seem.Vocabulary.of(["dog", "lawn"], ["lawn"], background=True)
        ),
    ),
    "find": (
        {"phrases": ["a dog", "grass"], "threshold": 0.0, "against": ["cat"]},
        lambda image: image.find(["a dog", "grass"], 0.0, against=["cat"]),
    ),
    "everything": (
        {"points_per_side": 3, "pred_iou_threshold": 0.0, "stability_score_threshold": 0.0, "labels": True},
        lambda image: image.everything(3, pred_iou_threshold=0.0, stability_score_threshold=0.0),
    ),
    "segment-many": (
        {"objects": [[POINT], [{"kind": "box", "x0": 1, "y0": 1, "x1": 9, "y1": 9}]], "labels": True},
        lambda image: image.segment_many([[seem.Point(20, 10)], [seem.Box(1, 1, 9, 9)]]),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture(scope="module")
def image(model):
    return model.encode(Image.open(io.BytesIO(image_file(WIDTH, HEIGHT))))


@pytest.fixture(scope="module")
def client(model):
    with running(model) as client:
        yield client


@pytest.fixture
def image_id(client):
    return upload(client, image_file(WIDTH, HEIGHT))


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_has_the_answer_of_the_api(client, image, image_id, name):
    schema, prompt = PROMPTS[name]
    schemas, prompts = [schema], [prompt]
    if name == "negative point":
        schemas, prompts = [POINT, schema], [seem.Point(20, 10), prompt]
    response = client.post(
        f"/v1/images/{image_id}/segment", json={"prompts": schemas, "text_threshold": 0.0}
    )
    assert response.status_code == 200, response.text
    results = image.segment(*prompts, text_threshold=0.0)
    assert_same(response.json(), results, has_labels=name == "text")
    assert len(results) == 1


def test_all_prompts_of_a_list_describe_one_object(client, image, image_id):
    names = [name for name in PROMPTS if not name.startswith("mask")]
    response = client.post(
        f"/v1/images/{image_id}/segment", json={"prompts": [PROMPTS[name][0] for name in names]}
    )
    assert_same(
        response.json(), image.segment(*[PROMPTS[name][1] for name in names]), has_labels=False
    )


@pytest.mark.parametrize("task", QUESTIONS)
def test_a_question_has_the_answer_of_the_api(client, image, image_id, task):
    body, ask = QUESTIONS[task]
    response = client.post(f"/v1/images/{image_id}/{task}", json=body)
    assert response.status_code == 200, response.text
    results = ask(image)
    assert_same(response.json(), results)
    assert len(results) or task == "find"
    used = set(results.category_ids.tolist())
    assert {category["id"] for category in response.json()["categories"]} == used


def test_labels_are_computed_only_when_they_are_asked_for(client, image, image_id):
    question = {"prompts": [POINT]}
    (without,) = client.post(f"/v1/images/{image_id}/segment", json=question).json()["objects"]
    answer = client.post(f"/v1/images/{image_id}/segment", json={**question, "labels": True}).json()
    assert (without["label"], without["label_score"], without["category_id"]) == (None, None, None)
    assert_same(answer, image.segment(seem.Point(20, 10)))
    assert answer["objects"][0]["label"]


def test_a_png_mask_is_the_mask_inside_its_box(client, image, image_id):
    response = client.post(
        f"/v1/images/{image_id}/segment", json={"prompts": [POINT], "masks": "png"}
    )
    (body,) = response.json()["objects"]
    drawn = Image.open(io.BytesIO(base64.b64decode(body["mask"]["data"])))
    x0, y0, x1, y1 = body["mask"]["box"]
    assert drawn.size == (x1 - x0, y1 - y0)
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y0:y1, x0:x1] = np.asarray(drawn.convert("RGBA"))[..., 3] == 255
    assert (mask == image.segment(seem.Point(20, 10))[0].mask).all()


def test_candidates_and_zoom_reach_the_model(client, image, image_id):
    question = {"prompts": [POINT], "candidates": 3, "refine": "zoom"}
    response = client.post(f"/v1/images/{image_id}/segment", json=question)
    results = image.segment(seem.Point(20, 10), candidates=3, refine="zoom")
    assert_same(response.json(), results, has_labels=False)


def test_a_reference_is_a_region_of_another_upload(client, model, image, image_id):
    content = image_file(60, 30, seed=1)
    other_id = upload(client, content)
    other = model.encode(Image.open(io.BytesIO(content)))
    box = {"kind": "box", "x0": 4, "y0": 5, "x1": 50, "y1": 20}
    reference = {"kind": "reference", "image_id": other_id, "prompts": [box]}
    response = client.post(
        f"/v1/images/{image_id}/segment", json={"prompts": [reference], "text_threshold": 0}
    )
    expected = image.segment(seem.Reference(other, seem.Box(4, 5, 50, 20)), text_threshold=0)
    assert_same(response.json(), expected, has_labels=False)
    assert len(expected) == 1


def test_the_picture_is_the_image_as_shown(client):
    turned = Image.open(io.BytesIO(image_file(WIDTH, HEIGHT)))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, format="PNG", exif=exif)
    response = client.post("/v1/images?name=turned.png", content=file.getvalue())
    body = response.json()
    assert (body["width"], body["height"], body["orientation"]) == (HEIGHT, WIDTH, 6)
    assert response.headers["location"] == f"/v1/images/{body['id']}"
    drawn = client.get(f"/v1/images/{body['id']}/picture?form=png")
    expected = turned.transpose(Image.Transpose.ROTATE_270)
    assert (np.asarray(Image.open(io.BytesIO(drawn.content))) == np.asarray(expected)).all()
    small = client.get(f"/v1/images/{body['id']}/picture?max_side=20")
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(small.content)).size) == 20


def test_info_describes_the_model(client, model):
    body = client.get("/v1/info").json()
    assert body["model"]["name"] == model.name
    assert body["model"]["visual_prompts"]
    assert body["model"]["references"]
    assert body["model"]["classes"] == list(seem.Vocabulary.coco_panoptic().names)
    assert body["limits"]["image_pixels"] == 50_000_000
    assert "coco" in body["image_formats"]


@pytest.mark.parametrize(("phrase", "x", "y"), [("cat", 200, 150), ("a sleeping cat", 150, 120)])
def test_nano_answers_about_a_photo_as_in_python(phrase, x, y):
    path = Path(__file__).parents[2] / "examples/photos/cat.jpg"
    nano = seem.load("nano", "cpu", "exact")
    photo = nano.encode(path)
    with running(nano) as client:
        image_id = upload(client, path.read_bytes(), "cat.jpg")
        click = client.post(
            f"/v1/images/{image_id}/segment",
            json={"prompts": [{"kind": "point", "x": x, "y": y}], "labels": True},
        )
        found = client.post(f"/v1/images/{image_id}/find", json={"phrases": [phrase]})
    assert_same(click.json(), photo.segment(seem.Point(x, y)))
    assert_same(found.json(), photo.find(phrase))
    assert found.json()["objects"][0]["label"] == phrase
