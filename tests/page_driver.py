"""What tests of the page share: a server in a process of its own, and a person at a browser."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seem.data.coco_rle import rle_to_mask

SOURCE = Path(__file__).resolve().parents[1] / "src"
START_SECONDS = 120.0
ANSWER_MILLISECONDS = 60_000

TO_SCREEN = """
async ([width, height, x, y]) => {
  const module = (name) => import(new URL(name, document.baseURI).href);
  const { fitViewport, toCanvas } = await module("canvas/viewport.js");
  const { photoInsets } = await module("canvas/insets.js");
  const canvas = document.getElementById("photo-canvas");
  const size = { width: canvas.clientWidth, height: canvas.clientHeight };
  const [left, top] = toCanvas(fitViewport({ width, height }, size, photoInsets()), x, y);
  const box = canvas.getBoundingClientRect();
  return [box.left + left, box.top + top];
}
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`seem serve` as a person starts it."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "seem", "serve", *self.arguments, "--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, "seem serve has ended"
            assert time.monotonic() < deadline, "seem serve has not started in time"
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def ask(self, path: str, body: bytes, media_type: str) -> Any:
        """The JSON answer to a POST request."""
        headers = {"Content-Type": media_type}
        request = urllib.request.Request(f"{self.address}v1/{path}", body, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def segment(self, photo: Path, prompts: Sequence[dict[str, Any]]) -> np.ndarray:
        """The mask that the API gives for prompts about a photo."""
        image = self.ask("images", photo.read_bytes(), "image/jpeg")
        body = json.dumps({"prompts": prompts}).encode()
        answer = self.ask(f"images/{image['id']}/segment", body, "application/json")
        return decode(answer["objects"][0]["mask"])


def decode(mask: dict[str, Any]) -> np.ndarray:
    """A mask in run-length code, by COCO's own tool."""
    return rle_to_mask(mask["counts"], tuple(mask["size"]))


class PageDriver:
    """A person at the page: by mouse, or by fingers on a phone."""

    def __init__(self, page: Any, server: ServerProcess, is_phone: bool) -> None:
        self.page = page
        self.server = server
        self.is_phone = is_phone
        self.photo_size = (0, 0)
        self.sent: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.screen: Any = None
        page.set_default_timeout(ANSWER_MILLISECONDS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note_console)
        page.on("request", self._note_request)

    def _note_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _note_request(self, request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/segment"):
            self.sent.append(request.post_data_json)

    def visit(self) -> None:
        self.page.goto(self.server.address)
        self.page.wait_for_selector("#examples .card")

    def open_example(self, name: str, size: tuple[int, int]) -> None:
        """Open an example photo of this width and height; returns when it is encoded."""
        self.visit()
        self.photo_size = size
        self.page.get_by_role("button", name=name).first.click()
        self.wait_until_announced("The photo is ready")

    def wait_until_announced(self, text: str) -> None:
        self.page.wait_for_selector(f"#announcements:has-text('{text}')", state="attached")

    def choose_tool(self, name: str) -> None:
        self.page.locator(f"#tool-rail [data-tool={name}]").click()

    def choose_intent(self, name: str) -> None:
        self.page.locator(f"#intents [data-intent={name}]").click()

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """Where a position of the photo is drawn."""
        left, top = self.page.evaluate(TO_SCREEN, [*self.photo_size, x, y])
        return left, top

    def press(self, x: float, y: float) -> None:
        """Click or tap a position of the photo."""
        position = self.on_screen(x, y)
        if self.is_phone:
            self.page.touchscreen.tap(*position)
        else:
            self.page.mouse.click(*position)

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line through positions of the photo."""
        line = [self.on_screen(*point) for point in points]
        if self.is_phone:
            self._drag_by_finger(line)
            return
        self.page.mouse.move(*line[0])
        self.page.mouse.down()
        for position in line[1:]:
            self.page.mouse.move(*position, steps=4)
        self.page.mouse.up()

    def _drag_by_finger(self, line: Sequence[tuple[float, float]]) -> None:
        self.touch("touchStart", [line[0]])
        for position in line[1:]:
            self.touch("touchMove", [position])
        self.touch("touchEnd", [])

    def touch(self, kind: str, fingers: Sequence[tuple[float, float]]) -> None:
        """Send what a touch screen sends."""
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
        if self.screen is None:  # one for all, since a touch goes on from the one before
            self.screen = self.page.context.new_cdp_session(self.page)
        self.screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def wait_for_objects(self, count: int) -> None:
        rows = self.page.locator(".object-row")
        deadline = time.monotonic() + ANSWER_MILLISECONDS / 1000
        while rows.count() != count:
            assert time.monotonic() < deadline, f"{rows.count()} objects, not {count}"
            self.page.wait_for_timeout(100)

    def open_sheet(self) -> None:
        """On a phone, open the panel."""
        handle = self.page.locator("#sheet-handle")
        if self.is_phone and handle.get_attribute("aria-expanded") == "false":
            handle.click()
            self.page.wait_for_timeout(400)

    def close_sheet(self) -> None:
        handle = self.page.locator("#sheet-handle")
        if self.is_phone and handle.get_attribute("aria-expanded") == "true":
            handle.click()
            self.page.wait_for_timeout(400)

    def export(self, name: str) -> bytes:
        """The file behind one of the choices of the export dialog."""
        self.page.locator("#show-export").click()
        with self.page.expect_download() as downloading:
            self.page.locator(".choice", has=self.page.get_by_text(name, exact=True)).click()
        content = Path(downloading.value.path()).read_bytes()
        self.page.locator("#export-dialog [data-close]").click()
        return content

    def masks(self) -> list[np.ndarray]:
        """The masks that COCO export gives."""
        annotations = json.loads(self.export("COCO"))["annotations"]
        return [decode(annotation["segmentation"]) for annotation in annotations]

    def names(self) -> list[str]:
        """The names in the list of objects."""
        return self.page.locator(".object-name").all_text_contents()
