"""A disk that is full: the file is named and what can be done; metadata are in one order, so that bytes repeat."""

import errno
import signal
import subprocess
import sys

import pytest
import torch

from seem.checkpoints.safe import atomic_write, read_tensors, write_tensors
from seem.cli.errors import single_line
from seem.errors import SeemError, naming_file

resource = pytest.importorskip("resource")


@pytest.fixture
def small_files():
    """No file may grow beyond 4 KiB; a write that would is refused as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def write_text(path, text):
    with atomic_write(path) as aside:
        aside.write_text(text)


def fail_to_write(path, error):
    with naming_file(path):
        raise error


@pytest.mark.usefixtures("small_files")
def test_a_write_that_does_not_fit_names_its_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="too large") as caught:
        write_text(path, "x" * 10_000)
    line = f"Cannot write {path}: File too large; free some space or choose another folder."
    assert single_line(caught.value) == line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_weights_that_do_not_fit_name_their_file(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(SeemError, match=r"Cannot write .*a\.safetensors: .* Free some space or"):
        write_tensors(path, {"a": torch.zeros(10_000)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [SeemError("ours"), OSError(errno.ENOSPC, "full", "b.txt")])
def test_errors_that_name_a_file_or_are_ours_stay(error):
    with pytest.raises(OSError, match=r"ours|full"):
        fail_to_write("a.txt", error)
    assert error.filename in (None, "b.txt")


WRITE = """
import sys, torch
from seem.checkpoints.safe import write_tensors
metadata = {letter: letter + " \\u00fc \\" \\n" for letter in "qwertyuiop"}
write_tensors(sys.argv[1], {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.float16)}, metadata)
"""


def test_the_same_tensors_and_metadata_give_the_same_bytes(tmp_path):
    """The library that writes them orders metadata anew in each process."""
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file in files:
        subprocess.run([sys.executable, "-c", WRITE, str(file)], check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    content = read_tensors(files[0])
    assert content.metadata == {letter: letter + ' \u00fc " \n' for letter in "qwertyuiop"}
    assert content.tensors["b"].tolist() == [1, 1, 1]
