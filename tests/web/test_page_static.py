"""The page without a server, from a static host, below a path: nano in the browser gives the masks of the API."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seem
from page_driver import PageDriver, decode

NODE_MODULES = Path(__file__).resolve().parents[2] / ".venv/node"
COFFEE = ("Coffee", (600, 400))
CUP = [(200, 60), (360, 60), (380, 200), (300, 300), (180, 240)]
MIN_IOU = 0.99

OBJECTS = """
async () => {
  const { Works } = await import(new URL("state/works.js", document.baseURI).href);
  const [work] = await new Works().list();
  return work.history.present.objects;
}
"""
WORKER_STATE = """
async () => {
  const { active } = await navigator.serviceWorker.ready;
  while (active.state === "activating") await new Promise((resolve) => setTimeout(resolve, 50));
  return active.state;
}
"""


class StaticHost(SimpleHTTPRequestHandler):
    """What any static host does, without a log."""

    def log_message(self, *_values: object) -> None:
        pass


class Site:
    """A static host with the page at `path`."""

    def __init__(self, folder: Path, path: str) -> None:
        handler = partial(StaticHost, directory=str(folder))
        self.host = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.host.server_port}/{path}"
        self.thread = threading.Thread(target=self.host.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.host.shutdown()
        self.host.server_close()


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folder, in which `seem page` has written below two folders."""
    if not (NODE_MODULES / "node_modules/onnxruntime-web").exists():
        pytest.skip("make test-web brings onnxruntime-web where npm is")
    folder = tmp_path_factory.mktemp("site")
    words = ["page", "--out", str(folder / "tools/seem"), "--runtime", str(NODE_MODULES), "--quiet"]
    # in a process of its own: here types are checked, and PyTorch's symbolic sizes are no `int`
    subprocess.run([sys.executable, "-m", "seem", *words], check=True)
    return folder


@pytest.fixture(scope="session")
def site(site_folder: Path) -> Iterator[Site]:
    started = Site(site_folder, "tools/seem/")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def photo(photos: Path) -> seem.EncodedImage:
    """The photo as the Python API encodes it."""
    return seem.load("nano", device="cpu", precision="exact").encode(photos / "coffee.jpg")


@pytest.fixture
def visitor(browser, site: Site) -> Iterator[PageDriver]:
    """A person at the page; no error may be left in the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    driver = PageDriver(context.new_page(), site, is_phone=False)
    yield driver
    problems = driver.problems
    context.close()
    assert problems == []


def objects(driver: PageDriver) -> list[dict[str, Any]]:
    """The objects of the photo as they are stored."""
    driver.page.wait_for_timeout(1000)
    return driver.page.evaluate(OBJECTS)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def to_prompt(prompt: dict[str, Any]) -> Any:
    """What the page asks as the Python API takes it."""
    kind, positive = prompt["kind"], prompt.get("positive", True)
    if kind == "point":
        return seem.Point(prompt["x"], prompt["y"], positive=positive)
    if kind == "box":
        return seem.Box(prompt["x0"], prompt["y0"], prompt["x1"], prompt["y1"])
    if kind == "stroke":
        return seem.Stroke(prompt["points"], width=prompt["width"], positive=positive)
    if kind == "scribble":
        return seem.Scribble(prompt["strokes"], width=prompt["width"], positive=positive)
    if kind == "polygon":
        return seem.Polygon(prompt["points"])
    assert kind == "text"
    return seem.Text(prompt["phrase"])


def assert_same_object(found: dict[str, Any], photo: seem.EncodedImage) -> None:
    """The object is the one that the Python API segments by the same prompts."""
    (expected,) = photo.segment(*map(to_prompt, found["prompts"])).masks
    assert expected.any()
    assert iou(decode(found["mask"]), expected) >= MIN_IOU


DRAWN = {
    "click": lambda driver: driver.press(290, 190),
    "box": lambda driver: driver.drag([(160, 20), (420, 290)]),
    "stroke": lambda driver: driver.drag([(200, 80), (280, 190), (380, 120)]),
    "scribble": lambda driver: driver.drag([(200, 80), (280, 190), (300, 110)]),
    "polygon": lambda driver: [driver.press(*corner) for corner in [*CUP, CUP[0]]],
}


def test_every_tool_gives_the_mask_of_the_api(visitor: PageDriver, photo: seem.EncodedImage):
    visitor.open_example(*COFFEE)
    for count, (tool, draw) in enumerate(DRAWN.items(), 1):
        visitor.choose_tool(tool)
        draw(visitor)
        visitor.wait_for_objects(count)
    for found in objects(visitor):
        assert_same_object(found, photo)


def test_corrections_give_the_mask_of_the_api(visitor: PageDriver, photo: seem.EncodedImage):
    visitor.open_example(*COFFEE)
    visitor.press(290, 150)
    visitor.wait_for_objects(1)
    visitor.choose_intent("add")
    visitor.press(280, 270)
    visitor.choose_intent("remove")
    visitor.press(480, 330)
    visitor.page.locator("#photo-canvas:not(.is-waiting)").wait_for()
    (found,) = objects(visitor)
    assert [prompt["positive"] for prompt in found["prompts"]] == [True, True, False]
    assert_same_object(found, photo)


def test_words_give_the_masks_of_the_api(visitor: PageDriver, photo: seem.EncodedImage):
    visitor.open_example(*COFFEE)
    visitor.page.locator("#phrase").fill("cup")
    visitor.page.locator("#describe-best").click()
    visitor.wait_for_objects(1)
    (best,) = objects(visitor)
    assert_same_object(best, photo)
    visitor.page.locator("#undo").click()
    visitor.wait_for_objects(0)
    visitor.page.locator("#phrase").press("Enter")
    expected = photo.find("cup")
    visitor.wait_for_objects(len(expected.masks))
    for found, mask in zip(objects(visitor), expected.masks, strict=True):
        assert iou(decode(found["mask"]), mask) >= MIN_IOU


def test_words_that_fit_nothing_are_answered_in_words(visitor: PageDriver):
    visitor.open_example(*COFFEE)
    visitor.page.locator("#phrase").fill("zeppelin in the rain")
    visitor.page.keyboard.press("Enter")
    visitor.page.locator(".notice").wait_for()
    assert "zeppelin" in visitor.page.locator(".notice").text_content()


def test_regions_and_things_are_those_of_the_api(visitor: PageDriver, photo: seem.EncodedImage):
    visitor.open_example(*COFFEE)
    for task, expected in (("panoptic", photo.panoptic()), ("instances", photo.instances())):
        visitor.page.locator(f"[data-whole={task}]").click()
        visitor.wait_for_objects(len(expected.masks))
        stored = objects(visitor)
        assert [found["label"] for found in stored] == list(expected.labels)
        for found, mask in zip(stored, expected.masks, strict=True):
            assert iou(decode(found["mask"]), mask) >= MIN_IOU
        visitor.page.locator("#undo").click()
        visitor.wait_for_objects(0)


def test_an_object_of_a_second_photo_is_segmented(
    visitor: PageDriver, photo: seem.EncodedImage, photos: Path
):
    visitor.open_example(*COFFEE)
    page = visitor.page
    page.get_by_text("Show it in another photo").click()
    with page.expect_file_chooser() as choosing:
        page.locator("#reference-open").click()
    choosing.value.set_files(photos / "coffee.jpg")
    page.locator("#reference-dialog").wait_for()
    page.locator("#reference-tools [data-tool=box]").click()
    box = page.locator("#reference-canvas").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    page.locator("#reference-done").click()
    visitor.wait_for_objects(1)
    (found,) = objects(visitor)
    (reference,) = found["prompts"]
    marks = [to_prompt(prompt) for prompt in reference["prompts"]]
    (expected,) = photo.segment(seem.Reference(photo, *marks)).masks
    assert iou(decode(found["mask"]), expected) >= MIN_IOU


def test_masks_leave_as_coco(visitor: PageDriver):
    visitor.open_example(*COFFEE)
    visitor.press(290, 190)
    visitor.wait_for_objects(1)
    (found,) = objects(visitor)
    (mask,) = visitor.masks()
    np.testing.assert_array_equal(mask, decode(found["mask"]))


def test_what_needs_a_server_is_not_offered(visitor: PageDriver, tmp_path: Path):
    visitor.visit()
    assert all(each.is_hidden() for each in visitor.page.locator(".server-only").all())
    assert visitor.page.locator("[data-whole=everything]").is_hidden()
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    visitor.page.locator("#file-input").set_input_files(film)
    visitor.page.locator(".notice").wait_for()
    assert "seem serve" in visitor.page.locator(".notice").text_content()


def test_it_works_offline_after_the_first_visit(browser, site_folder: Path):
    site = Site(site_folder, "tools/seem/")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    driver = PageDriver(context.new_page(), site, is_phone=False)
    driver.open_example(*COFFEE)
    driver.press(290, 190)
    driver.wait_for_objects(1)
    assert driver.page.evaluate(WORKER_STATE) == "activated"
    (before,) = objects(driver)
    site.stop()
    driver.page.reload()
    driver.wait_for_objects(1)
    assert driver.page.evaluate("crossOriginIsolated")  # so that it has threads
    driver.page.locator("#photo-canvas:not(.is-waiting)").wait_for()
    driver.press(560, 60)
    driver.wait_for_objects(2)
    driver.page.locator("#phrase").fill("cup")  # loads a graph that was not used before
    driver.page.locator("#describe-best").click()
    driver.wait_for_objects(3)
    assert objects(driver)[0]["mask"] == before["mask"]
    assert driver.problems == []
    context.close()


def test_nothing_is_loaded_from_elsewhere(visitor: PageDriver, site: Site):
    addresses: list[str] = []
    visitor.page.context.on("request", lambda request: addresses.append(request.url))
    visitor.open_example(*COFFEE)
    visitor.press(290, 190)
    visitor.wait_for_objects(1)
    assert addresses
    elsewhere = [each for each in addresses if not each.startswith((site.address, "blob:"))]
    assert elsewhere == []


def test_a_new_version_replaces_the_old_one_as_a_whole(browser, site_folder: Path, tmp_path: Path):
    folder = tmp_path / "site"
    copy = folder / "seem"
    copy.parent.mkdir()
    for source in sorted((site_folder / "tools/seem").rglob("*")):
        target = copy / source.relative_to(site_folder / "tools/seem")
        if source.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(source)
    site = Site(folder, "seem/")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    driver = PageDriver(context.new_page(), site, is_phone=False)
    try:
        driver.visit()
        driver.page.evaluate(WORKER_STATE)
        change_version(copy)
        driver.page.reload()
        driver.page.get_by_role("button", name="Reload").wait_for()
        assert driver.page.locator("#drop-zone").text_content().strip().startswith("Choose")
        driver.page.get_by_role("button", name="Reload").click()
        driver.page.get_by_text("Pick a photo").wait_for()
        names = driver.page.evaluate("async () => (await caches.keys()).length")
        assert names == 1
        assert driver.problems == []
    finally:
        context.close()
        site.stop()


def change_version(folder: Path) -> None:
    """Change a file of a page, as a new version does."""
    from seem.server.static_page import write_file_list

    index = folder / "index.html"
    text = index.read_text()
    index.unlink()  # the other copy of it stays
    index.write_text(text.replace("Choose a photo", "Pick a photo"))
    (folder / "files.js").unlink()
    write_file_list(folder)


def test_a_page_that_is_half_uploaded_leaves_the_old_one_alone(
    browser, site_folder: Path, tmp_path: Path
):
    folder = tmp_path / "seem"
    folder.mkdir()
    for source in sorted((site_folder / "tools/seem").rglob("*")):
        target = folder / source.relative_to(site_folder / "tools/seem")
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(source)
    site = Site(tmp_path, "seem/")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    driver = PageDriver(context.new_page(), site, is_phone=False)
    try:
        driver.visit()
        driver.page.evaluate(WORKER_STATE)
        change_version(folder)
        (folder / "index.html").write_text("half of")
        driver.page.reload()
        driver.page.wait_for_selector("#examples .card")
        driver.page.wait_for_timeout(2000)
        assert driver.page.get_by_role("button", name="Reload").count() == 0
    finally:
        context.close()
        site.stop()


def test_the_list_of_files_is_complete(site_folder: Path):
    folder = site_folder / "tools/seem"
    text = (folder / "files.js").read_text()
    files = json.loads(text.removeprefix("self.SEEM_FILES = ").rstrip(";\n"))
    listed = {*files["needed"], *files["optional"], "files.js", "service_worker.js"}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert listed == there
