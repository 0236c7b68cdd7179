"""Every tool, used as a person would."""

import numpy as np
import pytest

from page_driver import PageDriver

COFFEE = ("Coffee", (600, 400))
CUP = [(200, 60), (360, 60), (380, 200), (300, 300), (180, 240)]

DRAWN = {
    "click": lambda driver: driver.press(290, 190),
    "box": lambda driver: driver.drag([(160, 20), (420, 290)]),
    "stroke": lambda driver: driver.drag([(200, 80), (280, 190), (380, 120)]),
    "scribble": lambda driver: (
        driver.drag([(200, 80), (280, 190)]),
        driver.drag([(300, 190), (380, 110)]),
    ),
    "polygon": lambda driver: [driver.press(*corner) for corner in [*CUP, CUP[0]]],
}


@pytest.mark.parametrize("tool", list(DRAWN))
def test_a_tool_gives_the_mask_that_the_api_gives(driver: PageDriver, photos, tool: str):
    driver.open_example(*COFFEE)
    driver.choose_tool(tool)
    DRAWN[tool](driver)
    driver.wait_for_objects(1)
    prompts = driver.sent[-1]["prompts"]
    assert [prompt["kind"] for prompt in prompts] == [{"click": "point"}.get(tool, tool)]
    (mask,) = driver.masks()
    assert mask.any()
    np.testing.assert_array_equal(mask, driver.server.segment(photos / "coffee.jpg", prompts))


def test_a_box_is_sent_where_it_was_drawn(driver: PageDriver):
    driver.open_example(*COFFEE)
    driver.choose_tool("box")
    driver.drag([(160, 20), (420, 290)])
    driver.wait_for_objects(1)
    (box,) = driver.sent[-1]["prompts"]
    drawn = [box["x0"], box["y0"], box["x1"], box["y1"]]
    np.testing.assert_allclose(drawn, [160, 20, 420, 290], atol=2)


def test_marks_add_to_the_object_and_take_away_from_it(driver: PageDriver):
    driver.open_example(*COFFEE)
    driver.press(290, 150)
    driver.wait_for_objects(1)
    driver.choose_intent("add")
    driver.press(280, 270)
    driver.page.wait_for_timeout(100)
    driver.choose_intent("remove")
    driver.press(480, 330)
    driver.page.wait_for_timeout(4000)
    driver.wait_for_objects(1)
    kinds = [[each.get("positive") for each in body["prompts"]] for body in driver.sent]
    assert [True, True, False] in kinds


def test_the_eraser_takes_pixels_away_for_good(driver: PageDriver):
    driver.open_example(*COFFEE)
    driver.press(290, 190)
    driver.wait_for_objects(1)
    (before,) = driver.masks()
    driver.choose_tool("eraser")
    driver.drag([(250, 190), (330, 190)])
    (erased,) = driver.masks()
    assert erased[190, 260:320].sum() == 0
    assert 0 < erased.sum() < before.sum()
    driver.choose_tool("click")
    driver.choose_intent("add")
    driver.press(290, 100)
    driver.page.wait_for_timeout(3000)
    (refined,) = driver.masks()
    assert refined[190, 260:320].sum() == 0


def test_right_button_removes(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    desktop.press(290, 190)
    desktop.wait_for_objects(1)
    desktop.page.mouse.click(*desktop.on_screen(470, 330), button="right")
    desktop.page.wait_for_timeout(3000)
    assert [each["positive"] for each in desktop.sent[-1]["prompts"]] == [True, False]


def test_the_pointer_shows_a_preview_that_makes_no_object(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    with desktop.page.expect_response(lambda answer: answer.url.endswith("/segment")):
        desktop.page.mouse.move(*desktop.on_screen(290, 190))
    desktop.wait_for_objects(0)


def test_two_fingers_zoom_and_draw_nothing(phone: PageDriver):
    phone.open_example(*COFFEE)
    left, top = phone.on_screen(300, 200)
    phone.touch("touchStart", [(left - 30, top)])
    phone.touch("touchStart", [(left - 30, top), (left + 30, top)])
    for spread in (50, 70, 90):
        phone.touch("touchMove", [(left - spread, top), (left + spread, top)])
    phone.touch("touchEnd", [])
    phone.page.touchscreen.tap(left, top)
    phone.wait_for_objects(1)
    (point,) = phone.sent[-1]["prompts"]
    assert abs(point["x"] - 300) < 4  # the middle of the two fingers stays where it is
    assert abs(point["y"] - 200) < 4


def test_everything_by_keyboard(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    page = desktop.page
    page.locator("#photo-canvas").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    desktop.wait_for_objects(1)
    page.keyboard.press("b")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    desktop.wait_for_objects(2)
    assert desktop.sent[-1]["prompts"][0]["kind"] == "box"
    page.keyboard.press("Control+z")
    desktop.wait_for_objects(1)
    page.keyboard.press("Control+Shift+z")
    desktop.wait_for_objects(2)
    page.keyboard.press("Delete")
    desktop.wait_for_objects(1)
