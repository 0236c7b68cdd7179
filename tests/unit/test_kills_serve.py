"""`seem serve FOLDER`, killed while it stores annotations: what it confirmed is there, whole, after a restart."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest

from seem.coco_format import to_rle
from seem.part_files import is_part
from tiny import picture
from unit.test_server_process import Server

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SEEM_KILL_SEED", "0"))
NUM_KILLS = 4
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
LONGEST_WORK = 2.0  # seconds until the signal
NUM_OBJECTS = 30
HEIGHT, WIDTH = 48, 64


@dataclass
class Annotator:
    """Stores annotations of every photo again and again, and exports them, until the server is gone."""

    address: str
    confirmed: dict[str, int]
    problems: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin: a thread a photo, one that writes the data set, one that downloads."""
        for photo_id in self.confirmed:
            self._begin(self._store, photo_id)
        self._begin(self._ask, "POST", "/v1/project/dataset?which=annotated")
        self._begin(self._ask, "GET", "/v1/project/export?format=masks&which=annotated")

    def wait(self) -> None:
        """Wait until every thread has noticed that the server is gone."""
        for thread in self.threads:
            thread.join()

    def _begin(self, work, *args) -> None:
        self.threads.append(threading.Thread(target=work, args=args))
        self.threads[-1].start()

    def _store(self, photo_id: str) -> None:
        with httpx.Client(base_url=self.address, timeout=60) as client:
            while True:
                version = self.confirmed[photo_id]
                try:
                    answer = client.put(f"/v1/project/photos/{photo_id}", json=edit(version))
                except httpx.HTTPError:
                    return
                if answer.status_code != 200:
                    self.problems.append(answer.text)
                    return
                self.confirmed[photo_id] = answer.json()["version"]

    def _ask(self, method: str, path: str) -> None:
        with httpx.Client(base_url=self.address, timeout=60) as client:
            while True:
                try:
                    answer = client.request(method, path)
                except httpx.HTTPError:
                    return
                if answer.status_code >= 500:
                    self.problems.append(answer.text)


def edit(version):
    """Make the edit that follows a version: all of its objects are called after it."""
    masks = np.random.default_rng(version).random((NUM_OBJECTS, HEIGHT, WIDTH)) > 0.5
    objects = [
        {"id": number, "label": f"v{version + 1}", "mask": to_rle(mask)}
        for number, mask in enumerate(masks, 1)
    ]
    return {"version": version, "width": WIDTH, "height": HEIGHT, "done": True, "objects": objects}


def check_photos(client, confirmed):
    """Check that every photo is as of its last confirmed edit or the one that was under way; return the versions."""
    versions = {}
    for photo in client.get("/v1/project").json()["photos"]:
        body = client.get(f"/v1/project/photos/{photo['id']}").json()
        version = versions[photo["id"]] = body["version"]
        assert version - confirmed.get(photo["id"], 0) in (0, 1)
        labels = [one["label"] for one in body["objects"]]
        assert labels == [f"v{version}"] * (NUM_OBJECTS if version else 0)
    return versions


def test_what_a_killed_server_confirmed_is_there_after_a_restart(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        picture(WIDTH, HEIGHT, seed=number).save(photos / f"{number}.png")
    (tmp_path / "temporary").mkdir()
    draws = random.Random(SEED)
    confirmed = {}
    for _ in range(NUM_KILLS):
        server = Server(str(photos), TMPDIR=str(tmp_path / "temporary"))
        with server.client() as client:
            confirmed = check_photos(client, confirmed)
        annotator = Annotator(server.address, confirmed)
        annotator.start()
        time.sleep(draws.random() * LONGEST_WORK)
        number = draws.choice(SIGNALS)
        code = server.stop(number)
        annotator.wait()
        assert annotator.problems == []
        assert code == (0 if number == signal.SIGTERM else -number)
        assert "Traceback" not in server.errors
    server = Server(str(photos), TMPDIR=str(tmp_path / "temporary"))
    with server.client() as client:
        check_photos(client, confirmed)
    assert server.stop() == 0
    assert sum(confirmed.values()) > 0
    database = sqlite3.connect(photos / "seem-project.sqlite")
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()
    for path in tmp_path.rglob("*"):
        assert not is_part(path), path
        if path.suffix == ".json":
            json.loads(path.read_bytes())
