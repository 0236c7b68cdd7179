"""The database of a project: a SQLite file in its folder, or the database at an address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seem.errors import SeemError
from seem.server.projects.annotation_tables import annotation_tables

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

DATABASE_FILE = "seem-project.sqlite"
BUSY_SECONDS = 20  # until a file that others are writing is given up
DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


def open_database(address: str | None, folder: Path) -> Engine:
    """Connect to a database and make the tables that it lacks; `SeemError` says why it cannot be used.

    `address` is SQLAlchemy's, such as postgresql://user@host/name; None is the file in the folder.
    """
    try:
        import sqlalchemy
    except ImportError:
        raise SeemError(
            'A project needs sqlalchemy; install it with: pip install "seem[serve]".'
        ) from None
    url = database_url(address, folder)
    shown = url.render_as_string(hide_password=True)
    try:
        engine = connected_engine(url)
        annotation_tables().metadata.create_all(engine)
    except ModuleNotFoundError as error:
        raise SeemError(
            f'{shown} needs {error.name}; install it with: pip install "seem[postgresql]".'
        ) from None
    except sqlalchemy.exc.DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise SeemError(
            f"The database {shown} cannot be used: {reason}; give another with --database URL."
        ) from None
    return engine


def database_url(address: str | None, folder: Path) -> URL:
    """Return the address as SQLAlchemy takes it, with the driver that is used here."""
    import sqlalchemy

    if address is None:
        return sqlalchemy.URL.create(DRIVERS["sqlite"], database=str(folder / DATABASE_FILE))
    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(
            "--database is no address of a database; write postgresql://user@host/name or sqlite:///FILE."
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise ValueError(f"--database is of the kind {kind!r}; there are postgresql and sqlite.")
    if url.database in (None, "", ":memory:"):
        raise ValueError("--database names no database; add its name or its file to the address.")
    return url.set(drivername=DRIVERS[kind])


def connected_engine(url: URL) -> Engine:
    """Return an engine whose transactions are all or nothing, also where several programs write."""
    import sqlalchemy

    if url.get_backend_name() != "sqlite":
        return sqlalchemy.create_engine(url, pool_pre_ping=True)
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    sqlalchemy.event.listen(engine, "connect", prepare_sqlite)
    sqlalchemy.event.listen(engine, "begin", begin_immediately)
    return engine


def prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set up a new connection: references are checked, and a commit has reached the disk when it returns."""
    connection.isolation_level = None  # transactions begin as `begin_immediately` says
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def begin_immediately(connection: Any) -> None:
    """Begin a transaction that may write: one that finds out later could not wait for another writer."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
