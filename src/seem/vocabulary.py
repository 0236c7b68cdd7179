"""The names a question is asked with: what each is called, how it is said, whether it is countable, its colour.

A `Vocabulary` is the closed list that the whole-picture tasks choose from. "No object" is not in it: that is the
model's business. Category id 0 is never in it either: results use it for "unlabelled".
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypeAlias, TypedDict, cast

Colour: TypeAlias = "tuple[int, int, int]"

# Official behaviour: these are cut out of a category's name before it is put into a sentence.
_SILENT_PARTS = ("-other", "-merged", "-stuff")
_GOLDEN_RATIO = 0.6180339887498949
_LIGHTNESS_AND_SATURATION = ((0.55, 0.85), (0.45, 0.70), (0.68, 0.90))


@dataclass(frozen=True, slots=True)
class Category:
    """One entry of a vocabulary.

    `name` is what results show, `phrase` what the text encoder reads, `is_thing` whether single objects are told
    apart (stuff such as sky or grass is one region a photo), `id` a positive number, `colour` RGB in 0-255.
    """

    id: int
    name: str
    phrase: str
    is_thing: bool
    colour: Colour


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An ordered list of categories; the order is that of the model's class scores.

    Raises `ValueError` when it is empty, when two entries share an id, a name or a phrase, or when an id is below 1.
    """

    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("A vocabulary needs at least one name; pass None for the 133 COCO panoptic categories.")
        ids: set[int] = set()
        said: dict[str, str] = {}
        for category in self.categories:
            if category.id < 1 or category.id in ids:
                raise ValueError(
                    f"Category {category.name!r} has id {category.id}; ids start at 1 (0 = unlabelled), each used once."
                )
            ids.add(category.id)
            for spelling in {category.name.casefold(), category.phrase.casefold()}:
                if spelling in said:
                    raise ValueError(
                        f"{category.name!r} repeats {said[spelling]!r}, both are read as {spelling!r}; keep one."
                    )
                said[spelling] = category.name

    @classmethod
    def coco_panoptic(cls) -> Vocabulary:
        """Return the 133 COCO panoptic categories: 80 things, then 53 stuff, with COCO's ids and panoptic colours."""
        return _coco_panoptic()

    @classmethod
    def of(cls, names: Sequence[str], stuff: Sequence[str] | None = None) -> Vocabulary:
        """Make a vocabulary of your own names, in the order given, with ids from 1.

        `stuff` lists those names that are regions rather than countable objects. Without it, a name that COCO knows
        ("sky", "road") is what it is there, and every other name is a thing.

        Raises `ValueError` for no names, an empty or repeated name (whatever its case), a control character, a single
        string in place of a list, and a `stuff` name that is not among `names`.
        """
        if isinstance(names, str):
            raise ValueError(f"classes is a list of names, got the text {names!r}; write [{names!r}] or split it.")
        cleaned = [_clean(name, position) for position, name in enumerate(names)]
        if stuff is None:
            regions = {name.casefold() for name in cleaned} & _coco_stuff()
        else:
            regions = {_clean(name, position).casefold() for position, name in enumerate(stuff)}
            if unknown := sorted(regions - {name.casefold() for name in cleaned}):
                raise ValueError(f"stuff names {unknown[0]!r}, which is not in the list of classes; add it there.")
        return cls(
            tuple(
                Category(number, name, _phrase(name), name.casefold() not in regions, colour)
                for number, (name, colour) in enumerate(zip(cleaned, distinct_colours(len(cleaned)), strict=True), 1)
            )
        )

    @classmethod
    def coerce(cls, classes: Vocabulary | Sequence[str] | None) -> Vocabulary:
        """Read a `classes` argument: None is COCO panoptic, a list becomes a vocabulary, a vocabulary stays."""
        if classes is None:
            return cls.coco_panoptic()
        return classes if isinstance(classes, Vocabulary) else cls.of(classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that results show."""
        return tuple(category.name for category in self.categories)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The names as they are said: what goes into a sentence for the text encoder."""
        return tuple(category.phrase for category in self.categories)

    @property
    def ids(self) -> tuple[int, ...]:
        """Category ids, positive and all different."""
        return tuple(category.id for category in self.categories)

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """True where single objects are told apart, False for stuff."""
        return tuple(category.is_thing for category in self.categories)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """RGB colours in 0-255."""
        return tuple(category.colour for category in self.categories)

    @property
    def things(self) -> Vocabulary:
        """The countable categories alone, with the ids and colours they have here; `ValueError` if there are none."""
        return Vocabulary(tuple(category for category in self.categories if category.is_thing))

    @property
    def key(self) -> str:
        """A fingerprint (sha256, hexadecimal) of the phrases in their order: equal keys have equal text embeddings."""
        return hashlib.sha256(json.dumps(self.phrases).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __getitem__(self, index: int) -> Category:
        return self.categories[index]


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Return `count` different RGB colours (0-255), always the same ones; the first few are the furthest apart.

    The hue walks round the circle by the golden ratio, so no two neighbours in the list look alike.
    """
    taken: dict[int, None] = {}  # keeps the order
    for step in range(count):
        lightness, saturation = _LIGHTNESS_AND_SATURATION[step // 8 % len(_LIGHTNESS_AND_SATURATION)]
        red, green, blue = colorsys.hls_to_rgb((0.58 + step * _GOLDEN_RATIO) % 1.0, lightness, saturation)
        code = round(255 * red) << 16 | round(255 * green) << 8 | round(255 * blue)
        while code in taken:
            code = (code + 1) % 2**24
        taken[code] = None
    return tuple((code >> 16, code >> 8 & 255, code & 255) for code in taken)


class _CocoRow(TypedDict):
    id: int
    name: str
    isthing: int
    color: list[int]


@cache
def _coco_panoptic() -> Vocabulary:
    text = resources.files("seem").joinpath("assets/coco_panoptic.json").read_text(encoding="utf-8")
    rows = cast("list[_CocoRow]", json.loads(text))
    return Vocabulary(
        tuple(
            Category(
                row["id"],
                row["name"],
                _phrase(row["name"]),
                bool(row["isthing"]),
                (row["color"][0], row["color"][1], row["color"][2]),
            )
            for row in rows
        )
    )


@cache
def _coco_stuff() -> frozenset[str]:
    """Every spelling under which COCO's stuff is known: "sky-other-merged" and "sky"."""
    stuff = [category for category in _coco_panoptic() if not category.is_thing]
    return frozenset(word.casefold() for category in stuff for word in (category.name, category.phrase))


def _phrase(name: str) -> str:
    for part in _SILENT_PARTS:
        name = name.replace(part, "")
    return name


def _clean(name: str, position: int) -> str:
    if not isinstance(name, str):
        raise ValueError(f"Class {position} is {name!r}; a class is named by a text.")
    if bad := next((c for c in name if unicodedata.category(c) in ("Cc", "Cs") and not c.isspace()), None):
        raise ValueError(f"Class {position} holds the control character U+{ord(bad):04X}; remove it.")
    cleaned = " ".join(name.split())
    if not _phrase(cleaned).strip():
        raise ValueError(f"Class {position} is {name!r}, which says nothing; give it a name or leave it out.")
    return cleaned
