"""A project at the page: proposals, going on, storage on the server, two annotators, import and export."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from page_driver import PageDriver, ServerProcess, decode
from seem.data.opening import open_dataset
from seem.server.app import PAGE

DESKTOP, PHONE = (1280, 800), (390, 844)
ASTRONAUT_SIZE = (512, 512)
NAMES = ["astronaut.jpg", "cat.jpg", "coffee.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three photos."""
    folder = tmp_path / "street"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(PAGE / "examples" / name, folder / name)
    return folder


@pytest.fixture
def project(folder: Path) -> Iterator[ServerProcess]:
    """A server of the project."""
    process = ServerProcess(str(folder))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def visit(browser, project: ServerProcess) -> Iterator[Callable[..., PageDriver]]:
    """A function that lets a person look at all photos; in the end no console may have an error."""
    drivers = []

    def open_page(size: tuple[int, int] = DESKTOP) -> PageDriver:
        is_phone = size == PHONE
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, has_touch=is_phone, is_mobile=is_phone)
        driver = PageDriver(context.new_page(), project, is_phone)
        drivers.append(driver)
        driver.photo_size = ASTRONAUT_SIZE
        driver.page.goto(project.address)
        driver.page.wait_for_selector(".photo-card")
        return driver

    yield open_page
    problems = [problem for driver in drivers for problem in driver.problems]
    for driver in drivers:
        driver.page.context.close()
    assert [problem for problem in problems if not is_of_conflict_or_restart(problem)] == []


def is_of_conflict_or_restart(problem: str) -> bool:
    """Browsers report answers of 409, and a server that is away, as errors."""
    return "status of 409" in problem or "ERR_CONNECTION_REFUSED" in problem


def ask(project: ServerProcess, path: str) -> dict:
    with urllib.request.urlopen(f"{project.address}v1/{path}", timeout=60) as answer:
        return json.load(answer)


def photos_of(project: ServerProcess) -> dict[str, dict]:
    return {photo["name"]: photo for photo in ask(project, "project")["photos"]}


def objects_of(project: ServerProcess, name: str) -> list[dict]:
    return ask(project, f"project/photos/{photos_of(project)[name]['id']}")["objects"]


def open_photo(driver: PageDriver, name: str) -> None:
    driver.page.locator(".photo-card", has_text=name).click()
    wait_until_open(driver, name)


def wait_until_open(driver: PageDriver, name: str) -> None:
    driver.page.wait_for_selector(f"#photo-name:has-text('{name}')")
    driver.wait_until_announced("The photo is ready")


def wait_until_stored(driver: PageDriver) -> None:
    driver.page.wait_for_timeout(400)  # changes are stored a moment later
    driver.page.wait_for_selector("#storing[data-state=stored]", state="attached")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_photos_are_annotated_one_after_the_other(visit, project, size):
    driver = visit(size)
    page = driver.page
    assert page.locator("#project-count").text_content() == "0 of 3 photos done"
    page.locator("#project-continue").click()
    wait_until_open(driver, "astronaut.jpg")
    driver.press(220, 130)
    driver.wait_for_objects(1)
    wait_until_stored(driver)
    (stored,) = objects_of(project, "astronaut.jpg")
    expected = project.segment(PAGE / "examples/astronaut.jpg", driver.sent[0]["prompts"])
    np.testing.assert_array_equal(decode(stored["mask"]), expected)
    page.locator("#photo-done").click()
    wait_until_open(driver, "cat.jpg")
    assert page.locator("#project-position").text_content() == "2 / 3"
    assert photos_of(project)["astronaut.jpg"]["done"]
    page.locator("#project-overview").click()
    page.wait_for_selector(".photo-card.is-done")
    assert page.locator("#project-count").text_content() == "1 of 3 photos done"


def test_proposals_are_accepted_corrected_or_deleted(visit, project):
    driver = visit()
    page = driver.page
    open_photo(driver, "coffee.jpg")
    page.locator("#propose-everything").click()
    page.wait_for_selector(".is-proposed")
    count = page.locator(".is-proposed").count()
    assert count >= 2
    wait_until_stored(driver)
    assert photos_of(project)["coffee.jpg"]["proposals"] == count
    page.locator(".is-proposed .accept").first.click()
    assert page.locator(".is-proposed").count() == count - 1
    page.keyboard.press("Control+z")
    assert page.locator(".is-proposed").count() == count
    page.keyboard.press("Control+Shift+z")
    page.locator(".is-proposed .object-name").first.click()
    page.keyboard.press("Delete")
    assert page.locator(".is-proposed").count() == count - 2
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    assert page.locator(".is-proposed").count() == 0
    wait_until_stored(driver)
    assert photos_of(project)["coffee.jpg"]["objects"] == count - 1


def test_the_classes_of_the_project_are_found_in_every_photo(visit, project):
    driver = visit()
    page = driver.page
    open_photo(driver, "astronaut.jpg")
    page.locator("#propose-classes").click()
    page.locator("#class-name").fill("person, cat, cup")
    page.keyboard.press("Enter")
    wait_until_stored(driver)
    page.locator("#project-overview").click()
    button = page.locator("#project-propose-all")
    assert button.text_content() == "Find my classes in all"
    button.click()
    page.wait_for_selector("#project-propose-all:not(:has-text('Stop'))")
    assert ask(project, "project")["classes"]["names"] == ["person", "cat", "cup"]
    labels = {name: {one["label"] for one in objects_of(project, name)} for name in NAMES}
    assert "person" in labels["astronaut.jpg"]
    assert "cat" in labels["cat.jpg"]
    assert all(one["proposed"] for one in objects_of(project, "cat.jpg"))


@pytest.mark.parametrize("takes_theirs", [True, False])
def test_two_annotators_lose_nothing(visit, project, takes_theirs):
    first, second = visit(), visit()
    for driver in (first, second):
        open_photo(driver, "astronaut.jpg")
    first.press(220, 130)
    first.wait_for_objects(1)
    first.page.locator(
        ".object-name", has_text="person"
    ).wait_for()  # the name comes after the mask
    first.page.wait_for_timeout(1000)
    wait_until_stored(first)
    theirs = objects_of(project, "astronaut.jpg")
    second.press(450, 450)
    second.wait_for_objects(1)
    page = second.page
    page.wait_for_selector("#conflict-dialog[open]")
    assert "1 object, yours 1" in page.locator("#conflict-text").text_content()
    page.locator("#conflict-theirs" if takes_theirs else "#conflict-mine").click()
    wait_until_stored(second)
    stored = objects_of(project, "astronaut.jpg")
    assert (stored == theirs) == takes_theirs
    if takes_theirs:
        page.keyboard.press("Control+z")
        wait_until_stored(second)
        assert objects_of(project, "astronaut.jpg") != theirs


def test_a_server_that_is_killed_loses_nothing(visit, project):
    driver = visit()
    page = driver.page
    open_photo(driver, "astronaut.jpg")
    driver.press(220, 130)
    driver.wait_for_objects(1)
    driver.press(450, 450)
    driver.wait_for_objects(2)
    wait_until_stored(driver)
    project.process.kill()
    project.process.wait()
    page.keyboard.press("Delete")
    page.wait_for_selector("#storing[data-state=failed]")
    project.start()
    page.wait_for_selector("#storing[data-state=stored]")
    assert len(objects_of(project, "astronaut.jpg")) == 1
    page.reload()
    wait_until_open(driver, "astronaut.jpg")
    driver.wait_for_objects(1)
    driver.press(450, 450)
    driver.wait_for_objects(2)


def test_the_project_is_exported_trained_on_and_imported(visit, project, folder, tmp_path):
    driver = visit()
    page = driver.page
    open_photo(driver, "astronaut.jpg")
    driver.press(220, 130)
    driver.wait_for_objects(1)
    page.keyboard.press("Control+Enter")
    wait_until_open(driver, "cat.jpg")
    page.locator("#project-overview").click()
    page.locator("#project-export").click()
    page.locator("#write-dataset").click()
    page.wait_for_selector("#dataset-command:not([hidden])")
    assert "seem finetune --data street/seem-project.json" in page.locator("#dataset-line").text_content()  # fmt: skip
    dataset = open_dataset(str(folder / "seem-project.json"), "train")
    (image,) = dataset.images
    (one,) = dataset.objects[image.id]
    (stored,) = objects_of(project, "astronaut.jpg")
    np.testing.assert_array_equal(one.mask(), decode(stored["mask"]))
    with page.expect_download() as downloading:
        page.locator(".choice", has=page.get_by_text("COCO", exact=True)).click()
    exported = tmp_path / "coco.json"
    downloading.value.save_as(exported)
    page.locator("#project-export-dialog [data-close]").click()
    page.locator("#project-import-file").set_input_files(exported)
    page.get_by_role("button", name="Replace those too").click()
    page.wait_for_selector("#notices:has-text('1 object of 1 photo imported')")


def test_objects_of_a_single_photo_are_imported(desktop: PageDriver, tmp_path):
    desktop.open_example("Astronaut", ASTRONAUT_SIZE)
    desktop.press(220, 130)
    desktop.wait_for_objects(1)
    exported = desktop.export("COCO")
    (tmp_path / "a.json").write_bytes(exported)
    page = desktop.page
    page.locator("#show-export").click()
    with page.expect_file_chooser() as choosing:
        page.locator("#import-objects").click()
    choosing.value.set_files(tmp_path / "a.json")
    desktop.wait_for_objects(2)
    first, second = desktop.masks()
    np.testing.assert_array_equal(first, second)
