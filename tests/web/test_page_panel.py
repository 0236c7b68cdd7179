"""Words, classes, the list of objects, the second photo, export."""

import io
import json
import zipfile

import numpy as np
from PIL import Image

from page_driver import PageDriver

ASTRONAUT = ("Astronaut", (512, 512))
COFFEE = ("Coffee", (600, 400))


def click_two_objects(driver: PageDriver) -> None:
    """Two objects that do not touch: the face, and the helmet in the corner."""
    driver.open_example(*ASTRONAUT)
    driver.press(220, 120)
    driver.wait_for_objects(1)
    driver.press(440, 450)
    driver.wait_for_objects(2)


def test_words_find_every_object(driver: PageDriver):
    driver.open_example(*ASTRONAUT)
    driver.open_sheet()
    driver.page.locator("#phrase").fill("person")
    driver.page.keyboard.press("Enter")
    driver.page.locator(".object-row").first.wait_for()
    assert set(driver.names()) == {"person"}


def test_words_that_fit_nothing_are_answered_in_words(driver: PageDriver):
    driver.open_example(*ASTRONAUT)
    driver.open_sheet()
    driver.page.locator("#phrase").fill("zeppelin in the rain")
    driver.page.keyboard.press("Enter")
    driver.page.locator(".notice").wait_for()
    assert "zeppelin" in driver.page.locator(".notice").text_content()


def test_own_classes_are_the_only_names(driver: PageDriver):
    driver.open_example(*COFFEE)
    driver.open_sheet()
    driver.page.get_by_text("My own classes").click()
    driver.page.locator("#class-name").fill("bowl, dining table, Bowl")
    driver.page.keyboard.press("Enter")
    assert driver.page.locator(".chip").count() == 2
    driver.page.locator("[data-whole=panoptic]").click()
    driver.page.locator(".object-row").first.wait_for()
    assert set(driver.names()) <= {"bowl", "dining table"}


def test_a_lower_threshold_shows_more(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    counts = []
    for threshold in ("0.8", "0.25"):
        desktop.page.locator("#threshold").select_option(threshold)
        with desktop.page.expect_response(lambda answer: answer.url.endswith("/panoptic")):
            desktop.page.locator("[data-whole=panoptic]").click()
        desktop.page.locator("#task").wait_for(state="hidden")
        counts.append(len(desktop.names()))
    assert counts[0] < counts[1]


def test_a_second_answer_about_the_whole_photo_replaces_the_first(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    for _ in range(2):
        with desktop.page.expect_response(lambda answer: answer.url.endswith("/panoptic")):
            desktop.page.locator("[data-whole=panoptic]").click()
        desktop.page.locator("#task").wait_for(state="hidden")
    names = desktop.names()
    assert names
    desktop.page.locator("#undo").click()
    assert desktop.names() == names


def test_rename_hide_recolour_merge_delete(driver: PageDriver):
    click_two_objects(driver)
    masks = driver.masks()
    page = driver.page
    driver.open_sheet()
    page.locator(".object-name").first.click()
    page.keyboard.press("F2")
    page.keyboard.type("pilot")
    page.keyboard.press("Enter")
    assert driver.names()[0] == "pilot"
    before = page.locator(".swatch").first.get_attribute("aria-label")
    page.locator(".swatch").first.click()
    assert page.locator(".swatch").first.get_attribute("aria-label") != before
    page.get_by_role("button", name="Hide pilot").click()
    driver.close_sheet()
    assert len(driver.masks()) == 1
    driver.open_sheet()
    page.get_by_role("button", name="Show pilot").click()
    page.locator(".object-name").first.click()
    page.locator(".object-name").nth(1).click(modifiers=["Shift"])
    page.locator("#merge").click()
    assert driver.names() == ["pilot"]
    driver.close_sheet()
    np.testing.assert_array_equal(driver.masks()[0], masks[0] | masks[1])
    driver.open_sheet()
    page.locator("#remove").click()
    driver.wait_for_objects(0)
    driver.close_sheet()
    page.locator("#undo").click()
    driver.wait_for_objects(1)


def test_a_second_photo_shows_what_is_meant(desktop: PageDriver, photos):
    desktop.open_example(*COFFEE)
    page = desktop.page
    page.get_by_text("Show it in another photo").click()
    with page.expect_file_chooser() as choosing:
        page.locator("#reference-open").click()
    choosing.value.set_files(photos / "cat.jpg")
    canvas = page.locator("#reference-canvas")
    canvas.click()
    page.locator("#reference-done").click()
    desktop.wait_for_objects(1)
    (prompt,) = desktop.sent[-1]["prompts"]
    assert prompt["kind"] == "reference"
    assert prompt["prompts"][0]["kind"] == "point"


def test_exported_pictures_and_masks_agree(desktop: PageDriver):
    click_two_objects(desktop)
    masks = desktop.masks()
    union = masks[0] | masks[1]
    rows, columns = np.flatnonzero(union.any(1)), np.flatnonzero(union.any(0))
    cropped = union[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    cut_out = np.asarray(Image.open(io.BytesIO(desktop.export("Cut-out"))))
    np.testing.assert_array_equal(cut_out[..., 3] > 0, cropped)

    with zipfile.ZipFile(io.BytesIO(desktop.export("Masks"))) as archive:
        files = [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]
        assert [file.mode for file in files] == ["L", "L"]
        for file, mask in zip(files, masks, strict=True):
            np.testing.assert_array_equal(np.asarray(file), mask * 255)

    with zipfile.ZipFile(io.BytesIO(desktop.export("Label map"))) as archive:
        values = np.asarray(Image.open(io.BytesIO(archive.read("label_map.png"))))
        labels = json.loads(archive.read("labels.json"))
    assert [label["id"] for label in labels] == [1, 2]
    np.testing.assert_array_equal(values == 2, masks[1])
    np.testing.assert_array_equal(values == 1, masks[0] & ~masks[1])

    overlay = Image.open(io.BytesIO(desktop.export("Overlay")))
    assert overlay.size == ASTRONAUT[1]


def test_the_server_exports_for_other_tools(desktop: PageDriver):
    click_two_objects(desktop)
    for name in ("COCO polygons", "COCO panoptic", "YOLO", "LabelMe", "CVAT", "Label Studio"):
        content = desktop.export(name)
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert archive.testzip() is None
                assert archive.namelist()
        else:
            assert len(json.loads(content)["annotations"]) == 2
