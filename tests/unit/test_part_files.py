"""Parts of files, the lock of a folder, and what killed processes leave of both."""

import os
import subprocess
import sys
import time

import pytest

from seem.checkpoints.safe import atomic_write
from seem.errors import SeemError
from seem.folder_lock import LOCK_FILES, check_not_in_use, hold_folder
from seem.part_files import MAX_PART_AGE, is_part, new_part, remove_abandoned_parts

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from seem.checkpoints.safe import atomic_write
from seem.folder_lock import hold_folder
from seem.part_files import new_part
folder = Path(sys.argv[1])
with hold_folder(folder), atomic_write(folder / "a.txt") as aside:
    aside.write_text("half")
    new_part(folder).write_text("another half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def abandoned(tmp_path):
    """A folder with what a killed process has left."""
    folder = tmp_path / "out"
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(folder)]
    assert subprocess.run(command, check=False).returncode < 0
    assert len(names(folder)) == 2 + len(LOCK_FILES)
    return folder


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by signal 0")
def test_the_next_run_removes_what_a_killed_one_left(abandoned):
    with hold_folder(abandoned), atomic_write(abandoned / "a.txt") as aside:
        aside.write_text("whole")
    assert names(abandoned) == ["a.txt"]
    assert (abandoned / "a.txt").read_text() == "whole"


def test_parts_of_live_processes_stay(tmp_path):
    own = new_part(tmp_path)
    of_another_host = tmp_path / ".seem-00000000-1-0123abcd.part"
    parent = tmp_path / own.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    not_ours = tmp_path / ".seem-notes.part"
    for path in (own, of_another_host, parent, not_ours):
        path.touch()
    remove_abandoned_parts(tmp_path)
    assert len(names(tmp_path)) == 4
    an_age_ago = time.time() - MAX_PART_AGE - 60
    os.utime(of_another_host, (an_age_ago, an_age_ago))
    remove_abandoned_parts(tmp_path)
    assert not of_another_host.exists()
    assert [is_part(path) for path in (own, of_another_host, not_ours)] == [True, True, False]


def test_a_part_of_an_earlier_process_of_the_same_number_is_removed(tmp_path):
    """In a container every start has the same process number."""
    own = new_part(tmp_path)
    *start, _ = own.name.split("-")
    (tmp_path / f"{'-'.join(start)}-0123abcd.part").touch()
    remove_abandoned_parts(tmp_path)
    assert names(tmp_path) == []


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def write_half(path):
    with atomic_write(path) as aside:
        aside.write_text("half")
        raise OSError("full")


def test_a_folder_is_held_by_one_run(tmp_path):
    folder = tmp_path / "new" / "run"
    with hold_folder(folder):
        with pytest.raises(SeemError, match=rf"at work on .*run \(process {os.getpid()} on "):
            check_not_in_use(folder)
        assert names(folder) == sorted(LOCK_FILES)
    assert names(tmp_path) == []
    check_not_in_use(folder)


def test_what_a_run_wrote_stays(tmp_path):
    with hold_folder(tmp_path / "run"):
        (tmp_path / "run" / "a.txt").touch()
    assert names(tmp_path / "run") == ["a.txt"]


def test_a_file_is_no_folder_to_hold(tmp_path):
    (tmp_path / "a.txt").touch()
    with (
        pytest.raises(FileExistsError, match=r"a.txt is a file; name a folder"),
        hold_folder(tmp_path / "a.txt"),
    ):
        pass
