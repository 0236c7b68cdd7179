"""Parts of files, the lock of a folder, and what killed processes leave of both."""

import errno
import os
import stat
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from seem.checkpoints.safe import atomic_write
from seem.errors import SeemError
from seem.folder_lock import LOCK_FILE, LOCK_FILES, check_not_in_use, hold_folder
from seem.part_files import (
    MAX_PART_AGE,
    is_part,
    naming_final_files,
    new_part,
    new_temporary_folder,
    part_folder,
    remove_abandoned_parts,
    temporary_folder,
)

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


@pytest.mark.parametrize("leaves_folder", [True, False])
def test_a_lock_that_was_just_removed_is_no_lock(tmp_path, monkeypatch, leaves_folder):
    """A run ends, and removes its lock, between opening the file and locking it by another run."""
    folder = tmp_path / "run"
    acquire = FileLock.acquire
    attempts = []

    def acquire_late(lock, *arguments, **options):
        attempts.append(lock)
        if len(attempts) == 1:
            (folder / LOCK_FILE).unlink()
            if not leaves_folder:
                folder.rmdir()
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    with hold_folder(folder):
        assert len(attempts) == 2
        with pytest.raises(SeemError, match="at work on"):
            check_not_in_use(folder)
    assert not attempts[0].is_locked


LOCKED_IN_TURN = """
import sys, time
from pathlib import Path
from seem.errors import SeemError
from seem.folder_lock import hold_folder
folder, until = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
held = 0
while time.monotonic() < until:
    try:
        with hold_folder(folder):
            mark = folder / "mark"
            mark.touch(exist_ok=False)
            mark.unlink()
            held += 1
    except SeemError:
        pass
print(held)
"""


@pytest.mark.slow
def test_runs_that_begin_and_end_all_the_time_never_meet(tmp_path):
    command = [sys.executable, "-c", LOCKED_IN_TURN, str(tmp_path / "run"), "20"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    held = [int(run.communicate()[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sum(held) > 100
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "run"])  # which another run had made


def test_a_folder_that_is_a_part_vanishes(tmp_path):
    with pytest.raises(OSError, match="full"):
        write_half_a_folder(tmp_path / "new")
    assert names(tmp_path / "new") == []


def write_half_a_folder(folder):
    with part_folder(folder) as part:
        (part / "a.txt").write_text("half")
        raise OSError("full")


KILLED_WITH_TEMPORARY_FILES = """
import os, signal
from seem.part_files import temporary_folder
with temporary_folder() as folder:
    (folder / "a.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by signal 0")
def test_temporary_files_of_a_killed_process_are_removed_by_the_next(tmp_path, monkeypatch):
    command = [sys.executable, "-c", KILLED_WITH_TEMPORARY_FILES]
    subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert len(names(tmp_path)) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert [folder.name] == names(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems differ")
def test_temporary_files_are_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(new_temporary_folder().stat().st_mode) == 0o700


def test_errors_about_files_in_a_part_name_where_they_go(tmp_path):
    part = new_part(tmp_path)
    with pytest.raises(OSError, match="full") as caught, naming_final_files(part, tmp_path):
        raise OSError(errno.ENOSPC, "full", str(part / "a" / "b.txt"))
    assert caught.value.filename == str(tmp_path / "a" / "b.txt")
