"""Annotations in SQLite and in a real PostgreSQL: nothing is lost by other writers, nor by a process that is killed."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from seem.server.projects.annotation_store import AnnotationStore, PhotoEdit, StoredObject
from seem.server.projects.annotation_tables import SCHEMA_VERSION

HW = (4, 5)
SOURCE = Path(__file__).resolve().parents[2] / "src"
NAME = "of this test"

WRITER = f"""
import sys
from pathlib import Path
from seem.server.projects.annotation_store import AnnotationStore, PhotoEdit, StoredObject
store = AnnotationStore.open(sys.argv[1], Path("."), {NAME!r})
(photo,) = store.photos()
for version in range(photo.version, 100_000):
    objects = [StoredObject(number, str(version + 1), 0.5, "4" * 100) for number in range(1, 20)]
    store.apply([PhotoEdit(photo.id, version, {HW}, False, objects)])
    print(version + 1, flush=True)
"""


def server_command(name: str) -> str | None:
    """A program of PostgreSQL's server: Debian has them outside of the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))


@pytest.fixture(scope="session")
def postgresql():
    """The address of a database of a server of our own, which listens at no port."""
    pytest.importorskip("psycopg", reason='pip install "seem[postgresql]"')
    if server_command("initdb") is None:
        pytest.skip("there is no PostgreSQL server (Debian: apt-get install postgresql)")
    user, run = "postgres", []
    if os.geteuid() == 0:  # the server refuses to run as root
        run = ["runuser", "-u", user, "--"]
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if run:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    call([*run, server_command("initdb"), "-D", data, "-U", user, "-A", "trust", "--no-sync"])
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    start = [server_command("pg_ctl"), "-D", data, "-w", "-l", folder / "log", "-o", options]
    call([*run, *start, "start"])
    yield f"postgresql:///postgres?host={folder}&user={user}"
    call([*run, server_command("pg_ctl"), "-D", data, "-m", "immediate", "stop"])
    shutil.rmtree(folder)


def call(command: list) -> None:
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a.sqlite'}"
        return
    address = request.getfixturevalue("postgresql")
    yield address
    from seem.server.projects.annotation_tables import annotation_tables
    from seem.server.projects.database import open_database

    engine = open_database(address, tmp_path)
    annotation_tables().metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def opened(database, tmp_path):
    """A function that opens the database as another program would."""
    stores = []

    def open_store(name: str = NAME) -> AnnotationStore:
        stores.append(AnnotationStore.open(database, tmp_path, name))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def edit_of(photo, *labels, version=None):
    objects = [
        StoredObject(number, label, 0.25, "d0", drawing={"color": number})
        for number, label in enumerate(labels, 1)
    ]
    return PhotoEdit(photo.id, photo.version if version is None else version, HW, True, objects)


def test_what_is_stored_is_read_again(opened):
    store = opened()
    store.add_photos(["b.jpg", "a.jpg", "\u00e4 \U0001f408.jpg"])
    store.add_photos(["a.jpg"])
    first, second, third = store.photos()
    assert [photo.name for photo in (first, second, third)] == ["a.jpg", "b.jpg", "\u00e4 \U0001f408.jpg"]  # fmt: skip
    assert (first.hw, first.version, first.is_done) == (None, 0, False)
    store.apply([edit_of(first, "cat", None), edit_of(second, "dog")], ["cat", "dog"])
    other = opened()
    photo, objects = other.photo_and_objects(first.id)
    assert (photo.hw, photo.version, photo.is_done, photo.num_objects) == (HW, 1, True, 2)
    assert objects == edit_of(first, "cat", None).objects
    assert other.labels() == ["cat", "dog"]
    assert (other.classes().version, other.classes().names) == (1, ("cat", "dog"))


def test_edits_are_made_together_or_not_at_all(opened):
    store = opened()
    store.add_photos(["a.jpg", "b.jpg"])
    first, second = store.photos()
    with pytest.raises(HTTPException) as caught:
        store.apply([edit_of(first, "cat"), edit_of(second, "dog", version=7)], ["cat"])
    assert caught.value.status_code == 409
    assert "b.jpg" in caught.value.detail
    assert [photo.version for photo in store.photos()] == [0, 0]
    assert store.classes().names == ()


def test_projects_of_one_database_are_apart(opened):
    one, other = opened("one"), opened("other")
    one.add_photos(["a.jpg"])
    other.add_photos(["a.jpg", "b.jpg"])
    assert len(one.photos()) == 1
    with pytest.raises(HTTPException) as caught:
        other.photo(one.photos()[0].id)
    assert caught.value.status_code == 404
    with pytest.raises(HTTPException):
        other.apply([edit_of(one.photos()[0], "cat")])
    assert one.photos()[0].num_objects == 0


def test_annotators_at_once_lose_nothing(opened):
    opened().add_photos(["a.jpg"])
    conflicts = []

    def annotate(name: str) -> None:
        store = opened()
        for step in range(8):
            while not append_label(store, f"{name}{step}"):
                conflicts.append(name)

    threads = [threading.Thread(target=annotate, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    (photo,) = opened().photos()
    _, objects = opened().photo_and_objects(photo.id)
    assert (photo.version, len(objects)) == (32, 32)
    assert {one.label for one in objects} == {f"{name}{step}" for name in "abcd" for step in range(8)}  # fmt: skip


def append_label(store: AnnotationStore, label: str) -> bool:
    photo, objects = store.photo_and_objects(store.photos()[0].id)
    try:
        store.apply([edit_of(photo, *(one.label for one in objects), label)])
    except HTTPException as error:
        if error.status_code != 409:
            raise
        return False
    return True


def test_photos_that_two_servers_find_at_once_are_added_once(opened):
    stores = [opened() for _ in range(4)]
    names = [f"{number}.jpg" for number in range(50)]
    threads = [threading.Thread(target=store.add_photos, args=(names,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(stores[0].photos()) == 50


def test_a_killed_process_loses_nothing_that_it_has_stored(opened, database):
    store = opened()
    store.add_photos(["a.jpg"])
    last_version = 0
    for num_lines in (1, 7, 20):
        last_version = max(last_version, version_at_kill(database, num_lines))
        photo, objects = store.photo_and_objects(store.photos()[0].id)
        assert photo.version >= last_version
        assert [one.label for one in objects] == [str(photo.version)] * 19
        store.apply([PhotoEdit(photo.id, photo.version, HW, False, [
            StoredObject(number, str(photo.version + 1), 0.5, "4") for number in range(1, 20)
        ])])  # fmt: skip


def version_at_kill(database: str, num_lines: int) -> int:
    """The last version that a process has reported as stored before it was killed in the middle of others."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, database],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    reported = [int(process.stdout.readline()) for _ in range(num_lines)]
    process.send_signal(signal.SIGKILL)
    reported += map(int, process.communicate(timeout=60)[0].split())
    return reported[-1]


def test_a_project_of_a_newer_version_is_refused(opened, database, tmp_path):
    from seem.server.projects.annotation_tables import annotation_tables
    from seem.server.projects.database import open_database

    opened().close()
    engine = open_database(database, tmp_path)
    newer = annotation_tables().projects.update().values(schema_version=SCHEMA_VERSION + 1)
    with engine.begin() as connection:
        connection.execute(newer)
    engine.dispose()
    with pytest.raises(Exception, match="newer Seem"):
        opened()
