"""A browser and a server for the tests of the page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_driver import PageDriver, ServerProcess

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
QUIET = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.web)


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of the example photos."""
    return PHOTOS


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A running server."""
    process = ServerProcess()
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Debian's Chromium, or another one on the path."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("There is no Chromium; install it (Debian: apt-get install chromium).")
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=path, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture(params=list(SIZES))
def driver(request: pytest.FixtureRequest, browser, server: ServerProcess) -> Iterator[PageDriver]:
    """A person at the page, on a desktop and on a phone; no error may be left in the console."""
    yield from drive(browser, server, request.param)


@pytest.fixture
def desktop(browser, server: ServerProcess) -> Iterator[PageDriver]:
    """A person at a desktop."""
    yield from drive(browser, server, "desktop")


@pytest.fixture
def phone(browser, server: ServerProcess) -> Iterator[PageDriver]:
    """A person with a phone."""
    yield from drive(browser, server, "phone")


def drive(browser, server: ServerProcess, device: str) -> Iterator[PageDriver]:
    width, height = SIZES[device]
    is_phone = device == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=is_phone, is_mobile=is_phone
    )
    driver = PageDriver(context.new_page(), server, is_phone)
    yield driver
    problems = driver.problems
    context.close()
    assert problems == []
