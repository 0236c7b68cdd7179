"""What tests of the server share: clients of a small model, and photos as uploads."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import seem
from seem.data.coco_rle import rle_to_mask
from seem.server.app import create_app
from seem.server.label_studio.image_source import TaskImageSource
from seem.server.projects.project import Project
from seem.server.settings import Limits, ServerSettings
from tiny import picture, tiny_model

ORIGIN = "http://localhost"
POINT = {"kind": "point", "x": 20, "y": 10}


@contextmanager
def running(
    model=None,
    limits: Limits | None = None,
    project: Project | None = None,
    task_images: TaskImageSource | None = None,
    **settings: Any,
) -> Iterator[TestClient]:
    """A client of a server that has started; of the small nano by default."""
    settings.setdefault("workers", 2)
    app = create_app(
        model or tiny_model("nano"),
        ServerSettings(limits=limits or Limits(), **settings),
        project,
        task_images,
    )
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


def service_of(client: TestClient):
    """The service behind a client."""
    return client.app._app.state.service


def image_file(width: int = 48, height: int = 40, form: str = "PNG", seed: int = 0) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    picture(width, height, seed).save(file, format=form)
    return file.getvalue()


def upload(client: TestClient, content: bytes | None = None, name: str = "a.png") -> str:
    """Upload an image and return its id."""
    response = client.post("/v1/images", params={"name": name}, content=content or image_file())
    assert response.status_code == 201, response.text
    return response.json()["id"]


def problem_of(response) -> str:
    """The kind of problem that an answer is; it is well formed and tells nothing of the inside."""
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == response.status_code
    assert body["title"]
    assert body["detail"]
    for leak in ("Traceback", ".py", "/tmp", "site-packages", "seem.server"):
        assert leak not in response.text
    return body["type"].removeprefix("urn:seem:problem:")


def decode(mask: dict[str, Any]) -> np.ndarray:
    """A mask in run-length code, by COCO's own tool."""
    return rle_to_mask(mask["counts"], tuple(mask["size"]))


def assert_same(answer: dict, results: seem.Results, has_labels: bool = True):
    assert len(answer["objects"]) == len(results)
    for row, body in enumerate(answer["objects"]):
        expected = results[row]
        assert (decode(body["mask"]) == expected.mask).all()
        assert tuple(body["box"]) == expected.box
        assert body["area"] == expected.area
        assert body["id"] == expected.id
        assert body["score"] == pytest.approx(expected.score, abs=1e-5)
        assert body["label"] == (expected.label if has_labels else None)
        assert body["category_id"] == (expected.category_id if has_labels else None)
    assert answer["notes"] == list(results.notes)
    assert answer["rules"] == list(results.provenance.rules)
    assert (answer["task"], answer["kind"]) == (results.provenance.task, results.kind)


def wait_until(holds, seconds: float = 10.0):
    latest = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < latest, "it never happened"
        time.sleep(0.01)
