"""Lists of classes: the name of each, its phrase for the text encoder, whether it is countable, its colour.

A `Vocabulary` is the closed list that panoptic, instance and semantic segmentation choose from. "No object" is not in
it: the model adds it. Category id 0 is never in it either: results use it for "unlabelled".
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TypeAlias, TypedDict, cast

from seem.argument_types import explains_arguments

Colour: TypeAlias = "tuple[int, int, int]"

# Official behaviour: these are cut out of a category's name before it is put into a sentence.
_UNSPOKEN_PARTS = ("-other", "-merged", "-stuff")
_GOLDEN_RATIO = 0.6180339887498949
_LIGHTNESS_AND_SATURATION = ((0.55, 0.85), (0.45, 0.70), (0.68, 0.90))

MAX_CLASSES = 25_000  # of one list: all of ImageNet-21k; the memory of a question grows with it


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


@explains_arguments
@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An ordered list of categories; the order is that of the model's class scores.

    `templates` are the sentences that every phrase is put into, each with one `{}`; a class is the mean over them. None
    = the model's own (published models: 81 of them). `background` lets a pixel of `semantic()` be none of the names: it
    then belongs to no mask. The other tasks leave such pixels out in any case.

    Raises `ValueError` when it is empty, when two entries share an id, a name or a phrase, when an id is below 1, and
    for a template without exactly one `{}`.
    """

    categories: tuple[Category, ...]
    templates: tuple[str, ...] | None = None
    background: bool = False

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError(
                "A list of classes needs at least one name; pass None for the model's own classes."
            )
        _check_templates(self.templates)
        _check_ids(self.categories)
        _check_spellings(self.categories)

    @classmethod
    def coco_panoptic(cls) -> Vocabulary:
        """Return the 133 COCO panoptic categories: 80 things, then 53 stuff, with COCO's ids and panoptic colours."""
        return _coco_panoptic()

    @classmethod
    def ade20k(cls) -> Vocabulary:
        """Return the 150 categories of ADE20K (SceneParse150) in their order, ids 1 to 150: 100 things, 50 stuff.

        Names and the split into things and stuff as in X-Decoder's evaluation; the colours are our own.
        """
        return _ade20k()

    @classmethod
    def imagenet(cls) -> Vocabulary:
        """Return the 1,000 classes of ImageNet's classifiers in their order: id 1 is the classifiers' index 0.

        Names are words of WordNet 3.0 (its terms: `assets/wordnet_license.txt`), the first of a synset where that is
        readable and belongs to one class alone. The split into things and stuff and the colours are our own.
        """
        return _imagenet()

    @classmethod
    def named(cls, name: str) -> Vocabulary:
        """Return a list that ships with the package: "coco", "ade20k" or "imagenet"; `ValueError` for another name."""
        if name not in BUILT_IN_VOCABULARIES:
            raise ValueError(
                f"There is no list of classes {name!r}; there are {_built_in_names()}."
            )
        return BUILT_IN_VOCABULARIES[name]()

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        stuff: Sequence[str] | None = None,
        *,
        templates: Sequence[str] | None = None,
        background: bool = False,
    ) -> Vocabulary:
        """Make a vocabulary of your own names, in the order given, with ids from 1.

        `stuff` lists those names that are regions rather than countable objects. Without it, a name that COCO knows
        ("sky", "road") is what it is there, and every other name is a thing. `templates` and `background` as in the
        class; a published model reads every name 81 times, so for thousands of names a template or two are faster.

        Raises `ValueError` for no names, an empty or repeated name (whatever its case), a control character, a single
        string in place of a list, a `stuff` name that is not among `names`, and a template without exactly one `{}`.
        """
        if isinstance(names, str):
            raise ValueError(
                f"classes is a list of names, got the text {names!r}; write [{names!r}] or split it "
                f"({_built_in_names()} are lists by name)."
            )
        if isinstance(templates, str):
            raise ValueError(
                f"templates is a list of sentences, got the text {templates!r}; write [{templates!r}]."
            )
        if len(names) > MAX_CLASSES:
            raise ValueError(
                f"There are {len(names)} classes, {MAX_CLASSES} are the most; ask for them in several lists."
            )
        cleaned = [_clean(name, position) for position, name in enumerate(names)]
        stuff_names = _stuff_among(cleaned, stuff)
        categories = []
        for number, (name, colour) in enumerate(
            zip(cleaned, distinct_colours(len(cleaned)), strict=True), 1
        ):
            is_thing = name.casefold() not in stuff_names
            categories.append(
                Category(
                    id=number, name=name, phrase=_phrase(name), is_thing=is_thing, colour=colour
                )
            )
        return cls(tuple(categories), None if templates is None else tuple(templates), background)

    @classmethod
    def coerce(cls, classes: Vocabulary | Sequence[str] | None) -> Vocabulary:
        """Read a `classes` argument: None is COCO panoptic, a name of `SHIPPED` is that list.

        A list of names becomes a vocabulary, a vocabulary stays.
        """
        if classes is None:
            return cls.coco_panoptic()
        if isinstance(classes, str) and classes in BUILT_IN_VOCABULARIES:
            return cls.named(classes)
        return classes if isinstance(classes, Vocabulary) else cls.of(classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that results show."""
        return tuple(category.name for category in self.categories)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases that go into a sentence for the text encoder."""
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
        return replace(
            self, categories=tuple(category for category in self.categories if category.is_thing)
        )

    @property
    def key(self) -> str:
        """A fingerprint (sha256, hexadecimal) of phrases and templates: equal keys have equal text embeddings."""
        content = [self.phrases] if self.templates is None else [self.phrases, self.templates]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __getitem__(self, index: int) -> Category:
        return self.categories[index]


Classes: TypeAlias = Vocabulary | Sequence[str] | None
"""What a `classes` argument may be; `Vocabulary.coerce` reads it."""


def is_empty_list(classes: Classes) -> bool:
    """Tell whether a `classes` argument is a list without names."""
    is_list = classes is not None and not isinstance(classes, (str, Vocabulary))
    return is_list and not classes


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Return `count` different RGB colours (0-255), always the same ones; the first few are the furthest apart.

    The hue walks round the circle by the golden ratio, so no two neighbours in the list look alike.
    """
    taken: dict[int, None] = {}  # keeps the order
    for step in range(count):
        lightness, saturation = _LIGHTNESS_AND_SATURATION[
            step // 8 % len(_LIGHTNESS_AND_SATURATION)
        ]
        red, green, blue = colorsys.hls_to_rgb(
            (0.58 + step * _GOLDEN_RATIO) % 1.0, lightness, saturation
        )
        code = round(255 * red) << 16 | round(255 * green) << 8 | round(255 * blue)
        while code in taken:
            code = (code + 1) % 2**24
        taken[code] = None
    return tuple((code >> 16, code >> 8 & 255, code & 255) for code in taken)


class _Row(TypedDict):
    id: int
    name: str
    isthing: int


class _CocoRow(_Row):
    color: list[int]


def _read_asset(name: str) -> str:
    return resources.files("seem").joinpath(f"assets/{name}").read_text(encoding="utf-8")


def _with_own_colours(rows: Sequence[_Row]) -> Vocabulary:
    categories = []
    for row, colour in zip(rows, distinct_colours(len(rows)), strict=True):
        name = row["name"]
        categories.append(Category(row["id"], name, name, bool(row["isthing"]), colour))
    return Vocabulary(tuple(categories))


@cache
def _ade20k() -> Vocabulary:
    return _with_own_colours(cast("list[_Row]", json.loads(_read_asset("ade20k.json"))))


@cache
def _imagenet() -> Vocabulary:
    return _with_own_colours(
        cast("list[_Row]", json.loads(_read_asset("imagenet.json"))["classes"])
    )


def imagenet_synsets() -> tuple[str, ...]:
    """Return the WordNet 3.0 identifiers, such as n01440764, of ImageNet's classes in their order."""
    return tuple(row["synset"] for row in json.loads(_read_asset("imagenet.json"))["classes"])


@cache
def _coco_panoptic() -> Vocabulary:
    rows = cast("list[_CocoRow]", json.loads(_read_asset("coco_panoptic.json")))
    categories = []
    for row in rows:
        name = row["name"]
        red, green, blue = row["color"]
        categories.append(
            Category(row["id"], name, _phrase(name), bool(row["isthing"]), (red, green, blue))
        )
    return Vocabulary(tuple(categories))


@cache
def _coco_stuff() -> frozenset[str]:
    """Every spelling under which COCO's stuff is known: "sky-other-merged" and "sky"."""
    spellings = set()
    for category in _coco_panoptic():
        if not category.is_thing:
            spellings |= {category.name.casefold(), category.phrase.casefold()}
    return frozenset(spellings)


BUILT_IN_VOCABULARIES: dict[str, Callable[[], Vocabulary]] = {
    "coco": _coco_panoptic,
    "ade20k": _ade20k,
    "imagenet": _imagenet,
}
"""The vocabularies that a `classes` argument may name."""


def _built_in_names() -> str:
    *names, last = map(repr, BUILT_IN_VOCABULARIES)
    return f"{', '.join(names)} and {last}"


def _check_ids(categories: tuple[Category, ...]) -> None:
    ids: set[int] = set()
    for category in categories:
        if category.id < 1 or category.id in ids:
            raise ValueError(
                f"Category {category.name!r} has id {category.id}; ids start at 1 (0 = unlabelled), each used once."
            )
        ids.add(category.id)


def _check_spellings(categories: tuple[Category, ...]) -> None:
    """Raise `ValueError` if two categories share a name or a phrase, in any case."""
    name_of: dict[str, str] = {}
    for category in categories:
        for spelling in {category.name.casefold(), category.phrase.casefold()}:
            other = name_of.get(spelling)
            if other == category.name:
                raise ValueError(f"{category.name!r} is there twice; keep one.")
            if other is not None:
                raise ValueError(
                    f"{category.name!r} repeats {other!r}, both are read as {spelling!r}; keep one."
                )
            name_of[spelling] = category.name


def _check_templates(templates: tuple[str, ...] | None) -> None:
    if templates is not None and not templates:
        raise ValueError(
            "There is no template; pass None for the model's own, or at least one with {} for the name."
        )
    for template in templates or ():
        if not isinstance(template, str):
            raise ValueError(
                f"A template is a text with one {{}} where the class name goes, got {template!r}."
            )
        if template.count("{}") != 1:
            raise ValueError(
                f"A template needs one {{}} where the class name goes, got {template!r}."
            )


def _stuff_among(names: Sequence[str], stuff: Sequence[str] | None) -> set[str]:
    """Return which names are regions, case-folded: those of `stuff`, or for None those that COCO knows as stuff."""
    known = {name.casefold() for name in names}
    if stuff is None:
        return known & _coco_stuff()
    stuff_names = {_clean(name, position).casefold() for position, name in enumerate(stuff)}
    unknown = sorted(stuff_names - known)
    if unknown:
        raise ValueError(
            f"stuff names {unknown[0]!r}, which is not in the list of classes; add it there."
        )
    return stuff_names


def _phrase(name: str) -> str:
    for part in _UNSPOKEN_PARTS:
        name = name.replace(part, "")
    return name


def spelling_key(name: str) -> str:
    """Return what a text encoder makes of a name: names with equal keys are one class; empty if nothing is left."""
    return " ".join(_phrase(name).split()).casefold()


def _clean(name: str, position: int) -> str:
    if not isinstance(name, str):
        raise ValueError(f"Class {position} is {name!r}; a class is named by a text.")
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise ValueError(
                f"Class {position} holds the control character U+{ord(character):04X}; remove it."
            )
    cleaned = " ".join(name.split())
    if not _phrase(cleaned).strip():
        raise ValueError(
            f"Class {position} is {name!r}, which says nothing; give it a name or leave it out."
        )
    return cleaned
