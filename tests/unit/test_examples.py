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
from seem.cli.gallery import GALLERY_IMAGES, TILE_SIZE, make_gallery
from tiny import CONFIGS, picture, tiny_network, tiny_relative

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDY = "xdecoder-focal-t"  # the model that writes captions
FILES = {
    "audio": ["seem-out/audio.json", "seem-out/audio.mask-0.png"],
    "box_and_text": ["box.png", "both.png"],
    "caption": [],
    "click": ["seem-out/click.overlay.png", "seem-out/click.mask-0.png"],
    "detector_boxes": ["seem-out/detector_boxes.json", "seem-out/detector_boxes.mask-1.png"],
    "everything": ["everything.png"],
    "compose": ["seem-out/compose.mask-0.png", "seem-out/compose.mask-1.png"],
    "everything_panoptic": ["seem-out/panoptic.panoptic.png"],
    "find": ["seem-out/find.json", "seem-out/find.overlay.png"],
    "folder": ["seem-out/astronaut.json", "seem-out/cat.json", "seem-out/coffee.json"],
    "large_image": ["large_part.png", "seem-out/large.json", "seem-out/large.segments.npy"],
    "own_classes": ["seem-out/own_classes.json"],
    "retrieval": ["retrieval.png"],
    "reference": ["reference_box.png", "reference_click.png", "reference_stroke.png"],
    "refine": ["seem-out/refine.mask-0.png"],
    "save_coco": ["seem-out/save_coco.json", "seem-out/save_coco.mask-1.png"],
    "session": ["seem-out/session.mask-0.png"],
    "video": ["video.png"],
    "several_objects": ["head.png", "helmet.png", "badge.png", "several_objects.png"],
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run an example as a person would, but for the weights."""
    monkeypatch.setitem(
        zoo.MODEL_CARDS, "nano", replace(zoo.MODEL_CARDS["nano"], config=CONFIGS["nano"])
    )
    weights = tmp_path / "tiny.safetensors"
    write_tensors(weights, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    monkeypatch.setenv("SEEM_EXAMPLE_MODEL", str(weights))
    speaker = tiny_relative("xdecoder").network
    monkeypatch.setitem(
        zoo.MODEL_CARDS, WORDY, replace(zoo.MODEL_CARDS[WORDY], config=lambda: speaker.config)
    )
    write_tensors(tmp_path / "words.safetensors", speaker.state_dict(), {MODEL_KEY: WORDY})
    monkeypatch.setenv("SEEM_EXAMPLE_XDECODER", str(tmp_path / "words.safetensors"))
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


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with numpy 2
@pytest.mark.parametrize("name", FILES)
def test_an_example_runs_and_writes_its_files(start, name):
    assert start(name) == 0
    assert [file for file in FILES[name] if not Path(file).stat().st_size] == []


def test_the_retrieval_example_ranks_every_photo(start, capsys):
    assert start("retrieval") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[1] for line in lines) == ["astronaut.jpg", "cat.jpg", "coffee.jpg"]
    assert lines == sorted(lines, key=lambda line: -float(line.split()[0]))


def test_the_detector_example_keeps_names_and_scores(start, capsys):
    assert start("detector_boxes") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "cup 0.92",
        "spoon 0.71",
    ]


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


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "photos").glob("*.jpg")), ids=lambda path: path.stem
)
def test_a_photo_is_small_and_its_terms_are_beside_it(path):
    assert path.stat().st_size <= 100_000
    with Image.open(path) as opened:
        assert opened.mode == "RGB"
    assert f"`{path.name}`" in (path.parent / "TERMS.md").read_text()


def test_the_gallery_sets_what_the_examples_made(start, tmp_path, monkeypatch):
    shown = GALLERY_IMAGES[:2]
    page = make_gallery(EXAMPLES, tmp_path / "docs" / "gallery.png", shown)
    with Image.open(page) as made:
        assert made.width > len(shown) * TILE_SIZE[0]
        assert made.height > TILE_SIZE[1]
    assert Path.cwd() == tmp_path
    assert {picture.example for picture in GALLERY_IMAGES} <= set(FILES)
    with pytest.raises(FileNotFoundError, match="nothing"):
        make_gallery(EXAMPLES, tmp_path / "x.png", [replace(GALLERY_IMAGES[0], example="nothing")])
