"""What `seem data check` did not use of a folder, and parts that cannot be opened."""

import json

import pytest

import tiny_data as tiny
from seem.cli.main import main
from seem.data.opening import open_dataset
from seem.data.unused_files import find_unused_files


def unused_of(folder):
    parts = [open_dataset(str(folder), "all", tolerant=True)]
    return {note.where: note.what for note in find_unused_files(folder, parts)}


@pytest.mark.parametrize(
    "write", [tiny.yolo, tiny.folder_of_maps, tiny.folder_of_objects, tiny.folder_of_classes]
)
def test_of_a_sound_set_every_file_is_used(tmp_path, write):
    assert unused_of(write(tmp_path)) == {}


def test_annotations_nobody_asked_for_and_photos_nobody_names_are_listed(tmp_path):
    folder = tmp_path / "set"
    tiny.coco(folder)
    for stem in ("x", "y"):
        tiny.photo(folder / "val2017" / f"{stem}.jpg", (10, 14))
    tiny.text(folder / "old" / "a.xml", "<annotation/>")
    tiny.text(folder / "README.txt", "by hand")
    tiny.text(folder / ".hidden" / "a.json", "{}")
    unused = unused_of(folder)
    assert unused["old/a.xml"] == "nothing in this set refers to it"
    assert unused["val2017/*.jpg"] == "2 files, no annotation names them: x.jpg, y.jpg"
    assert "README.txt" not in unused
    assert not any(where.startswith(".hidden") for where in unused)


def test_the_command_line_lists_them(tmp_path, capsys):
    tiny.yolo(tmp_path)
    tiny.text(tmp_path / "old/export.json", "{}")
    assert main(["data", "check", str(tmp_path), "--quick"]) == 1  # nothing is annotated in train
    assert "Files that are not used:\n  old/export.json: nothing" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path), "--quick", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [note["where"] for note in record["unused_files"]] == ["old/export.json"]


def test_parts_that_can_be_read_are_reported_beside_one_that_cannot(tmp_path, capsys):
    tiny.photo(tmp_path / "train" / "a.png", (10, 14))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 10, "width": 14}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
    tiny.text(tmp_path / "train/_annotations.coco.json", json.dumps(document))
    document["images"] = []
    tiny.text(tmp_path / "valid/_annotations.coco.json", json.dumps(document))
    assert main(["data", "check", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "part train" in printed
    assert "Problem: " in printed
    assert "has no photo in its part 'valid'" in printed
