"""The annotations of a COCO file as edits of a project."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seem.annotation_formats.coco_ids import and_more
from seem.server.coco_import import CocoImport, ImportedObject, summarized
from seem.server.projects.annotation_store import PhotoEdit, StoredObject, StoredPhoto
from seem.server.projects.project import Project
from seem.server.projects.schemas import MAX_CLASSES
from seem.server.question_schemas import MAX_NAME_CHARACTERS


@dataclass(frozen=True, slots=True)
class PlannedImport:
    """Edits that store what a file holds, the classes that the project is to have, and what was left out."""

    edits: list[PhotoEdit]
    class_names: list[str]
    notes: list[str]


def plan_import(content: bytes, project: Project, *, replaces: bool) -> PlannedImport:
    """Read a COCO file for a project; nothing is stored.

    Photos that have objects already are left out, unless `replaces`. Raises `SeemError` for a file that is none,
    `ValueError` for one without a photo of the project, or with a photo of another size.
    """
    file = CocoImport.parse(content)
    photos = [listed.photo for listed in project.list_photos()]
    matches = file.match([photo.name for photo in photos])
    if not matches:
        raise ValueError(
            f"The project has none of the photos in the file: {first_of(file.image_rows)}."
        )
    edits, occupied = [], []
    for photo in photos:
        if photo.name not in matches:
            continue
        if not replaces and (photo.num_objects or photo.num_proposals):
            occupied.append(photo.name)
        else:
            edits.append(photo_edit(photo, matches[photo.name], file, project))
    notes = [*file.notes]
    if occupied:
        notes.append(f"{first_of(occupied)}: has objects already, left as it is.")
    unused = [name for name in file.image_rows if name not in matches.values()]
    if unused:
        notes.append(f"{first_of(unused)}: not in the project, left out.")
    return PlannedImport(edits, merged_classes(project, file.class_names), summarized(notes))


def photo_edit(photo: StoredPhoto, listed: str, file: CocoImport, project: Project) -> PhotoEdit:
    """Return the edit that stores the objects of a photo, which the file calls `listed`."""
    hw = project.photo_hw(photo)
    objects = file.objects_of(listed, photo.name, hw)
    stored = [stored_object(number, one) for number, one in enumerate(objects, 1)]
    return PhotoEdit(photo.id, photo.version, hw, photo.is_done, stored)


def stored_object(number: int, one: ImportedObject) -> StoredObject:
    """Return an imported object as it is stored."""
    drawing = {"color": number - 1, "source": "import"}
    label = storable_name(one.label or "")
    return StoredObject(number, label or None, one.score, one.counts, drawing=drawing)


def storable_name(name: str) -> str:
    """Return a class name as projects take it: not long, without control characters."""
    return "".join(letter for letter in name if letter.isprintable())[:MAX_NAME_CHARACTERS]


def merged_classes(project: Project, names: Sequence[str]) -> list[str]:
    """Return the classes of a project with those of a file that it lacks, as many as a project may have."""
    merged = {name.casefold(): name for name in project.store.classes().names}
    for name in filter(None, map(storable_name, names)):
        merged.setdefault(name.casefold(), name)
    return list(merged.values())[:MAX_CLASSES]


def first_of(names: Collection[str]) -> str:
    """Return the first of some names, and how many more there are."""
    first, *others = names or ["none"]
    return and_more(first, len(others))
