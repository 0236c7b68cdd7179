"""A project: the photos of a folder, each with the annotations that the database has of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seem.images import read_shown_hw
from seem.server.problems import Problem
from seem.server.projects.annotation_store import AnnotationStore, PhotoEdit, StoredPhoto
from seem.server.projects.photo_folder import PhotoContent, PhotoFolder, photo_is_gone


@dataclass(frozen=True, slots=True)
class ListedPhoto:
    """A photo of a project, and whether its file is in the folder now."""

    photo: StoredPhoto
    is_present: bool


@dataclass(slots=True, eq=False)
class Project:
    """A folder of photos and their annotations.

    Photos that leave the folder keep their annotations, and have them again when they are back under the same name.
    """

    name: str
    folder: PhotoFolder
    store: AnnotationStore
    _encoded: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, root: Path, database: str | None = None, name: str | None = None) -> Project:
        """Open a folder as a project; `SeemError` where the folder or its database cannot be used."""
        folder = PhotoFolder(root)
        name = name or folder.title
        return cls(name, folder, AnnotationStore.open(database, folder.root, name))

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def list_photos(self) -> list[ListedPhoto]:
        """Return the photos that are in the folder, and those that have left it with annotations, by name."""
        names = self.folder.names()
        present = set(names)
        photos = self.store.photos()
        new = present - {photo.name for photo in photos}
        if new:
            self.store.add_photos(sorted(new))
            photos = self.store.photos()
        listed = []
        for photo in photos:
            if photo.name in present or photo.num_objects or photo.is_done:
                listed.append(ListedPhoto(photo, photo.name in present))
        return listed

    def listed(self, photo_id: str) -> ListedPhoto:
        """Return one photo as a list has it; `Problem` for an unknown id."""
        photo = self.store.photo(photo_id)
        return ListedPhoto(photo, self.folder.path_of(photo.name) is not None)

    def read_photo(self, photo_id: str, max_bytes: int) -> PhotoContent:
        """Read the file of a photo; `Problem` if there is none."""
        return self.folder.read(self.store.photo(photo_id).name, max_bytes)

    def photo_hw(self, photo: StoredPhoto) -> tuple[int, int]:
        """Return height and width of a photo as shown: its file's, or those stored where it has left the folder."""
        path = self.folder.path_of(photo.name)
        if path is not None:
            return read_shown_hw(path)
        if photo.hw is None:
            raise photo_is_gone(photo.name)
        return photo.hw

    def apply(self, edits: Sequence[PhotoEdit], class_names: Sequence[str] | None = None) -> None:
        """Store edits, and the class names where they are given: all or nothing.

        Raises `Problem` for an edit whose size is not that of its photo, or that is out of date.
        """
        for edit in edits:
            photo = self.store.photo(edit.photo_id)
            hw = self.photo_hw(photo)
            if hw != edit.hw:
                raise other_size(photo.name, edit.hw, hw)
        self.store.apply(edits, class_names)

    # Encoded images

    def encoded_id(self, photo_id: str, fingerprint: tuple[int, int]) -> str | None:
        """Return the id of the encoded image of a photo whose file has not changed since."""
        with self._lock:
            known = self._encoded.get(photo_id)
        if known is None or known[0] != fingerprint:
            return None
        return known[1]

    def remember_encoded(self, photo_id: str, fingerprint: tuple[int, int], image_id: str) -> None:
        """Remember the id of the encoded image of a photo."""
        with self._lock:
            self._encoded[photo_id] = (fingerprint, image_id)


def other_size(name: str, given: tuple[int, int], actual: tuple[int, int]) -> Problem:
    """Return the problem of annotations of another size than their photo."""
    return Problem(
        "invalid-request",
        f"{name} is {actual[1]} x {actual[0]} pixels, its annotations are for {given[1]} x {given[0]}; "
        "annotate the photo as it is now.",
    )
