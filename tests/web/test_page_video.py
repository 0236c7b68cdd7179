"""A video: its first frame is a photo, whose objects are followed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from page_driver import PageDriver

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


def test_an_object_is_followed_and_exported(desktop: PageDriver, video: Path):
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
    assert page.locator("#player-frame").text_content() == "1 / 8"
    page.locator("#player-position").fill("7")
    assert page.locator("#player-frame").text_content() == "8 / 8"
    page.locator("#player-play").click()
    page.get_by_role("button", name="Play").wait_for()
    with zipfile.ZipFile(io.BytesIO(desktop.export("YouTube-VIS"))) as archive:
        assert archive.namelist()
