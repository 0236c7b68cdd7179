"""Empty paths, pipes and devices on the command line are refused."""

import os
from pathlib import Path

import pytest

from seem.cli.main import main


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["segment", ""], "An argument"),
        (["segment", "--quiet", ""], "A photo"),
        (["segment", "a.jpg", "--out", ""], "--out"),
        (["segment", "a.jpg", "--out="], "--out"),
        (["track", ""], "An argument"),
        (["finetune", "--data", "", "--out", "run"], "--data"),
        (["data", "check", ""], "An argument"),
        (["segment", "a.jpg", "--model", ""], "--model"),
    ],
)
def test_an_empty_path_is_a_wrong_call(tmp_path, monkeypatch, capfd, words, about):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    expected = f"seem: {about} is an empty text; name a file or a folder (. is this one).\n"
    assert capfd.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.jpg", ["segment", "a.jpg", "--quiet"]),
        ("a.mp4", ["track", "a.mp4", "--point", "1,1"]),
        ("a.safetensors", ["models", "a.safetensors"]),
    ],
)
def test_a_pipe_is_refused_and_never_read(tmp_path, monkeypatch, capfd, name, words):
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    os.mkfifo(name)
    assert main(words) in (1, 2)
    assert f"{name} is a pipe, no file" in capfd.readouterr().err
    assert [path.name for path in Path().iterdir()] == [name]
