"""Lists of classes that ship with the package: which numbers a set's files use, what they mean, thing or stuff.

`classes.json` and `ade20k_full.json` are facts of the sets. Where a set itself does not split things from stuff
(Pascal Context, SUN RGB-D, ScanNet 40), the split is ours: what has one outline a piece is a thing; in rooms only wall,
floor and ceiling are stuff.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from seem import vocabulary
from seem.data.records import CategoryRecord, categories_by_id

CLASS_LISTS = (
    "pascal_voc", "pascal_context", "cityscapes", "bdd100k", "bdd100k_panoptic", "sunrgbd", "scannet20", "scannet40",
    "ade20k", "ade20k_full", "coco",
)  # fmt: skip

UNNAMED = frozenset({"object", "region"})
"""Category names of our own sets that only say "something": they become the empty name."""


@cache
def class_list(name: str) -> tuple[CategoryRecord, ...]:
    """Return a list of `CLASS_LISTS`; ids are those of the set's label files.

    Two lists have ids of our own, from 1: `bdd100k` (its files count from 0) and `ade20k_full` (its files hold the
    numbers of 3,688 names, see `ade20k_full_codes`).
    """
    match name:
        case "ade20k":
            return tuple(map(_from_vocabulary_entry, vocabulary.Vocabulary.ade20k()))
        case "coco":
            return tuple(map(_from_vocabulary_entry, vocabulary.Vocabulary.coco_panoptic()))
        case "ade20k_full":
            return _ade20k_full()
        case _:
            return tuple(map(_from_asset_row, _read_asset("classes.json")[name]))


@cache
def ade20k_full_codes() -> tuple[int, ...]:
    """Return for each of ADE20K's 847 classes, in order, its number among the 3,688 names of the full set."""
    codes, _ = _ade20k_full_columns()
    return codes


def prompt_name(name: str) -> str:
    """Turn a category's name into the name to prompt with; any name is one, empty only if nothing is left of it.

    COCO's stuff gets the phrase of its vocabulary; underscores become spaces, control characters are left out.
    """
    name = "".join(filter(_is_written, str(name))).strip()
    words = name.replace("_", " ").split()
    return _coco_phrases().get(name) or " ".join(words)


def _is_written(character: str) -> bool:
    is_control = unicodedata.category(character) in ("Cc", "Cs") and not character.isspace()
    return not is_control and character != "\ufeff"


def parse_category(row: dict[str, Any]) -> CategoryRecord:
    """Read a row of COCO's `categories`; an empty `text` is that of a class without a name."""
    text = row.get("text")
    return CategoryRecord(
        id=row["id"],
        name=str(row["name"]),
        text=prompt_name(row["name"] if text is None else text),
        is_thing=bool(row.get("isthing", 1)),
    )


def share_texts(categories: Sequence[CategoryRecord]) -> tuple[CategoryRecord, ...]:
    """Return classes of which those that a model cannot tell apart by name have one text: that of the first.

    The text encoder does not see case, nor what `vocabulary.spelling_key` leaves out.
    """
    text_of_key = {"": ""}
    shared = []
    for category in categories:
        key = vocabulary.spelling_key(category.text)
        text = text_of_key.setdefault(key, category.text)
        shared.append(category if text == category.text else replace(category, text=text))
    return tuple(shared)


def numbered_categories(names: Iterable[str], is_thing: bool = True) -> tuple[CategoryRecord, ...]:
    """Make categories of names, with ids from 1 in the order given."""
    return tuple(
        CategoryRecord(number, name, prompt_name(name), is_thing=is_thing)
        for number, name in enumerate(names, 1)
    )


def vocabulary_from_categories(categories: Iterable[CategoryRecord]) -> vocabulary.Vocabulary:
    """Make a vocabulary of a set's named classes, with their ids; ids that begin at 0 are moved up by one.

    Classes that share a text are one, with the id of the first.

    Raises:
        ValueError: no class has a name.
    """
    named = [category for category in share_texts(list(categories)) if category.text]
    first_id = min(categories_by_id(named), default=1)
    offset = max(0, 1 - first_id)
    first_of_text: dict[str, CategoryRecord] = {}
    for category in named:
        first_of_text.setdefault(category.text, category)
    colours = vocabulary.distinct_colours(len(first_of_text))
    used: set[str] = set()
    entries = []
    for category, colour in zip(first_of_text.values(), colours, strict=True):
        name = category.name
        if vocabulary.spelling_key(name) in used:
            name = category.text
        used |= {vocabulary.spelling_key(name), vocabulary.spelling_key(category.text)}
        entry = vocabulary.Category(
            category.id + offset, name, category.text, category.is_thing, colour
        )
        entries.append(entry)
    return vocabulary.Vocabulary(tuple(entries))


@cache
def _coco_phrases() -> dict[str, str]:
    return {category.name: category.phrase for category in vocabulary.Vocabulary.coco_panoptic()}


def _from_vocabulary_entry(entry: vocabulary.Category) -> CategoryRecord:
    return CategoryRecord(entry.id, entry.name, entry.phrase, entry.is_thing)


def _from_asset_row(row: dict[str, Any]) -> CategoryRecord:
    name = row["name"]
    text = row.get("text", name)
    return CategoryRecord(row["id"], name, text, is_thing=bool(row["isthing"]))


def _ade20k_full() -> tuple[CategoryRecord, ...]:
    """847 classes without an official split: those that ADE20K's 150 call stuff are stuff, all others things.

    A class with synonyms is called by the first of them that no class before it, nor one without synonyms, is called.
    """
    stuff = {category.name for category in vocabulary.Vocabulary.ade20k() if not category.is_thing}
    _, names = _ade20k_full_columns()
    used = {name for name in names if "," not in name}  # they can be called nothing else
    categories = []
    for number, name in enumerate(names, 1):
        synonyms = list(map(str.strip, name.split(",")))
        text = _choose_synonym(name, synonyms, used)
        used.add(text)
        is_thing = stuff.isdisjoint(synonyms)
        categories.append(CategoryRecord(number, name, text, is_thing))
    return tuple(categories)


def _choose_synonym(name: str, synonyms: Sequence[str], used: set[str]) -> str:
    """Return the first of several synonyms that is not in use; the full name if there is none, or no choice."""
    if len(synonyms) > 1:
        for synonym in synonyms:
            if synonym not in used:
                return synonym
    return name


def _ade20k_full_columns() -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the codes and the names of ADE20K's 847 classes."""
    codes, names = zip(*_read_asset("ade20k_full.json"), strict=True)
    return codes, names


def _read_asset(name: str) -> Any:
    text = resources.files("seem").joinpath(f"assets/{name}").read_text(encoding="utf-8")
    return json.loads(text)
