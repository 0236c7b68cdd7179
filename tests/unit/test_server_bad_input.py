"""Input that cannot be answered: the right status, a sentence, nothing of the inside, and the server lives on."""

import asyncio
import io
import json
import struct
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from seem.coco_format import to_rle
from seem.server.settings import Limits
from server import (
    ORIGIN,
    POINT,
    image_file,
    problem_of,
    running,
    service_of,
    upload,
    wait_until,
)
from tiny import tiny_model

SMALL = Limits(image_bytes=20_000, json_bytes=1_000_000, image_pixels=10_000, body_seconds=0.5)
ACTIVE_FORMATS = {  # what else Pillow opens
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "ICO": b"\0\0\1\0",
}


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture(scope="module")
def client(model):
    with running(model, SMALL) as client:
        yield client
        assert client.get("/readyz").json() == {"status": "ready"}
        upload(client)


@pytest.fixture
def image(client):
    return f"/v1/images/{upload(client)}"


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header names a size; of its pixels there are a few."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 30)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        file += struct.pack(">I", len(content)) + name + content + checksum
    return file


def written(form: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (9, 7)).save(file, form, **options)
    return file.getvalue()


# --- Uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"]
)
def test_pictures_of_usual_formats_are_read(client, form):
    response = client.post("/v1/images", content=written(form))
    assert response.status_code == 201, response.text
    assert (response.json()["width"], response.json()["height"]) == (9, 7)


@pytest.mark.parametrize(
    ("content", "kind"),
    {
        "empty": (b"", "unreadable"),
        "text": (b"I am no picture", "unreadable"),
        "html": (b"<!doctype html><svg onload=alert(1)>", "unreadable"),
        "cut png": (image_file()[:-200], "unreadable"),
        "cut jpeg": (image_file(form="JPEG")[:-200], "unreadable"),
        "only a header": (png_of_size(10, 10), "unreadable"),
        "wide": (png_of_size(101, 100), "too-many-pixels"),
        "bomb": (png_of_size(2**30, 2**30), "too-many-pixels"),
        "no pixels": (png_of_size(0, 10), "unreadable"),
        "postscript": (ACTIVE_FORMATS["EPS"], "unsupported-media-type"),
        "icon": (written("ICO"), "unsupported-media-type"),
        "tga": (written("TGA"), "unsupported-media-type"),
        "pdf": (b"%PDF-1.4\n", "unreadable"),
        "zip": (b"PK\x03\x04" + b"\0" * 100, "unreadable"),
        "too many bytes": (b"\0" * 20_001, "too-large"),
    }.values(),
    ids=[
        "empty", "text", "html", "cut png", "cut jpeg", "only a header", "wide", "bomb", "no pixels", "postscript",
        "icon", "tga", "pdf", "zip", "too many bytes",
    ],
)  # fmt: skip
def test_uploads_that_are_no_photo(client, content, kind):
    assert problem_of(client.post("/v1/images?name=a.jpg", content=content)) == kind


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("a\0b\n.png", "ab.png"),
        ("..", "image"),
        ("/", "image"),
        ("", "image"),
        (".hidden", "hidden"),
        ("x" * 500 + ".jpeg", "x" * 115 + ".jpeg"),
        ("http://127.0.0.1/a.png", "a.png"),
    ],
)
def test_names_are_shown_and_never_opened(client, name, shown):
    response = client.post("/v1/images", params={"name": name}, content=image_file())
    assert response.json()["name"] == shown


def test_a_form_is_refused_with_the_way_out(client):
    response = client.post("/v1/images", files={"file": image_file()})
    assert problem_of(response) == "unsupported-media-type"
    assert "send its bytes" in response.json()["detail"]


class Connection:
    """One request by hand: what an honest client would not send."""

    def __init__(self, client: TestClient, path: str, headers: dict[str, str], parts):
        self.app, self.parts, self.sent = client.app, list(parts), []
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"host", b"localhost")]
            + [(name.encode(), value.encode()) for name, value in headers.items()],
        }

    async def receive(self):
        if self.parts:
            return self.parts.pop(0)
        await asyncio.sleep(30)
        return None

    async def send(self, message):
        self.sent.append(message)

    def run(self) -> tuple[int | None, dict]:
        asyncio.run(self.app(self.scope, self.receive, self.send))
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return (self.sent[0]["status"] if self.sent else None), json.loads(body or "{}")


def part(content: bytes, more: bool = True):
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_claimed_length_is_refused_before_anything_is_read(client):
    connection = Connection(client, "/v1/images", {"content-length": "500000000"}, [])
    status, body = connection.run()
    assert (status, body["status"]) == (413, 413)
    assert (b"connection", b"close") in connection.sent[0]["headers"]


def test_a_body_is_counted_whatever_its_length_claims(client):
    parts = [part(b"\0" * 15_000), part(b"\0" * 15_000), part(b"", more=False)]
    connection = Connection(client, "/v1/images", {"content-length": "10"}, parts)
    assert connection.run()[0] == 413
    assert connection.parts == [part(b"", more=False)]


@pytest.mark.parametrize("path", ["/v1/images", "/v1/videos", "/v1/export"])
def test_a_client_that_sends_too_slowly_is_told_so(client, path):
    headers = {"content-length": "1000", "content-type": "application/json"}
    started = time.monotonic()
    status, body = Connection(client, path, headers, [part(b"{")]).run()
    assert (status, body["type"]) == (408, "urn:seem:problem:body-too-slow")
    assert time.monotonic() - started < 10


def test_a_client_that_leaves_while_it_sends_is_no_error(client, caplog):
    parts = [part(b"{"), {"type": "http.disconnect"}]
    status, _ = Connection(client, "/v1/images", {"content-length": "1000"}, parts).run()
    assert status == 499
    assert "failed" not in caplog.messages
    assert service_of(client)._num_uploads == 0


def test_uploads_at_once_are_bounded(model):
    with running(model, Limits(uploads=1)) as client:
        with service_of(client).upload_slot():
            response = client.post("/v1/images", content=image_file())
        assert problem_of(response) == "queue-full"
        assert response.headers["retry-after"]
        upload(client)


# --- JSON -------------------------------------------------------------------------------------------------------------

BAD_PROMPTS = {
    "none": [],
    "unknown kind": [{"kind": "lasso"}],
    "no kind": [{"x": 1, "y": 2}],
    "unknown field": [{**POINT, "size": 3}],
    "text for a number": [{**POINT, "x": "20"}],
    "true for a number": [{**POINT, "x": True}],
    "null": [{**POINT, "x": None}],
    "outside": [{**POINT, "x": 48}],
    "far outside": [{**POINT, "y": -(10**300)}],
    "negative alone": [{**POINT, "positive": False}],
    "empty box": [{"kind": "box", "x0": 5, "y0": 5, "x1": 5, "y1": 9}],
    "inverted box": [{"kind": "box", "x0": 9, "y0": 5, "x1": 5, "y1": 9}],
    "box outside": [{"kind": "box", "x0": 900, "y0": 5, "x1": 990, "y1": 9}],
    "line of one point": [{"kind": "stroke", "points": [[1, 2]]}],
    "point of three": [{"kind": "stroke", "points": [[1, 2, 3], [4, 5, 6]]}],
    "no width": [{"kind": "stroke", "points": [[1, 2], [3, 4]], "width": 0}],
    "flat polygon": [{"kind": "polygon", "points": [[1, 1], [2, 2], [3, 3]]}],
    "empty phrase": [{"kind": "text", "phrase": "  "}],
    "control character": [{"kind": "text", "phrase": "a\0b"}],
    "long phrase": [{"kind": "text", "phrase": "a" * 1001}],
    "10,000 clicks": [POINT] * 10_000,
    "mask of nothing": [{"kind": "mask"}],
    "empty mask": [{"kind": "mask", "rle": to_rle(np.zeros((40, 48), dtype=bool))}],
    "mask of another size": [{"kind": "mask", "rle": to_rle(np.ones((4, 4), dtype=bool))}],
    "huge mask": [{"kind": "mask", "rle": {"size": [2**40, 2**40], "counts": "0"}}],
    "mask of noise": [{"kind": "mask", "rle": {"size": [40, 48], "counts": "\u00e4\u20ac ~~~"}}],
    "mask that overflows": [{"kind": "mask", "rle": {"size": [40, 48], "counts": "ooooooooo0"}}],
    "png of noise": [{"kind": "mask", "png": "AAAA"}],
    "no base64": [{"kind": "mask", "png": "%%%"}],
    "a path": [{"kind": "mask", "png": "/etc/passwd"}],
    "reference to a path": [{"kind": "reference", "image_id": "../a.jpg", "prompts": [POINT]}],
    "reference to an address": [{"kind": "reference", "image_id": "http://localhost/", "prompts": [POINT]}],
    "reference in a reference": [
        {"kind": "reference", "image_id": "a", "prompts": [{"kind": "reference", "image_id": "a", "prompts": []}]}
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_prompts_that_cannot_be(client, image, name):
    response = client.post(f"{image}/segment", json={"prompts": BAD_PROMPTS[name]})
    assert problem_of(response) == "invalid-request"
    assert len(response.text) < 20_000


def test_prompts_have_a_limit_of_points_together(client, image):
    line = {"kind": "stroke", "points": [[1, 2], [30, 20]] * 500}
    assert client.post(f"{image}/segment", json={"prompts": [line]}).status_code == 200
    response = client.post(f"{image}/segment", json={"prompts": [line] * 21})
    assert problem_of(response) == "invalid-request"
    assert "21,000 points" in response.json()["detail"]
    response = client.post(f"{image}/segment-many", json={"objects": [[line] * 11] * 2})
    assert problem_of(response) == "invalid-request"
    assert "22,000 points" in response.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[1", b"\xff\xfe", b"{'prompts': 1}", b"[" * 50_000, b'{"a":' * 20_000, b"nul"],
)
def test_malformed_json(client, image, content):
    response = client.post(
        f"{image}/segment", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert problem_of(response) in ("malformed-json", "bad-request", "invalid-request")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(client, image, number):
    content = f'{{"prompts": [{{"kind": "point", "x": {number}, "y": 3}}]}}'
    response = client.post(
        f"{image}/segment", content=content, headers={"content-type": "application/json"}
    )
    assert problem_of(response) == "invalid-request"


def test_json_without_its_type_is_named(client, image):
    response = client.post(
        f"{image}/segment", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert problem_of(response) == "unsupported-media-type"
    assert "application/json" in response.json()["detail"]


def test_a_large_json_body_is_refused(client, image):
    response = client.post(f"{image}/find", json={"phrases": ["a" * 1_100_000]})
    assert problem_of(response) == "too-large"


@pytest.mark.parametrize(
    ("task", "question"),
    [
        ("panoptic", {"classes": []}),
        ("panoptic", {"classes": ["dog", "DOG"]}),
        ("panoptic", {"classes": "nonsense"}),
        ("panoptic", {"classes": ["a"] * 1001}),
        ("panoptic", {"threshold": 1.5}),
        ("instances", {"top": 0}),
        ("semantic", {"classes": {"names": ["dog"], "stuff": ["cat"]}}),
        ("find", {"phrases": []}),
        ("find", {"phrases": "dog"}),
        ("find", {"phrases": [" "]}),
        ("everything", {"points_per_side": 1000}),
        ("everything", {"crop_n_layers": 9}),
        ("segment", {"prompts": [POINT], "candidates": 0}),
        ("segment", {"prompts": [POINT], "masks": "raw"}),
        ("segment", {"prompts": [POINT], "refine": "all"}),
        ("segment-many", {"objects": []}),
        ("segment-many", {"objects": [[]]}),
        ("segment-many", {"objects": [[POINT]] * 257}),
    ],
)
def test_questions_that_cannot_be(client, image, task, question):
    assert problem_of(client.post(f"{image}/{task}", json=question)) == "invalid-request"


# --- Ids --------------------------------------------------------------------------------------------------------------

UNKNOWN = [
    ("GET", "/v1/images/nothing"),
    ("DELETE", "/v1/images/nothing"),
    ("GET", "/v1/images/nothing/picture"),
    ("GET", "/v1/images/..%2f..%2fetc%2fpasswd"),
    ("POST", "/v1/images/nothing/segment"),
    ("POST", "/v1/images/nothing/everything"),
    ("POST", "/v1/images/nothing/sessions"),
    ("GET", "/v1/videos/nothing"),
    ("POST", "/v1/videos/nothing/frames/0/image"),
    ("GET", "/v1/jobs/nothing"),
    ("GET", "/v1/jobs/nothing/frames"),
    ("DELETE", "/v1/jobs/nothing"),
    ("GET", "/v1/nothing"),
    ("GET", "/nothing.html"),
    ("GET", "/..%2f..%2fapp.py"),
    ("GET", "/%2e%2e/settings.py"),
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_what_is_not_there(client, method, path):
    body = {"prompts": [POINT]} if path.endswith("segment") else {}
    content = {"json": body} if method == "POST" else {}
    response = client.request(method, path, **content)
    assert response.status_code == 404
    assert problem_of(response) == "not-found"


def test_a_reference_to_an_unknown_image(client, image):
    reference = {"kind": "reference", "image_id": "nothing", "prompts": [POINT]}
    response = client.post(f"{image}/segment", json={"prompts": [reference]})
    assert problem_of(response) == "not-found"


def test_a_method_that_an_address_does_not_take(client, image):
    response = client.put(image)
    assert problem_of(response) == "method-not-allowed"
    assert response.headers["allow"]


# --- Access -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:9", "[::1]:80", "10.0.0.3", "seem.example.org"]
)  # fmt: skip
def test_names_by_which_the_server_goes(model, host):
    with running(model, allowed_hosts=("Seem.example.org",)) as client:
        assert client.get("/v1/info", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b", "local@host"]
)  # fmt: skip
def test_names_of_others_are_refused(client, host):
    for path in ("/v1/info", "/", "/metrics", "/healthz"):
        assert problem_of(client.get(path, headers={"host": host})) == "host-not-allowed"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://localhost:81"},
        {"sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_use_the_server(client, headers):
    response = client.post("/v1/images", content=image_file(), headers=headers)
    assert problem_of(response) == "cross-origin"


def test_the_own_page_may(client):
    headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
    assert client.post("/v1/images", content=image_file(), headers=headers).status_code == 201


def test_the_page_of_an_allowed_name_may_behind_a_proxy(model):
    with running(model, allowed_hosts=("seem.example.org",)) as client:
        for origin, status in (
            ("https://seem.example.org", 201),
            ("https://other.example.org", 403),
        ):
            headers = {"origin": origin, "host": "10.0.0.3:8000"}
            response = client.post("/v1/images", content=image_file(), headers=headers)
            assert response.status_code == status


def test_methods_that_clients_make_up_are_one_metric(model):
    with running(model) as client:
        for method in ("FIRST", "SECOND"):
            client.request(method, "/v1/info")
        metrics = client.get("/metrics").text
    assert "FIRST" not in metrics
    assert 'seem_requests_total{method="OTHER"' in metrics


def test_a_misspelt_parameter_is_named(client, image):
    response = client.get(f"{image}/picture?maxside=3")
    assert problem_of(response) == "invalid-request"
    assert "'maxside'; there are form, max_side." in response.json()["detail"]


def test_a_token_is_asked_for_wherever_there_is_data(model):
    with running(model, token="s3cret") as client:
        for path in ("/v1/info", "/v1/openapi.json", "/metrics", "/v1/images/x"):
            for given in ("", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret2"):
                response = client.get(path, headers={"authorization": given})
                assert problem_of(response) == "unauthorized"
                assert response.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        assert client.get("/v1/info", headers={"authorization": "bearer s3cret"}).status_code == 200


def test_every_answer_has_the_headers_that_protect_the_page(client):
    for path in ("/", "/v1/info", "/v1/nothing", "/metrics"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert headers["cache-control"] == ("no-cache" if path == "/" else "no-store")


# --- Work that fails --------------------------------------------------------------------------------------------------


@contextmanager
def failing(client, error):
    """Let every question about images fail."""

    def fail(*_arguments, **_options):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seem.encoded_image.EncodedImage.segment", fail)
        yield


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("secret of /somewhere"), "internal"),
        (KeyError("secret"), "internal"),
        (SystemExit("secret"), "internal"),
        (KeyboardInterrupt("secret"), "internal"),
        (RecursionError("secret"), "internal"),
        (MemoryError("secret"), "out-of-memory"),
        (OSError(28, "No space left on device", "secret"), "disk-full"),
        (PermissionError(13, "Permission denied", "secret"), "internal"),
        (RuntimeError("CUDA out of memory. secret"), "out-of-memory"),
    ],
)
def test_a_worker_that_dies_is_an_answer_and_a_line_in_the_log(client, image, error, kind, caplog):
    with failing(client, error), caplog.at_level("INFO", logger="seem.server"):
        response = client.post(f"{image}/segment", json={"prompts": [POINT]})
    assert problem_of(response) == kind
    assert "secret" not in response.text
    failures = [record for record in caplog.records if record.getMessage() == "failed"]
    assert len(failures) == (kind == "internal")
    if failures:
        assert failures[0].request_id == response.json()["request_id"]
        assert failures[0].exc_info
    assert client.post(f"{image}/segment", json={"prompts": [POINT]}).status_code == 200


def test_a_full_queue_is_429_and_recovers(model):
    gate = threading.Event()
    with running(model, Limits(queued=1), workers=1) as client:
        image_id = upload(client)
        path, question = f"/v1/images/{image_id}/segment", {"prompts": [POINT]}
        service = service_of(client)
        busy = [service.quick.submit(gate.wait, _cancellation()) for _ in range(2)]
        response = client.post(path, json=question)
        assert problem_of(response) == "queue-full"
        assert int(response.headers["retry-after"]) >= 1
        assert client.post(f"/v1/images/{image_id}/panoptic", json={}).status_code == 200
        assert 'seem_pending_work{of="quick"} 2.0' in client.get("/metrics").text
        gate.set()
        for future in busy:
            future.result(10)
        assert client.post(path, json=question).status_code == 200


def _cancellation():
    from seem.server.workers import Cancellation

    return Cancellation()


def test_an_answer_that_takes_too_long_is_504_and_stops(model):
    def never(image, *_prompts, **_options):
        while True:
            time.sleep(0.005)
            image.model.network.text(None, None)

    with running(model, workers=1) as client:
        image_id = upload(client)
        service = service_of(client)
        limits = replace(service.settings.limits, answer_seconds=0.3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("seem.encoded_image.EncodedImage.segment", never)
            patch.setattr(type(model.network.text), "forward", lambda *_: None)
            patch.setattr(service, "settings", replace(service.settings, limits=limits))
            response = client.post(f"/v1/images/{image_id}/segment", json={"prompts": [POINT]})
            assert problem_of(response) == "deadline"
            wait_until(lambda: service.quick.num_pending == 0)
        response = client.post(f"/v1/images/{image_id}/segment", json={"prompts": [POINT]})
        assert response.status_code == 200


def test_deleting_an_image_that_is_being_asked_is_safe(client):
    paths = [f"/v1/images/{upload(client)}" for _ in range(4)]
    statuses = []

    def ask(path):
        for _ in range(5):
            response = client.post(f"{path}/segment", json={"prompts": [POINT]})
            statuses.append(response.status_code)

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for path in paths:
        client.delete(path)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 410}
    assert client.get("/healthz").json() == {"status": "ok"}


def test_logs_and_metrics_hold_no_id_of_an_image(model, caplog):
    with running(model) as client, caplog.at_level("INFO", logger="seem.server"):
        image_id = upload(client)
        client.get(f"/v1/images/{image_id}")
        metrics = client.get("/metrics").text
    assert 'route="/v1/images/{image_id}",status="200"' in metrics
    assert image_id not in metrics
    requests = [record for record in caplog.records if record.getMessage() == "request"]
    assert [(record.method, record.route, record.status) for record in requests[:2]] == [
        ("POST", "/v1/images", 201),
        ("GET", "/v1/images/{image_id}", 200),
    ]
    assert image_id not in str([vars(record) for record in requests])
