"""Lists of classes that ship with the package: which numbers a set's files use, what they mean, thing or stuff.

`classes.json` and `ade20k_full.json` are facts of the sets. Where a set itself does not split things from stuff
(Pascal Context, SUN RGB-D, ScanNet 40), the split is ours: what has one outline a piece is a thing; in rooms only wall,
floor and ceiling are stuff.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from seem.data.records import CategoryRecord
from seem.vocabulary import Vocabulary

CLASS_LISTS = (
    "pascal_voc", "pascal_context", "cityscapes", "bdd100k", "bdd100k_panoptic", "sunrgbd", "scannet20", "scannet40",
    "ade20k", "ade20k_full", "coco",
)  # fmt: skip

NAMELESS = frozenset({"object", "region"})
"""Category names that only say "something": they become the empty name."""


@cache
def class_list(name: str) -> tuple[CategoryRecord, ...]:
    """Return a list of `LISTS`; ids are those of the set's label files.

    Two lists have ids of our own, from 1: `bdd100k` (its files count from 0) and `ade20k_full` (its files hold the
    numbers of 3,688 names, see `ade20k_full_codes`).
    """
    match name:
        case "ade20k":
            return tuple(CategoryRecord(c.id, c.name, c.phrase, c.is_thing) for c in Vocabulary.ade20k())
        case "coco":
            return tuple(CategoryRecord(c.id, c.name, c.phrase, c.is_thing) for c in Vocabulary.coco_panoptic())
        case "ade20k_full":
            return _ade20k_full()
        case _:
            rows = json.loads(_asset("classes.json"))[name]
            return tuple(CategoryRecord(r["id"], r["name"], r.get("text", r["name"]), bool(r["isthing"])) for r in rows)


@cache
def ade20k_full_codes() -> tuple[int, ...]:
    """Return for each of ADE20K's 847 classes, in order, its number among the 3,688 names of the full set."""
    return tuple(row[0] for row in json.loads(_asset("ade20k_full.json")))


def said(name: str) -> str:
    """Turn a category's name into what to prompt with: COCO's stuff as it is said, underscores as spaces."""
    name = str(name).strip()
    text = _coco_phrases().get(name) or " ".join(name.replace("_", " ").split())
    return "" if text in NAMELESS else text


def category_of(row: dict[str, Any]) -> CategoryRecord:
    """Read a row of COCO's `categories`."""
    return CategoryRecord(
        row["id"], str(row["name"]), said(row.get("text") or row["name"]), bool(row.get("isthing", 1))
    )


@cache
def _coco_phrases() -> dict[str, str]:
    return {category.name: category.phrase for category in Vocabulary.coco_panoptic()}


def _ade20k_full() -> tuple[CategoryRecord, ...]:
    """847 classes without an official split: those that ADE20K's 150 call stuff are stuff, all others things."""
    stuff = {category.name for category in Vocabulary.ade20k() if not category.is_thing}
    names = [name for _, name in json.loads(_asset("ade20k_full.json"))]
    taken = {name for name in names if "," not in name}  # they can be called nothing else
    found = []
    for number, name in enumerate(names, 1):
        synonyms = [part.strip() for part in name.split(",")]
        text = name if len(synonyms) == 1 else next((part for part in synonyms if part not in taken), name)
        taken.add(text)
        found.append(CategoryRecord(number, name, text, not stuff.intersection(synonyms)))
    return tuple(found)


def _asset(name: str) -> str:
    return resources.files("seem").joinpath(f"assets/{name}").read_text(encoding="utf-8")
