"""The tables of a project's database, the same in SQLite and PostgreSQL.

SQLAlchemy is imported when they are first asked for: `seem serve` without a folder needs no database.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

SCHEMA_VERSION = 1
MAX_ID_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class AnnotationTables:
    """One row a project, a photo, an object. A photo's `version` counts its edits, a project's those of its classes."""

    metadata: MetaData
    projects: Table
    photos: Table
    objects: Table


@functools.cache
def annotation_tables() -> AnnotationTables:
    """Return the tables."""
    from sqlalchemy import (
        JSON,
        Boolean,
        Column,
        Float,
        ForeignKey,
        Integer,
        MetaData,
        String,
        Table,
        Text,
        UniqueConstraint,
    )

    metadata = MetaData()
    projects = Table(
        "seem_projects",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Text, nullable=False, unique=True),
        Column("schema_version", Integer, nullable=False),
        Column("version", Integer, nullable=False, default=0),
        Column("classes", JSON, nullable=False, default=list),
    )
    photos = Table(
        "seem_photos",
        metadata,
        Column("id", String(MAX_ID_CHARACTERS), primary_key=True),
        Column("project_id", ForeignKey("seem_projects.id"), nullable=False),
        Column("name", Text, nullable=False),
        Column("width", Integer),
        Column("height", Integer),
        Column("version", Integer, nullable=False, default=0),
        Column("is_done", Boolean, nullable=False, default=False),
        UniqueConstraint("project_id", "name"),
    )
    objects = Table(
        "seem_objects",
        metadata,
        Column("photo_id", ForeignKey("seem_photos.id"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("position", Integer, nullable=False),
        Column("label", Text),
        Column("score", Float, nullable=False),
        Column("is_proposal", Boolean, nullable=False),
        Column("mask_counts", Text, nullable=False),
        Column("drawing", JSON, nullable=False),
    )
    return AnnotationTables(metadata, projects, photos, objects)
