"""Every example runs, with a network of a few thousand weights, in a folder of its own."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from tiny import CONFIGS, picture, tiny_network

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = {
    "box_and_text": ["box.png", "both.png"],
    "click": ["seem-out/click.overlay.png", "seem-out/click.mask-0.png"],
    "everything_panoptic": ["seem-out/everything.panoptic.png"],
    "folder": ["seem-out/astronaut.json", "seem-out/cat.json", "seem-out/coffee.json"],
    "own_classes": ["seem-out/own_classes.json"],
    "save_coco": ["seem-out/save_coco.json", "seem-out/save_coco.mask-1.png"],
    "session": ["seem-out/session.mask-0.png"],
    "several_objects": ["cup.png", "spoon.png", "handle.png", "several_objects.png"],
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run an example as a person would, but for the weights."""
    monkeypatch.setitem(zoo.KNOWN, "nano", replace(zoo.KNOWN["nano"], config=CONFIGS["nano"]))
    weights = tmp_path / "tiny.safetensors"
    write_tensors(weights, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    monkeypatch.setenv("SEEM_EXAMPLE_MODEL", str(weights))
    monkeypatch.chdir(tmp_path)

    def start(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        try:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            return stop.code
        return 0

    return start


def test_every_example_is_known_here():
    assert sorted(FILES) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", FILES)
def test_an_example_runs_and_writes_its_files(start, name):
    assert start(name) == 0
    assert [file for file in FILES[name] if not Path(file).stat().st_size] == []


def test_the_folder_example_goes_on_past_a_bad_file(start, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    picture(40, 30).save(folder / "c.jpg")
    (folder / "a.jpg").write_bytes(b"x")
    assert start("folder", folder) == 1
    ran = capsys.readouterr()
    assert "a.jpg is not a picture" in ran.err
    assert ran.out.startswith("c.jpg: ")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_shows(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""')


@pytest.mark.parametrize("path", sorted((EXAMPLES / "photos").glob("*.jpg")), ids=lambda path: path.stem)
def test_a_photo_is_small_and_its_terms_are_beside_it(path):
    assert path.stat().st_size <= 100_000
    assert Image.open(path).mode == "RGB"
    assert f"`{path.name}`" in (path.parent / "TERMS.md").read_text()
