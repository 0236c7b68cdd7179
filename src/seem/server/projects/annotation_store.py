"""Annotations in a database: every edit is one transaction, and is refused unless it is of the latest version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seem.errors import SeemError
from seem.server.problems import Problem
from seem.server.projects.annotation_tables import (
    SCHEMA_VERSION,
    AnnotationTables,
    annotation_tables,
)
from seem.server.projects.database import open_database
from seem.server.stored_images import new_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.sql import ColumnElement


@dataclass(frozen=True, slots=True)
class ProjectClasses:
    """The class names of a project; `version` counts their edits."""

    version: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo without its objects. `hw` is None until something has been stored; proposals are no objects yet."""

    id: str
    name: str
    hw: tuple[int, int] | None
    version: int
    is_done: bool
    num_objects: int
    num_proposals: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a photo: its number, unique there, and its mask as COCO's compressed code.

    A proposal is one that nobody has accepted. `drawing` is the page's own: colour, prompts and the like.
    """

    number: int
    label: str | None
    score: float
    mask_counts: str
    is_proposal: bool = False
    drawing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhotoEdit:
    """What a photo is to hold from now on; `version` is the one that was edited."""

    photo_id: str
    version: int
    hw: tuple[int, int]
    is_done: bool
    objects: Sequence[StoredObject]


class AnnotationStore:
    """The annotations of one project. Safe to use from several threads, processes and machines."""

    def __init__(self, engine: Engine, project_name: str) -> None:
        """Use a database whose tables exist; a project of a new name is made."""
        self._engine = engine
        self._tables: AnnotationTables = annotation_tables()
        self._project_id = self._find_or_add_project(project_name)

    @classmethod
    def open(cls, address: str | None, folder: Path, project_name: str) -> AnnotationStore:
        """Open the database at an address, or the file in the folder; `SeemError` where it cannot be used."""
        engine = open_database(address, folder)
        try:
            return cls(engine, project_name)
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # Classes

    def classes(self) -> ProjectClasses:
        """Return the class names."""
        with self._transaction() as connection:
            return self._classes(connection)

    def set_classes(self, version: int, names: Sequence[str]) -> ProjectClasses:
        """Replace the class names; `Problem` if somebody has changed them since `version`."""
        projects = self._tables.projects
        change = (
            projects.update()
            .where(projects.c.id == self._project_id, projects.c.version == version)
            .values(version=version + 1, classes=list(names))
        )
        with self._transaction() as connection:
            if connection.execute(change).rowcount == 0:
                raise Problem(
                    "edit-conflict", "Somebody else has changed the classes; read them again."
                )
            return self._classes(connection)

    def labels(self) -> list[str]:
        """Return all labels of accepted objects, sorted."""
        from sqlalchemy import select

        photos, objects = self._tables.photos, self._tables.objects
        query = (
            select(objects.c.label)
            .join(photos, objects.c.photo_id == photos.c.id)
            .where(
                photos.c.project_id == self._project_id,
                objects.c.label.is_not(None),
                objects.c.is_proposal.is_(False),
            )
            .distinct()
        )
        with self._transaction() as connection:
            return sorted(connection.execute(query).scalars())

    # Photos

    def add_photos(self, names: Sequence[str]) -> None:
        """Add photos; those that are there stay as they are."""
        rows = [{"id": new_id(), "project_id": self._project_id, "name": name} for name in names]
        with self._transaction() as connection:
            connection.execute(self._insert_of_new(self._tables.photos), rows)

    def photos(self) -> list[StoredPhoto]:
        """Return all photos, by name."""
        photos = self._tables.photos
        with self._transaction() as connection:
            rows = self._select_photos(connection, photos.c.project_id == self._project_id)
        return sorted(rows, key=lambda photo: photo.name)

    def photo(self, photo_id: str) -> StoredPhoto:
        """Return one photo; `Problem` for an unknown id."""
        with self._transaction() as connection:
            return self._photo(connection, photo_id)

    def photo_and_objects(self, photo_id: str) -> tuple[StoredPhoto, list[StoredObject]]:
        """Return a photo and its objects, in their order, as they were at one moment."""
        with self._transaction() as connection:
            return self._photo(connection, photo_id), self._objects(connection, photo_id)

    def apply(self, edits: Sequence[PhotoEdit], class_names: Sequence[str] | None = None) -> None:
        """Make edits, and set the class names where they are given: all or nothing.

        Raises `Problem` if an edit is of a version that is not the latest.
        """
        with self._transaction() as connection:
            for edit in edits:
                self._apply_one(connection, edit)
            if class_names is not None:
                self._put_classes(connection, class_names)

    # Inside

    def _apply_one(self, connection: Connection, edit: PhotoEdit) -> None:
        photos, objects = self._tables.photos, self._tables.objects
        height, width = edit.hw
        change = (
            photos.update()
            .where(
                photos.c.id == edit.photo_id,
                photos.c.project_id == self._project_id,
                photos.c.version == edit.version,
            )
            .values(version=edit.version + 1, height=height, width=width, is_done=edit.is_done)
        )
        if connection.execute(change).rowcount == 0:
            raise edit_conflict(self._photo(connection, edit.photo_id), edit.version)
        connection.execute(objects.delete().where(objects.c.photo_id == edit.photo_id))
        rows = [object_row(edit.photo_id, i, one) for i, one in enumerate(edit.objects)]
        if rows:
            connection.execute(objects.insert(), rows)

    def _photo(self, connection: Connection, photo_id: str) -> StoredPhoto:
        photos = self._tables.photos
        own = (photos.c.id == photo_id) & (photos.c.project_id == self._project_id)
        for photo in self._select_photos(connection, own):
            return photo
        raise Problem("not-found", "The project has no photo with this id; list its photos again.")

    def _select_photos(
        self, connection: Connection, condition: ColumnElement[bool]
    ) -> list[StoredPhoto]:
        from sqlalchemy import case, func, select

        photos, objects = self._tables.photos, self._tables.objects
        num_objects = func.count(case((objects.c.is_proposal.is_(False), 1)))
        num_proposals = func.count(case((objects.c.is_proposal.is_(True), 1)))
        query = (
            select(photos, num_objects.label("num_objects"), num_proposals.label("num_proposals"))
            .outerjoin(objects, objects.c.photo_id == photos.c.id)
            .where(condition)
            .group_by(photos.c.id)
        )
        return [photo_of_row(row) for row in connection.execute(query)]

    def _objects(self, connection: Connection, photo_id: str) -> list[StoredObject]:
        from sqlalchemy import select

        objects = self._tables.objects
        query = select(objects).where(objects.c.photo_id == photo_id).order_by(objects.c.position)
        return [object_of_row(row) for row in connection.execute(query)]

    def _classes(self, connection: Connection) -> ProjectClasses:
        from sqlalchemy import select

        projects = self._tables.projects
        query = select(projects.c.version, projects.c.classes)
        version, names = connection.execute(query.where(projects.c.id == self._project_id)).one()
        return ProjectClasses(version, tuple(names))

    def _put_classes(self, connection: Connection, names: Sequence[str]) -> None:
        projects = self._tables.projects
        change = projects.update().where(projects.c.id == self._project_id)
        next_version = projects.c.version + 1
        connection.execute(change.values(version=next_version, classes=list(names)))

    def _find_or_add_project(self, name: str) -> int:
        from sqlalchemy import select

        projects = self._tables.projects
        new = {"name": name, "schema_version": SCHEMA_VERSION}
        query = select(projects.c.id, projects.c.schema_version).where(projects.c.name == name)
        with self._transaction() as connection:
            connection.execute(self._insert_of_new(projects), [new])
            project_id, schema_version = connection.execute(query).one()
        if schema_version > SCHEMA_VERSION:
            raise SeemError(f"The project {name!r} was made by a newer Seem; install that one.")
        return int(project_id)

    def _insert_of_new(self, table: Table) -> Any:
        """Return a statement that inserts rows, but none that is there already."""
        from sqlalchemy.dialects import postgresql, sqlite

        dialect = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        return dialect.insert(table).on_conflict_do_nothing()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Do everything or nothing; `Problem` where the database does not answer."""
        from sqlalchemy.exc import OperationalError

        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise database_problem(str(error.orig)) from error


def photo_of_row(row: Any) -> StoredPhoto:
    """Read a row of photos with its counts."""
    hw = None if row.height is None else (row.height, row.width)
    return StoredPhoto(
        id=row.id,
        name=row.name,
        hw=hw,
        version=row.version,
        is_done=row.is_done,
        num_objects=row.num_objects,
        num_proposals=row.num_proposals,
    )


def object_of_row(row: Any) -> StoredObject:
    """Read a row of objects."""
    return StoredObject(
        number=row.number,
        label=row.label,
        score=row.score,
        mask_counts=row.mask_counts,
        is_proposal=row.is_proposal,
        drawing=row.drawing,
    )


def object_row(photo_id: str, position: int, one: StoredObject) -> dict[str, Any]:
    """Write a row of objects."""
    return {
        "photo_id": photo_id,
        "number": one.number,
        "position": position,
        "label": one.label,
        "score": one.score,
        "is_proposal": one.is_proposal,
        "mask_counts": one.mask_counts,
        "drawing": dict(one.drawing),
    }


def edit_conflict(photo: StoredPhoto, version: int) -> Problem:
    """Return the problem of an edit that did not know of the latest one."""
    return Problem(
        "edit-conflict",
        f"Somebody else has changed {photo.name} since you opened it (version {photo.version}, you edited {version}); "
        "take theirs, or store yours over it.",
    )


def database_problem(reason: str) -> Problem:
    """Return the problem of a database that has refused a transaction."""
    if "full" in reason:
        return Problem(
            "disk-full", "The disk of the project's database is full; nothing was stored."
        )
    return Problem("database", "The project's database does not answer; nothing was stored, try again.")  # fmt: skip
