"""Nothing is lost: reloads, a server that starts again, errors with a way out."""

import numpy as np

from page_driver import PageDriver, ServerProcess

COFFEE = ("Coffee", (600, 400))


def test_reload_restores_objects_and_undo(driver: PageDriver):
    driver.open_example(*COFFEE)
    driver.press(290, 190)
    driver.wait_for_objects(1)
    driver.press(560, 60)
    driver.wait_for_objects(2)
    driver.page.wait_for_timeout(3000)  # names arrive, and the work is stored
    names, masks = driver.names(), driver.masks()
    driver.page.reload()
    driver.wait_for_objects(2)
    assert driver.names() == names
    for restored, mask in zip(driver.masks(), masks, strict=True):
        np.testing.assert_array_equal(restored, mask)
    driver.page.locator("#undo").click()
    driver.wait_for_objects(1)


def test_two_tabs_with_one_photo_lose_nothing(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    desktop.press(290, 190)
    desktop.wait_for_objects(1)
    desktop.page.wait_for_timeout(2000)
    other = PageDriver(desktop.page.context.new_page(), desktop.server, is_phone=False)
    other.photo_size = desktop.photo_size
    other.page.goto(desktop.page.url)
    other.wait_for_objects(1)
    other.wait_until_announced("The photo is ready")
    other.press(560, 60)
    other.wait_for_objects(2)
    desktop.wait_for_objects(2)
    desktop.page.locator(".object-name").first.click()
    desktop.page.keyboard.press("Delete")
    other.wait_for_objects(1)
    desktop.wait_for_objects(1)
    assert desktop.names() == other.names()
    assert other.problems == []


def test_photos_of_before_are_offered_and_can_be_forgotten(desktop: PageDriver):
    desktop.open_example(*COFFEE)
    desktop.press(290, 190)
    desktop.wait_for_objects(1)
    desktop.page.wait_for_timeout(2000)
    desktop.page.locator("#go-home").click()
    card = desktop.page.locator("#recent .card")
    card.wait_for()
    assert "1 object" in card.text_content()
    card.click()
    desktop.wait_for_objects(1)
    desktop.page.locator("#go-home").click()
    desktop.page.get_by_role("button", name="Forget coffee.jpg").click()
    card.wait_for(state="detached")
    assert desktop.page.locator("#recent-section").is_hidden()


def test_a_server_that_started_again_gets_the_photo_again(browser):
    server = ServerProcess()
    server.start()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        driver = PageDriver(context.new_page(), server, is_phone=False)
        driver.open_example(*COFFEE)
        driver.press(290, 190)
        driver.wait_for_objects(1)
        server.stop()
        driver.press(560, 60)
        driver.page.get_by_role("button", name="Try again").wait_for()
        server.start()
        driver.page.get_by_role("button", name="Try again").click()
        driver.wait_for_objects(2)
    finally:
        context.close()
        server.stop()


def test_a_file_that_is_no_photo_is_refused_in_words(driver: PageDriver, tmp_path):
    driver.visit()
    file = tmp_path / "notes.jpg"
    file.write_text("no picture")
    with driver.page.expect_file_chooser() as choosing:
        driver.page.locator("#drop-zone").click()
    choosing.value.set_files(file)
    notice = driver.page.locator(".notice")
    notice.wait_for()
    assert "notes.jpg" in notice.text_content()
    assert driver.page.locator("#home").is_visible()
    driver.problems = [each for each in driver.problems if "status of 4" not in each]


def test_dark_and_light_stay_as_chosen(driver: PageDriver):
    driver.visit()
    root = driver.page.locator("html")
    assert root.get_attribute("data-theme") == "light"
    driver.page.locator("#toggle-theme").click()
    driver.page.reload()
    assert root.get_attribute("data-theme") == "dark"


MANY_OBJECTS = """
async () => {
  const { Works } = await import("/state/works.js");
  const { encodeMask } = await import("/masks/rle.js");
  const { startHistory } = await import("/state/history.js");
  const file = await (await fetch("/examples/coffee.jpg")).blob();
  const data = new Uint8Array(20 * 20).fill(1);
  const objects = Array.from({ length: 200 }, (_, i) => ({
    id: i + 1, label: `square ${i + 1}`, score: 0.5, color: i, visible: true, prompts: [], erased: [], source: "edited",
    mask: encodeMask({ x: (i % 20) * 30, y: Math.floor(i / 20) * 40, width: 20, height: 20, data }, [400, 600]),
  }));
  await new Works().update("many", () => ({
    id: "many", name: "many.jpg", width: 600, height: 400, file, thumbnail: file, imageId: null, video: null,
    history: startHistory({ objects, nextId: 201 }), references: {}, classes: [], changed: Date.now(),
  }));
}
"""


def test_two_hundred_objects_are_handled(desktop: PageDriver):
    desktop.visit()
    desktop.page.evaluate(MANY_OBJECTS)
    desktop.page.reload()
    desktop.page.get_by_role("button", name="many.jpg").first.click()
    desktop.wait_until_announced("The photo is ready")
    desktop.photo_size = COFFEE[1]
    desktop.wait_for_objects(200)
    desktop.choose_tool("pan")
    desktop.press(3 * 30 + 10, 2 * 40 + 10)
    assert desktop.page.locator(".object-row.is-selected").text_content().startswith("square 44")
    desktop.page.keyboard.press("Delete")
    desktop.wait_for_objects(199)
    desktop.page.keyboard.press("h")
    assert desktop.page.locator(".object-row.is-hidden").count() == 199
    desktop.page.keyboard.press("Control+z")
    desktop.page.keyboard.press("Control+z")
    desktop.wait_for_objects(200)
    assert len(desktop.masks()) == 200
