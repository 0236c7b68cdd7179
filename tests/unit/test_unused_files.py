"""What `seem data check` did not use of a folder, and parts that cannot be opened."""

import json

import pytest

import tiny_data as tiny
from seem.cli.main import main
from seem.data.inspection import inspect_dataset
from seem.data.opening import list_splits, open_dataset
from seem.data.records import FlawKind
from seem.data.unused_files import find_unused_files


def unused_of(folder):
    parts = [open_dataset(str(folder), "all", tolerant=True)]
    return {note.where: note.what for note in find_unused_files(folder, parts)}


@pytest.mark.parametrize(
    "write", [tiny.yolo, tiny.folder_of_maps, tiny.folder_of_objects, tiny.folder_of_classes]
)
def test_of_a_sound_set_every_file_is_used(tmp_path, write):
    assert unused_of(write(tmp_path)) == {}


@pytest.mark.parametrize("write", [tiny.grabcut, tiny.davis])
def test_photos_in_sub_folders_of_benchmarks_are_listed(tmp_path, write):
    write_deeper_photo(write(tmp_path))
    unused = find_unused_files(tmp_path, [open_first_part(tmp_path)])
    assert [note.what for note in unused] == ["no annotation names it"]


@pytest.mark.parametrize("write", [tiny.ade20k, tiny.cityscapes, tiny.bdd, tiny.sunrgbd])
def test_photos_in_sub_folders_that_are_read_say_that_they_have_no_map(tmp_path, write):
    photo = write_deeper_photo(write(tmp_path))
    dataset = open_first_part(tmp_path)
    assert find_unused_files(tmp_path, [dataset]) == ()
    report = inspect_dataset(dataset)
    named = [finding for finding in (*report.flaws, *report.notes) if photo.stem in str(finding)]
    kinds = {FlawKind.MISSING_MASK_FILE, FlawKind.NO_ANNOTATION}
    assert {finding.kind for finding in named} & kinds


def write_deeper_photo(root):
    """Write a photo without an annotation into a sub-folder; return its path."""
    dataset = open_first_part(root)
    first = dataset.images[0].path
    assert find_unused_files(root, [dataset]) == ()
    return tiny.photo(first.parent / "deeper" / f"lonely{first.suffix}", (10, 14))


def open_first_part(folder):
    kind = "bdd100k:" if (folder / "labels/sem_seg").exists() else ""
    kind = "davis2017:" if (folder / "ImageSets/2017").exists() else kind
    return open_dataset(f"{kind}{folder}", list_splits(f"{kind}{folder}")[0], tolerant=True)


TOOLS = {
    "labelme": ("x/a.json", {"shapes": [], "imagePath": "a.jpg"}),
    "cvat": ("annotations.xml", '<annotations><image id="0" name="x/a.jpg" width="16" height="12"/></annotations>'),
    "via": ("via.json", {"1": {"filename": "a.jpg", "regions": [], "shape_attributes": 0}}),
    "labelstudio": ("tasks.json", [{"data": {"image": "/x/a.jpg"}, "annotations": [{"result": []}]}]),
    "datumaro": ("annotations/all.json", {
        "dm_format_version": "1.0", "categories": {}, "items": [{"id": "x/a", "annotations": []}],
    }),
    "labelme_xml": ("x/a.xml", "<annotation><filename>a.jpg</filename><object><polygon><pt><x>1</x></pt></polygon>"
                    "</object></annotation>"),
}  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_photos_that_a_tool_does_not_name_are_listed(tmp_path, tool):
    name, content = TOOLS[tool]
    tiny.text(tmp_path / name, content)
    for photo in ("x/a.jpg", "x/b.jpg", "y/z/c.jpg"):
        tiny.photo(tmp_path / photo, tiny.A_HW)
    parts = [open_dataset(f"{tool}:{tmp_path}", "all", tolerant=True)]
    assert [image.path.name for image in parts[0].images] == ["a.jpg"]
    notes = {note.where: note.what for note in find_unused_files(tmp_path, parts)}
    assert notes["x/b.jpg"] == "no annotation names it"
    assert set(notes) == {"x/b.jpg", "y/z/c.jpg"}


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
