"""A video: its first frame is a photo, whose objects are followed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from page_driver import PageDriver, decode

SIZE = (160, 120)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A bright disc that moves to the right, in WebM, which every Chromium plays."""
    import av

    path = tmp_path / "disc.webm"
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(8):
            pixels = np.full((SIZE[1], SIZE[0], 3), 40, dtype=np.uint8)
            pixels[np.hypot(columns - 50 - 6 * index, rows - 60) < 28] = (240, 120, 20)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def follow_the_disc(desktop: PageDriver, video: Path) -> None:
    """Open the video, mark the disc in its first frame, and follow it to the last one."""
    desktop.visit()
    desktop.photo_size = SIZE
    page = desktop.page
    with page.expect_file_chooser() as choosing:
        page.locator("#drop-zone").click()
    choosing.value.set_files(video)
    desktop.wait_until_announced("The photo is ready")
    desktop.press(50, 60)
    desktop.wait_for_objects(1)
    page.locator("#player-track").click()
    desktop.wait_until_announced("Followed through 8 frames")


def test_an_object_is_followed_and_exported(desktop: PageDriver, video: Path):
    follow_the_disc(desktop, video)
    page = desktop.page
    assert page.locator("#player-frame").text_content() == "1 / 8"
    page.locator("#player-position").fill("7")
    assert page.locator("#player-frame").text_content() == "8 / 8"
    page.locator("#player-play").click()
    page.get_by_role("button", name="Play").wait_for()
    with zipfile.ZipFile(io.BytesIO(desktop.export("YouTube-VIS"))) as archive:
        assert archive.namelist()


def test_a_correction_in_a_later_frame_is_followed(desktop: PageDriver, video: Path):
    follow_the_disc(desktop, video)
    page = desktop.page
    page.locator("#player-position").fill("5")
    page.wait_for_timeout(500)
    with page.expect_response(lambda answer: answer.url.endswith("/segment")) as answering:
        desktop.press(80, 110)  # below the disc
    corrected = decode(answering.value.json()["objects"][0]["mask"])
    assert corrected[110, 80]
    with page.expect_request(lambda request: request.url.endswith("/jobs")) as asking:
        page.get_by_role("button", name="Follow again").click()
    first, later = asking.value.post_data_json["objects"]
    assert (first["frame"], later["frame"], later["id"]) == (0, 5, first["id"])
    frames: list[np.ndarray] = []

    def note(answer) -> None:
        if "/frames?" in answer.url and answer.ok:
            frames.extend(decode(each["objects"][0]["mask"]) for each in answer.json()["frames"])

    page.on("response", note)
    page.locator("#task").wait_for(state="hidden")
    assert len(frames) == 8
    np.testing.assert_array_equal(frames[5], corrected)
    page.wait_for_timeout(1000)
    page.reload()
    page.get_by_role("button", name="Follow again").wait_for()  # corrections are stored
