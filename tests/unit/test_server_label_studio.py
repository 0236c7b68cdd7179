"""The backend of Label Studio: what smart tools send is answered in regions that its own converters read."""

import base64
import io
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seem
from seem.annotation_formats.outlines import simplify_outline, trace_outlines
from seem.data.readers.label_studio import decode_brush_code
from seem.mask_codec import PackedMask
from seem.server.label_studio.image_source import TaskImageSource
from seem.server.label_studio.label_config import parse_label_config
from seem.server.settings import Limits
from server import image_file, problem_of, running
from tiny import tiny_model

HEIGHT, WIDTH = 40, 48
CAT = Path(__file__).parents[2] / "examples/photos/cat.jpg"
KEY = "key"
PERSONAL_KEY = "a.b.c"

CONFIG = """
<View>
  <Image name="photo" value="$picture"/>
  <{tag} name="masks" toName="photo"><Label value="Cat"/><Label value="Dog" alias="d"/></{tag}>
  <KeyPointLabels name="points" toName="photo" smart="true"><Label value="Cat"/></KeyPointLabels>
  <RectangleLabels name="boxes" toName="photo" smart="true"><Label value="Cat"/></RectangleLabels>
</View>
"""


class FakeLabelStudio(BaseHTTPRequestHandler):
    """Serves one image to those who have a token."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/data/redirected"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/data/upload/1/a.png")
            self.end_headers()
        elif self.headers.get("Authorization") not in (f"Token {KEY}", "Bearer fresh"):
            self.send_error(401)
        else:
            self.answer(image_file(WIDTH, HEIGHT))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, body) == ("/api/token/refresh", {"refresh": PERSONAL_KEY})
        self.answer(json.dumps({"access": "fresh"}).encode())

    def answer(self, content: bytes):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def label_studio():
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeLabelStudio) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture(scope="module")
def client(model, label_studio):
    source = TaskImageSource(label_studio.url, KEY)
    with running(model, Limits(image_pixels=100_000), task_images=source) as client:
        yield client


@pytest.fixture(scope="module")
def photo(model):
    return model.encode(Image.open(io.BytesIO(image_file(WIDTH, HEIGHT))))


def decode_brush(code, hw):
    values = decode_brush_code(bytes(code), hw[0] * hw[1] * 4)
    return values.reshape(*hw, 4)[..., 3] > 0


def keypoint(x, y, label="Cat", **fields):
    """A smart keypoint, as the labelling page sends it: percent of the image."""
    value = {"x": x * 100 / WIDTH, "y": y * 100 / HEIGHT, "width": 0.3, "keypointlabels": [label]}
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"type": "keypointlabels", "from_name": "points", "value": value, **size, **fields}


def rectangle(x, y, w, h, **fields):
    value = {"x": x * 100 / WIDTH, "y": y * 100 / HEIGHT, "width": w * 100 / WIDTH,
             "height": h * 100 / HEIGHT, "rotation": 0, "rectanglelabels": ["Cat"], **fields}  # fmt: skip
    return {"type": "rectanglelabels", "from_name": "boxes", "value": value, "image_rotation": 0}


def predict(client, *drawn, tag="BrushLabels", picture="/data/upload/1/a.png", config=CONFIG):
    body = {
        "tasks": [{"id": 7, "data": {"picture": picture}, "annotations": []}],
        "label_config": config.replace("{tag}", tag),
        "project": "3.1700000000",
        "model_version": "x",
        "params": {"login": None, "password": None, "context": {"result": list(drawn)}},
    }
    return client.post("/label-studio/predict", json=body)


def regions_of(response) -> list[dict]:
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["results"]
    assert prediction["model_version"].startswith("seem ")
    for region in prediction["result"]:
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        assert (region["from_name"], region["to_name"]) == ("masks", "photo")
    return prediction["result"]


def test_the_protocol_is_answered(client):
    assert client.get("/label-studio/health").json()["status"] == "UP"
    setup = {"project": "3.17", "schema": CONFIG, "hostname": "http://x", "access_token": "t"}
    assert (
        client.post("/label-studio/setup", json=setup).json()["model_version"].startswith("seem ")
    )
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 3}}
    assert client.post("/label-studio/webhook", json=event).status_code == 200
    assert client.get("/label-studio/metrics").json() == {}


def test_keypoints_become_a_brush_mask(client, photo):
    points = [keypoint(20.6, 10.2), keypoint(40, 35, is_positive=False)]
    (region,) = regions_of(predict(client, *points))
    expected = photo.segment(seem.Point(20, 10), seem.Point(40, 35, positive=False))[0]
    assert region["type"] == "brushlabels"
    assert region["value"]["brushlabels"] == ["Cat"]
    assert region["score"] == pytest.approx(expected.score, abs=1e-4)
    mask = decode_brush(region["value"]["rle"], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mask, expected.mask)


def test_a_rectangle_becomes_a_bitmask(client, photo):
    (region,) = regions_of(predict(client, rectangle(5, 6, 30, 20), tag="BitmaskLabels"))
    assert region["type"] == "bitmasklabels"
    content = base64.b64decode(region["value"]["imageDataURL"].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    expected = photo.segment(seem.Box(5, 6, 35, 26))[0].mask
    np.testing.assert_array_equal(pixels[..., 3] == 255, expected)
    assert (pixels[..., :3] == 0).all()


def test_polygons_are_near_the_mask_and_have_few_corners(client, photo):
    regions = regions_of(predict(client, rectangle(5, 6, 30, 20), tag="PolygonLabels"))
    mask = photo.segment(seem.Box(5, 6, 35, 26))[0].mask
    assert regions
    for region in regions:
        points = np.array(region["value"]["points"])
        assert region["type"] == "polygonlabels"
        assert points.min() >= 0
        assert points.max() <= 100
    num_corners = sum(len(region["value"]["points"]) for region in regions)
    exact = sum(len(outline.corners) for outline in trace_outlines(PackedMask.pack(mask, mask.shape)))  # fmt: skip
    assert num_corners < exact / 2


def test_a_turned_rectangle_is_a_polygon(client, photo):
    turned = rectangle(30, 5, 20, 10, rotation=90)
    (region,) = regions_of(predict(client, turned))
    expected = photo.segment(seem.Polygon([(30, 5), (30, 25), (20, 25), (20, 5)]))[0].mask
    mask = decode_brush(region["value"]["rle"], (HEIGHT, WIDTH))
    assert (mask == expected).mean() > 0.99


@pytest.fixture(scope="module")
def nano():
    return seem.load("nano", "cpu")


@pytest.fixture(scope="module")
def cat_client(nano, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(CAT, folder / "cat.jpg")
    with running(nano, task_images=TaskImageSource(files=folder)) as client:
        yield client


def proposals(client, tag):
    answer = predict(client, tag=tag, picture="/data/local-files/?d=cat.jpg")
    return answer.json()["results"][0]["result"]


def test_tasks_without_drawings_get_proposals_of_their_labels(cat_client, nano):
    expected = [one for one in nano.encode(CAT).instances(["Cat", "Dog"]) if one.mask.any()]
    regions = proposals(cat_client, "BrushLabels")
    assert len(regions) == len(expected) > 0
    for region, one in zip(regions, expected, strict=True):
        assert region["value"]["brushlabels"] == [{"Cat": "Cat", "Dog": "d"}[one.label]]
        np.testing.assert_array_equal(
            decode_brush(region["value"]["rle"], one.mask.shape), one.mask
        )
    boxes = proposals(cat_client, "RectangleLabels")
    x0, y0, _, y1 = expected[0].box
    height, width = expected[0].mask.shape
    assert boxes[0]["value"]["x"] == pytest.approx(x0 * 100 / width)
    assert boxes[0]["value"]["height"] == pytest.approx((y1 - y0) * 100 / height)


def test_what_smart_tools_do_not_send_is_passed_over(client):
    brush = {"type": "brushlabels", "value": {"brushlabels": ["Cat"], "rle": [0]}}
    assert regions_of(predict(client, brush)) == []


def test_the_image_of_a_task_is_fetched_and_encoded_once(client, label_studio):
    picture = "/data/upload/1/once.png"
    for _ in range(3):
        regions_of(predict(client, keypoint(20, 10), picture=picture))
    assert [path for path, _ in label_studio.asked].count(picture) == 1
    assert (picture, f"Token {KEY}") in label_studio.asked


@pytest.mark.parametrize(
    "picture",
    [
        "http://127.0.0.1:1/data/upload/1/a.png",
        "//127.0.0.1:1/data/upload/1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "s3://bucket/a.png",
        "/api/users",
        "/data/../api/users",
        "/data/%2e%2e/api/users",
        "\\\\127.0.0.1\\data\\a.png",
        "/data/local-files/../../api?d=a.png",
    ],
)
def test_addresses_elsewhere_are_never_asked(client, label_studio, picture):
    before = len(label_studio.asked)
    assert problem_of(predict(client, keypoint(20, 10), picture=picture)) == "invalid-request"
    assert len(label_studio.asked) == before


def test_a_redirect_is_not_followed(client, label_studio):
    answer = predict(client, keypoint(20, 10), picture="/data/redirected/a.png")
    assert problem_of(answer) == "unreadable"
    assert label_studio.asked[-1][0] == "/data/redirected/a.png"


def test_without_an_address_of_label_studio_no_image_is_read(model):
    with running(model) as client:
        answer = predict(client, keypoint(20, 10))
        assert problem_of(answer) == "invalid-request"
        assert "--label-studio-url" in answer.json()["detail"]


def test_a_personal_token_is_refreshed(label_studio):
    source = TaskImageSource(f"{label_studio.url}/", PERSONAL_KEY)
    assert source.read("/data/upload/2/b.png", 100_000) == image_file(WIDTH, HEIGHT)
    assert label_studio.asked[-1] == ("/data/upload/2/b.png", "Bearer fresh")
    wrong = TaskImageSource(label_studio.url, "wrong")
    with pytest.raises(Exception, match="status 401"):
        wrong.read("/data/upload/2/b.png", 100_000)


def test_local_files_are_read_below_their_folder_alone(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a b.png").write_bytes(b"1")
    (tmp_path / "secret.png").write_bytes(b"2")
    (tmp_path / "files" / "link.png").symlink_to(tmp_path / "secret.png")
    source = TaskImageSource(files=tmp_path / "files")
    assert source.read("/data/local-files/?d=a%20b.png", 10) == b"1"
    for name in (
        "../secret.png",
        "%2e%2e/secret.png",
        f"{tmp_path}/secret.png",
        "link.png",
        "a%00",
    ):
        with pytest.raises(Exception, match="not read"):
            source.read(f"/data/local-files/?d={name}", 10)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("<View>", "no valid XML|not valid XML"),
        ("<View/>", "<Image"),
        ('<View><Image name="a" value="$a"/></View>', "BrushLabels"),
        ('<!DOCTYPE a [<!ENTITY b "b">]><View/>', "entities"),
    ],
)
def test_configurations_that_cannot_be_answered(client, config, words):
    with pytest.raises(ValueError, match=words):
        parse_label_config(config)
    assert problem_of(predict(client, keypoint(1, 1), config=config)) == "invalid-request"


@pytest.mark.parametrize(
    "drawn",
    [
        {"type": "keypointlabels"},
        {"type": "keypointlabels", "value": {"x": "1", "y": 2}},
        {"type": "keypointlabels", "value": {"x": 1e999, "y": 2}},
        keypoint(1, 1, image_rotation=90),
    ],
)
def test_regions_that_cannot_be_are_one_line(client, drawn):
    body = json.dumps(drawn)
    answer = predict(client, json.loads(body) if "Infinity" not in body else {**drawn, "value": {}})
    assert problem_of(answer) == "invalid-request"


def test_the_token_is_taken_as_a_password(model):
    with running(model, token="secret") as client:
        assert client.get("/label-studio/health").status_code == 401
        assert client.get("/label-studio/health", auth=("seem", "secret")).status_code == 200
        assert client.get("/label-studio/health", auth=("seem", "wrong")).status_code == 401
        assert client.get("/v1/info", auth=("seem", "secret")).status_code == 401


def test_simplified_outlines_stay_near():
    rows, columns = np.mgrid[:60, :80]
    disk = (rows - 30) ** 2 + (columns - 40) ** 2 < 25**2
    (outline,) = trace_outlines(PackedMask.pack(disk, disk.shape))
    simple = simplify_outline(outline, 1.0)
    assert len(simple.corners) < 40 < len(outline.corners)
    radii = np.linalg.norm(simple.corners - (40.5, 30.5), axis=1)
    assert (np.abs(radii - 24.7) < 1.2).all()


# --- Label Studio's own package ---------------------------------------------------------------------------------------


def test_its_package_reads_every_answer(client, cat_client):
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="pip install label-studio-sdk"
    )
    from label_studio_sdk.label_interface.objects import PredictionValue

    for tag in ("BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"):
        checked = interface.LabelInterface(CONFIG.replace("{tag}", tag))
        drawn = regions_of(predict(client, keypoint(20, 10), tag=tag))
        for regions in (drawn, proposals(cat_client, tag)):
            assert regions
            prediction = {"result": regions, "score": 0.5, "model_version": "seem"}
            assert checked.validate_prediction(prediction)
            PredictionValue(**prediction)


def test_its_converter_reads_brushes(client):
    brush = pytest.importorskip(
        "label_studio_sdk.converter.brush", reason="pip install label-studio-sdk"
    )
    (region,) = regions_of(predict(client, keypoint(20, 10)))
    code = region["value"]["rle"]
    read = brush.decode_rle(code).reshape(HEIGHT, WIDTH, 4)[..., 3] > 0
    np.testing.assert_array_equal(read, decode_brush(code, (HEIGHT, WIDTH)))
