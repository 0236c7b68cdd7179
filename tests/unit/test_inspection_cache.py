"""An unchanged data set is checked once; one that has changed in any way is checked again."""

import os
import shutil

import pytest

import tiny_training as tiny
from seem.data import archives
from seem.data.opening import open_dataset
from seem.finetuning import inspection_cache
from seem.finetuning.inspection_cache import inspect_once


@pytest.fixture
def checks(tmp_path, monkeypatch):
    """The data sets that were really checked."""
    monkeypatch.setattr(inspection_cache, "cache_folder", lambda: tmp_path / "cache")
    checked, original = [], inspection_cache.inspect_dataset

    def inspect_dataset(dataset, **options):
        checked.append(dataset)
        return original(dataset, **options)

    monkeypatch.setattr(inspection_cache, "inspect_dataset", inspect_dataset)
    return checked


def with_faults(document):
    document["annotations"][0]["segmentation"] = []
    document["images"].append({"id": 9, "file_name": "gone.png", "height": 48, "width": 64})


def opened(folder):
    return open_dataset(str(folder), "all", tolerant=True)


def test_an_unchanged_set_is_checked_once(tmp_path, checks):
    folder = tiny.coco_bricks(tmp_path / "set", change=with_faults)
    first = inspect_once(opened(folder))
    steps = []
    assert inspect_once(opened(folder), lambda: steps.append(1)) == first
    assert (len(checks), len(steps)) == (1, 5)
    assert first.unusable_images == {9}
    assert len(first.flaws) == 2


def rewrite(file):
    """Write other content of the same length, and set the time of change back."""
    state, content = file.stat(), file.read_bytes()
    file.write_bytes(bytes(reversed(content)))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


CHANGES = {
    "a photo": lambda root: rewrite(root / "images" / "p1.png"),
    "a photo less": lambda root: (root / "images" / "p1.png").unlink(),
    "a mask": lambda root: rewrite(root / "masks" / "p1.png"),
    "a file more": lambda root: (root / "masks" / "stray.png").write_bytes(b"x"),
    "the list of classes": lambda root: (root / "classes.txt").write_text("stone\n"),
    "the program": lambda _: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_set_that_has_changed_is_checked_again(tmp_path, checks, monkeypatch, change):
    folder = tiny.bricks(tmp_path / "set")
    inspect_once(opened(folder))
    CHANGES[change](folder)
    if change == "the program":
        monkeypatch.setattr(inspection_cache, "_program_stamp", lambda: "another")
    again = inspect_once(opened(folder))
    assert len(checks) == 2
    assert inspect_once(opened(folder)) == again
    assert len(checks) == 2


def test_a_cache_that_cannot_be_read_or_written_is_none(tmp_path, checks, monkeypatch):
    folder = tiny.bricks(tmp_path / "set")
    report = inspect_once(opened(folder))
    (file,) = (tmp_path / "cache" / "checked").iterdir()
    file.write_text('{"stamp": ')
    assert inspect_once(opened(folder)) == report
    monkeypatch.setattr(inspection_cache, "cache_folder", lambda: file)  # no folder
    assert inspect_once(opened(folder)) == report
    assert len(checks) == 3


def test_a_set_that_changes_while_it_is_checked_is_not_cached(tmp_path, checks):
    folder = tiny.bricks(tmp_path / "set")
    inspect_once(opened(folder), lambda: (folder / "classes.txt").write_text("a\nb\n"))
    inspect_once(opened(folder))
    assert len(checks) == 2


def test_an_unchanged_zip_is_checked_once_whichever_process_unpacks_it(tmp_path, checks):
    folder = tiny.coco_bricks(tmp_path / "set")
    shutil.make_archive(tmp_path / "bricks", "zip", folder)
    first = inspect_once(opened(tmp_path / "bricks.zip"))
    archives._unpack.cache_clear()  # another process has its own folder
    assert inspect_once(opened(tmp_path / "bricks.zip")) == first
    assert len(checks) == 1
    (folder / "stray.txt").write_text("x")
    shutil.make_archive(tmp_path / "bricks", "zip", folder)
    inspect_once(opened(tmp_path / "bricks.zip"))
    assert len(checks) == 2
