"""Which mask files of a folder belong to which image, and which classes they name, going by their names.

    masks/a.png  a_mask.png              the map of a.jpg
    masks/a_cat_1.png  a/cat_1.png       an object of class cat
    masks/a_1.png  a_mask_1.png          an object without a class

Words such as "mask" say what a file is, unless other files of the folder name classes: then they are classes too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from seem.data.classes import UNNAMED
from seem.data.image_files import list_images, relative_stem
from seem.data.records import Flaw, FlawKind

_NNUNET_CHANNEL = "_0000"  # behind the names of photos, not of maps, in imagesTr
_MAP_WORDS = frozenset({
    "mask", "masks", "seg", "segmentation", "label", "labels", "gt", "annotation",
})  # fmt: skip
_MAP_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")  # the first, where an image has several maps
_SEPARATOR = re.compile(r"[-_.# /]")
_NUMBER = re.compile(r"[-_ .#]*\d+$")
_MAX_LISTED_NAMES = 3


class NamedMaskFile(NamedTuple):
    """The mask of an object and its class, empty for none."""

    file: Path
    class_name: str


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """The masks of a folder.

    Attributes:
        maps: the map of each image that has one, by the image's name.
        objects: the masks of single objects of each other image.
        unmatched: files that belong to no image.
        notes: names that may mean something else, and files that are not read beside others.
    """

    maps: Mapping[str, Path]
    objects: Mapping[str, tuple[NamedMaskFile, ...]]
    unmatched: tuple[Path, ...]
    notes: tuple[Flaw, ...]

    @classmethod
    def of(cls, folder: Path, image_stems: Collection[str]) -> MaskFiles:
        """Sort the masks of a folder and its sub-folders by the names of images (`relative_stem`)."""
        maps = _maps_by_equal_name(folder, image_stems)
        read = set(maps.values())
        parts_by_stem: dict[str, list[_NameParts]] = {}
        unmatched = []
        for file in list_images(folder, deep=True):
            name = relative_stem(file, folder)
            if file in read or name in image_stems:
                continue  # a map, or one of the same name with another ending
            parts = _split_name(file, name, image_stems)
            if parts is None:
                unmatched.append(file)
            else:
                parts_by_stem.setdefault(parts.image_stem, []).append(parts)
        words = _words_used_as_classes(parts_by_stem.values())
        if not words:
            maps = _maps_by_word(parts_by_stem) | maps
        objects, notes = {}, list(_note_words(words))
        for stem, all_parts in parts_by_stem.items():
            others = [parts for parts in all_parts if parts.file != maps.get(stem)]
            if stem not in maps:
                objects[stem] = tuple(parts.named(words) for parts in others)
            elif others:
                notes.append(_note_beside_map(maps[stem], others))
        return cls(maps, objects, tuple(unmatched), tuple(notes))

    def first_object_file(self, stem: str) -> Path | None:
        """Return the first mask of an object of an image, None if it has none."""
        objects = self.objects.get(stem, ())
        return objects[0].file if objects else None

    def with_classes(self, class_of_name: Mapping[str, str]) -> MaskFiles:
        """Return the same masks with classes by the names of their files, where a list tells them."""
        objects = {}
        for stem, named_files in self.objects.items():
            objects[stem] = tuple(
                NamedMaskFile(file, class_of_name.get(file.stem, class_name))
                for file, class_name in named_files
            )
        return replace(self, objects=objects)

    def object_files(self) -> Iterator[Path]:
        """Yield all masks of single objects."""
        for objects in self.objects.values():
            for named in objects:
                yield named.file

    def class_names(self) -> list[str]:
        """Return the classes that objects are of, in alphabetical order."""
        names: set[str] = set()
        for objects in self.objects.values():
            names.update(named.class_name for named in objects)
        return sorted(names - {""})


# --- Names ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _NameParts:
    """The name of a mask: that of its image and what follows, without and with a number behind it."""

    file: Path
    image_stem: str
    rest: str
    numbered_rest: str
    is_in_own_folder: bool

    @property
    def is_map(self) -> bool:
        """Whether it is the map of its image, if words are no classes."""
        return self.numbered_rest.lower() in _MAP_WORDS and not self.is_in_own_folder

    @property
    def is_word(self) -> bool:
        return self.rest.lower() in _MAP_WORDS

    def named(self, word_classes: Collection[str]) -> NamedMaskFile:
        """Return the file with the class that it names."""
        is_class = self.rest not in UNNAMED and (not self.is_word or self.rest in word_classes)
        return NamedMaskFile(self.file, self.rest if is_class else "")


def _split_name(file: Path, name: str, image_stems: Collection[str]) -> _NameParts | None:
    """Divide the name of a mask; None if it begins with that of no image."""
    image_stem = _image_stem_in(name, image_stems)
    if image_stem is None:
        return None
    rest = name.removeprefix(image_stem)
    is_in_own_folder = rest.startswith("/")
    if is_in_own_folder:
        rest = rest.strip("/").rpartition("/")[2]
        behind_own_stem = rest.removeprefix(image_stem.rpartition("/")[2])
        if _SEPARATOR.match(behind_own_stem):
            rest = behind_own_stem
    rest = rest.strip("-_ .#/")
    return _NameParts(file, image_stem, _NUMBER.sub("", rest), rest, is_in_own_folder)


def _image_stem_in(name: str, image_stems: Collection[str]) -> str | None:
    """Return the longest image name that a mask's name begins with, up to a separator."""
    longest = None
    for separator in _SEPARATOR.finditer(name):
        prefix = name[: separator.start()]
        if prefix in image_stems:
            longest = prefix
    return longest


def _words_used_as_classes(parts_by_image: Iterable[Iterable[_NameParts]]) -> tuple[str, ...]:
    """Return words such as "mask" that occur beside names of classes, so that they are classes themselves."""
    words, has_classes = set(), False
    for all_parts in parts_by_image:
        for parts in all_parts:
            if parts.is_word:
                words.add(parts.rest)
            elif parts.rest and parts.rest not in UNNAMED:
                has_classes = True
    return tuple(sorted(words)) if has_classes else ()


def _note_words(words: Iterable[str]) -> Iterator[Flaw]:
    for word in words:
        what = "taken for a class, because other masks are called after classes; else name its files like the photos"
        yield Flaw(FlawKind.ASSUMED_CLASSES, word, what)


def _note_beside_map(map_file: Path, others: list[_NameParts]) -> Flaw:
    names = ", ".join(parts.file.name for parts in others[:_MAX_LISTED_NAMES])
    if len(others) > _MAX_LISTED_NAMES:
        names += ", ..."
    return Flaw(
        FlawKind.UNREAD, map_file.name, f"the map of its photo, beside which {names} cannot be read"
    )


# --- Maps -------------------------------------------------------------------------------------------------------------


def _maps_by_equal_name(folder: Path, image_stems: Collection[str]) -> dict[str, Path]:
    """Find the maps that are called like their image, whichever ending they have."""
    files = sorted(list_images(folder, deep=True), key=_rank_of_ending, reverse=True)
    by_stem = {relative_stem(file, folder): file for file in files}
    maps = {}
    for stem in image_stems:
        file_of_name = by_stem.get(stem) or by_stem.get(stem.removesuffix(_NNUNET_CHANNEL))
        if file_of_name is not None:
            maps[stem] = file_of_name
    return maps


def _maps_by_word(parts_by_image: Mapping[str, Iterable[_NameParts]]) -> dict[str, Path]:
    """Find the maps that have a word such as "mask" behind the name of their image."""
    maps = {}
    for stem, all_parts in parts_by_image.items():
        files = [parts.file for parts in all_parts if parts.is_map]
        if files:
            maps[stem] = min(files, key=_rank_of_ending)
    return maps


def _rank_of_ending(file: Path) -> int:
    """Return which of several maps of an image is read: the smallest number first."""
    suffix = file.suffix.lower()
    return _MAP_SUFFIXES.index(suffix) if suffix in _MAP_SUFFIXES else len(_MAP_SUFFIXES)
