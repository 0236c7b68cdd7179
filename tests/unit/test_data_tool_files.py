"""JSON, XML and tables of annotation tools in the encodings and states that people have them, and images by name."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path

import pytest

import tiny_data as tiny
from seem.data.readers.tool_files import (
    ImageIndex,
    has_text_file,
    list_files,
    read_json_file,
    read_xml_file,
    text_sample,
)
from seem.data.records import DataError
from seem.data.text_files import TextFile

CAFE = {"name": "café"}
CAFE_JSON = json.dumps(CAFE, ensure_ascii=False)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def message_of(read, path):
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path)).strip()


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        CAFE_JSON.encode(),
        codecs.BOM_UTF8 + CAFE_JSON.encode(),
        CAFE_JSON.encode("utf-16"),
        CAFE_JSON.encode("utf-16-be"),
        CAFE_JSON.encode("utf-32"),
        b'\r\n{"name":\r\n"caf\\u00e9"}\r\n',
    ],
    ids=["utf-8", "mark", "utf-16", "utf-16 without a mark", "utf-32", "carriage returns"],
)
def test_json_in_any_unicode_encoding(tmp_path, content):
    assert read_json_file(written(tmp_path / "a.json", content)) == CAFE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; export it again."),
        (b" \n", "is empty; export it again."),
        (CAFE_JSON.encode("latin-1"), "is not in UTF-8 (invalid continuation byte); save it as UTF-8."),
        (b'{"a": [1, 2', "is not valid JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "is not valid JSON (Extra data"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "is not valid JSON (Exceeds the limit"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 3\n", "is a pointer that Git LFS left"),
    ],
)  # fmt: skip
def test_json_that_is_none_says_what_it_is(tmp_path, content, message):
    file = written(tmp_path / "a.json", content)
    assert message_of(read_json_file, file).startswith(message)


def test_pipe_is_no_json(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    assert message_of(read_json_file, tmp_path / "a.json").startswith("is a pipe, no file")


def test_missing_json(tmp_path):
    assert "cannot be read" in message_of(read_json_file, tmp_path / "a.json")


# --- XML --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("", "utf-8"), ("", "utf-8-sig"), ("", "utf-16"), ("iso-8859-1", "latin-1"), ("cp1252", "cp1252")],
)  # fmt: skip
def test_xml_in_the_encoding_that_it_declares(tmp_path, declared, encoding):
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    content = f'{declaration}<image name="café"/>'.encode(encoding)
    assert read_xml_file(written(tmp_path / "a.xml", content)).get("name") == "café"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; export it again."),
        (b"<a><b/>", "is not valid XML (no element found: line 1, column 7); it may be cut short"),
        (b'<a name="caf\xe9"/>', "is not valid XML (not well-formed (invalid token): line 1, column 12); it is not"),
        (b'<?xml version="1.0" encoding="GBK"?><a/>', "cannot be decoded (multi-byte"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "cannot be decoded (unknown encoding"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "declares XML entities"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"), "declares XML entities"),
    ],
)  # fmt: skip
def test_xml_that_is_none_says_what_it_is(tmp_path, content, message):
    file = written(tmp_path / "a.xml", content)
    assert message_of(read_xml_file, file).startswith(message)


def test_xml_does_not_open_other_files(tmp_path):
    written(tmp_path / "secret.txt", b"secret")
    content = f'<!DOCTYPE a SYSTEM "{(tmp_path / "secret.txt").as_uri()}"><a/>'.encode()
    root = read_xml_file(written(tmp_path / "a.xml", content))
    assert (root.tag, root.text) == ("a", None)


# --- Tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_table_in_any_encoding(tmp_path, encoding):
    content = 'id,name\r\n1,"café, large"\r\n\r\n2\r\n'.encode(encoding)
    table = TextFile.read(written(tmp_path / "a.csv", content))
    assert table.records() == [{"id": "1", "name": "café, large"}, {"id": "2", "name": ""}]
    assert [note.where for note in table.notes()] == ["a.csv"] * (not encoding.startswith("utf-8"))


def test_empty_table_has_no_records(tmp_path):
    assert TextFile.read(written(tmp_path / "a.csv", b"")).records() == []


def test_cell_without_end_is_refused(tmp_path):
    table = TextFile.read(written(tmp_path / "a.csv", b'id,name\n1,"' + b"x" * 200_000))
    message = message_of(lambda _: table.records(), table.file)
    assert message.startswith("is no table that can be read (field larger than")


# --- Files by their text ----------------------------------------------------------------------------------------------


def test_files_end_in_any_case_and_hidden_ones_are_passed_over(tmp_path):
    for name in ("a.json", "sub/b.JSON", ".c.json", "__MACOSX/d.json", ".git/e.json", "f.jsonl"):
        written(tmp_path / name, b"{}")
    listed = list_files(tmp_path, ".json")
    assert [file.relative_to(tmp_path).as_posix() for file in listed] == ["a.json", "sub/b.JSON"]
    assert has_text_file(tmp_path, ".json", lambda text: text == b"{}")
    assert list_files(tmp_path / "none", ".json") == []


def test_text_sample_of_utf_16_and_of_a_long_file(tmp_path):
    utf16 = written(tmp_path / "a.json", '{"shapes": []}'.encode("utf-16"))
    assert text_sample(utf16) == b'{"shapes": []}'
    long = written(tmp_path / "b.json", b"[" + b" " * 3_000_000 + b'"last"]')
    assert text_sample(long).endswith(b'"last"]')
    assert len(text_sample(long)) < 3_000_000
    assert text_sample(tmp_path / "none.json") == b""


# --- Images by the names that tools recorded --------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path):
    for name in ("train/a.png", "val/a.png", "val/b.jpg", "images/c.JPG", "d.png"):
        tiny.photo(tmp_path / name, (4, 4))
    return ImageIndex(tmp_path)


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ("b.jpg", "val/b.jpg"),
        ("val/a.png", "val/a.png"),
        ("C:\\photos\\val\\a.png", "val/a.png"),
        ("/srv/me/train/a.png", "train/a.png"),
        ("c.JPG", "images/c.JPG"),
        (" d.png ", "d.png"),
        ("a.png", None),  # two of that name
        ("../d.png", "d.png"),  # never outside of the set
        ("none.png", None),
        ("", None),
        (".", None),
    ],
)
def test_image_of_a_recorded_name(index, recorded, found):
    path = index.find(recorded)
    assert (path and path.relative_to(index.root).as_posix()) == found


def test_image_beside_its_annotation_comes_first(index):
    assert index.find("a.png", near=index.root / "val") == index.root / "val" / "a.png"


def test_image_of_a_name_without_ending(index):
    assert index.find_stem("val/a") == index.root / "val" / "a.png"
    assert index.find_stem("a") is None
    assert index.find_stem("") is None


def test_link_out_of_the_set_is_not_followed(tmp_path):
    secret = tiny.photo(tmp_path / "elsewhere" / "a.png", (4, 4))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(secret.parent)
    assert ImageIndex(tmp_path / "set").find("link/a.png") is None


def test_expected_image_lies_in_the_folder(index):
    assert index.expected("../../etc/x.png") == Path(index.root, "x.png")
    assert index.expected("..").name in ("..", "unnamed")
