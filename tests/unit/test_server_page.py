"""The page that the server sends: complete, and within its content security policy."""

import re
from pathlib import Path

import pytest

from seem.server.app import PAGE
from server import running

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(PAGE.rglob("*.js"))
IMPORT = re.compile(r'^(?:import|export)\b[^;]*?from "([^"]+)";', re.MULTILINE)


def test_nothing_is_inline_or_from_elsewhere():
    html = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    for file in [PAGE / "index.html", *PAGE.rglob("*.css"), *MODULES]:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import url", text), file


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_modules_import_what_is_there(module: Path):
    for target in IMPORT.findall(module.read_text("utf-8")):
        assert (module.parent / target).is_file(), target


def test_every_icon_and_element_that_is_named_exists():
    html = (PAGE / "index.html").read_text("utf-8")
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert set(re.findall(r'href="#(icon-[^"]+)"', html)) <= ids
    for module in MODULES:
        text = module.read_text("utf-8")
        assert set(re.findall(r'byId\("([^"]+)"\)', text)) <= ids, module
        assert {f"icon-{name}" for name in re.findall(r'\bicon\("([^"]+)"\)', text)} <= ids, module


def test_examples_are_those_of_the_repository():
    for file in (PAGE / "examples").iterdir():
        assert file.read_bytes() == (ROOT / "examples" / "photos" / file.name).read_bytes()


def test_the_server_sends_the_page_as_browsers_take_it():
    with running() as client:
        page = client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        module = client.get("/main.js")
        assert module.headers["content-type"].startswith("text/javascript")
        assert client.get("/icon.svg").headers["content-type"] == "image/svg+xml"
        assert client.get("/examples/cat.jpg").headers["content-type"] == "image/jpeg"
