import os
from pathlib import Path

import pytest

from seem.cli.image_files import plan_jobs
from seem.errors import SeemError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to stand in, and a way to fill it."""
    monkeypatch.chdir(tmp_path)

    def put(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    return put


def planned(*arguments, out="out", overwrite=False):
    jobs = plan_jobs(arguments, Path(out), overwrite)
    return {Path(job.image.source).as_posix(): (job.folder / job.stem).as_posix() for job in jobs}


def test_a_file_gets_its_stem(here):
    here("trip/a.b.jpg", "readme")
    assert planned("trip/a.b.jpg", "readme") == {"trip/a.b.jpg": "out/a.b", "readme": "out/readme"}


def test_sub_folders_are_mirrored_and_sorted(here):
    here(
        "in/b.jpg", "in/x/y/a.PNG", "in/a.webp", "in/notes.txt", "in/.hidden.jpg", "in/.cache/a.jpg"
    )
    found = planned("in")
    assert found == {"in/a.webp": "out/a", "in/b.jpg": "out/b", "in/x/y/a.PNG": "out/x/y/a"}
    assert list(found) == ["in/a.webp", "in/b.jpg", "in/x/y/a.PNG"]


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["a.jpg", "x/a.jpg"], ["a", "x/a"]),
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg", "a.jpg.png", "a.png"]),
    ],
)
def test_photos_that_share_a_stem_keep_their_suffix(here, names, stems):
    here(*(f"in/{name}" for name in names))
    assert list(planned("in").values()) == [f"out/{stem}" for stem in stems]


def test_photos_of_one_name_from_two_folders_get_the_folders_name(here):
    here("one/a.jpg", "two/a.jpg", "two/b.jpg")
    expected = {"one/a.jpg": "out/one/a.jpg", "two/a.jpg": "out/two/a.jpg", "two/b.jpg": "out/b"}
    assert planned("one", "two") == expected
    assert planned("one/a.jpg", "two/a.jpg", "two/b.jpg") == expected


def test_photos_that_cannot_be_told_apart_are_refused(here):
    here("one/in/a.jpg", "two/in/a.jpg")
    with pytest.raises(
        ValueError, match=r"one/in/a\.jpg and two/in/a\.jpg would write the same files"
    ):
        planned("one/in", "two/in")


def test_a_photo_that_is_named_twice_is_done_once(here):
    here("in/a.jpg", "in/b.jpg")
    assert planned("in/b.jpg", "in", "./in/a.jpg") == {"in/b.jpg": "out/b", "in/a.jpg": "out/a"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", {"in/a.jpg": "out/a"}),
        ("in/?.png", {"in/b.png": "out/b"}),
        ("in/[ab].*", {"in/a.jpg": "out/a", "in/b.png": "out/b"}),
        ("in/**/*.jpg", {"in/a.jpg": "out/a", "in/x/c.jpg": "out/x/c"}),
        ("in/*", {"in/a.jpg": "out/a", "in/b.png": "out/b", "in/x/c.jpg": "out/x/c"}),
        ("*/x", {"in/x/c.jpg": "out/in/x/c"}),
    ],
)
def test_patterns_find_photos(here, pattern, expected):
    here("in/a.jpg", "in/b.png", "in/x/c.jpg", "in/notes.txt")
    assert planned(pattern) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(here):
    here("a[1].jpg", "a1.jpg")
    assert planned("a[1].jpg") == {"a[1].jpg": "out/a[1]"}


def test_results_are_no_photos(here):
    here("a.jpg", "a.json", "a.overlay.png", "a.mask-0.png", "a.panoptic.png", "b.overlay.png")
    assert list(planned(".")) == ["a.jpg", "b.overlay.png"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", r"empty holds no photo \(\.avif"),
        ("empty/*.jpg", r"No photo matches empty/\*\.jpg"),
    ],
)
def test_where_there_is_no_photo_that_is_said(here, argument, message):
    here("empty/notes.txt")
    with pytest.raises(SeemError, match=message):
        planned(argument)


def test_a_missing_file_is_left_to_its_turn(here):
    assert planned("nowhere.jpg", "-") == {"nowhere.jpg": "out/nowhere", "-": "out/stdin"}


@pytest.mark.parametrize("result", ["a.json", "a.overlay.png", "a.mask-0.png"])
def test_results_are_not_overwritten_unless_asked(here, result):
    here("in/a.jpg", "in/b.jpg", f"out/{result}")
    with pytest.raises(
        FileExistsError, match=r"1 of 2 photos have results already: out/a\.\*; pass --overwrite"
    ):
        planned("in")
    assert len(planned("in", overwrite=True)) == 2
    with pytest.raises(FileExistsError, match=r"There are results already: out/a\.\*"):
        planned("in/a.jpg")
    assert len(planned("in/b.jpg")) == 1


def test_an_out_that_is_a_file_is_refused(here):
    here("a.jpg", "file")
    for out in ("file", "file/below"):
        with pytest.raises(
            NotADirectoryError, match=f"Results cannot go to {out}: .*file is a file"
        ):
            planned("a.jpg", out=out)


def test_an_out_that_may_not_be_written_is_refused(here, monkeypatch):
    here("a.jpg")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        PermissionError,
        match=r"Results cannot go to out: .* may not be written; choose another --out",
    ):
        planned("a.jpg")


def test_a_folder_that_may_not_be_listed_is_an_error(here, monkeypatch):
    here("in/a.jpg")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        planned("in")
