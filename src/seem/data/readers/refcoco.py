"""RefCOCO, RefCOCO+ and RefCOCOg: COCO objects with sentences that single them out.

    refcoco/refs(unc).p  refcoco+/refs(unc).p  refcocog/refs(umd).p    each with instances.json beside it
    photos of COCO train2014 in images/mscoco/images/train2014, images/train2014, train2014 or train2017

`refs(*).p` is a pickle and may hold plain containers alone. Where several are there (refcocog), the division that
papers report is taken: unc, then umd, then google; give the file itself to choose another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seem.data.dataset import LazyDataset, ParsedObjects, image_record
from seem.data.layout import Layout, in_order, refuse
from seem.data.plain_pickle import read_plain_pickle
from seem.data.readers.coco import Document, group_rows, parse_rows, read_categories
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord, ReferringExpression

DIVISIONS = ("unc", "umd", "google")
SETS = ("refcoco", "refcoco+", "refcocog")


def refs_file(path: Path) -> Path | None:
    """Return the file of sentences of a folder, or the path itself if it is one."""
    if path.is_file():
        return path if path.name.startswith("refs(") and path.suffix == ".p" else None
    return next((path / f"refs({name}).p" for name in DIVISIONS if (path / f"refs({name}).p").is_file()), None)


def read_refs(path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Read the sentences; `DataError` if they are missing or something else."""
    file = refs_file(path)
    if file is None:
        inner = [name for name in SETS if (path / name).is_dir()]
        raise refuse(
            "RefCOCO set", path, "refs(unc).p, refs(umd).p or refs(google).p",
            way_out=f"Give one of its sets, such as refcoco:{path / inner[0]}." if inner else "Give the set's folder.",
        )  # fmt: skip
    rows = read_plain_pickle(file)
    keys = {"ref_id", "ann_id", "image_id", "split", "sentences"}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and keys <= row.keys() for row in rows):
        raise DataError(f"{file} is no list of refs with {', '.join(sorted(keys))}; fetch it again from its authors.")
    return file, rows


def read_refcoco(path: Path, split: str) -> LazyDataset:
    """Open one part: the photos of its refs, with all their annotated objects."""
    file, refs = read_refs(path)
    home = file.parent
    if not (home / "instances.json").is_file():
        raise refuse("RefCOCO set", home, "instances.json beside the refs", way_out="It comes in the same archive.")
    document = Document.read(home / "instances.json")
    categories, flaws = read_categories([document])
    by_id = {category.id: category for category in categories}
    refs = [ref for ref in refs if ref["split"] == split]
    wanted = {ref["image_id"] for ref in refs}
    folder = _photo_folder(home)
    photos = tuple(
        image_record(
            row["id"],
            home.name,
            _photo(folder, str(row["file_name"])),
            (row["height"], row["width"]),
            split,
            "instances",
        )
        for row in document.images
        if row["id"] in wanted
    )
    rows, more = group_rows(document, {photo.id: photo.id for photo in photos}, photos)
    phrases: dict[int, list[str]] = {}
    for ref in refs:
        phrases.setdefault(ref["ann_id"], []).extend(sentences(ref))

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        told = [dict(row) | {"phrases": phrases.get(row["id"], ())} for row in rows.get(photo.id, ())]
        return parse_rows(told, photo, by_id)

    things = frozenset(category.text for category in categories)
    return LazyDataset(
        name=home.name,
        kind="refcoco",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_objects=read_objects,
        complete=lambda _: things,
        expressions=tuple(
            ReferringExpression(ref["ref_id"], ref["image_id"], ref["ann_id"], sentences(ref)) for ref in refs
        ),
        flaws=(*flaws, *more, *_lost(refs, rows, file)),
        files=(file, home / "instances.json"),
    )


def sentences(ref: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences of a ref in their order."""
    return tuple(" ".join(str(each["sent"]).split()) for each in ref["sentences"])


def _lost(refs: list[dict[str, Any]], rows: Mapping[int, list[Any]], file: Path) -> list[Flaw]:
    """Find refs whose photo or object is not in instances.json."""
    known = {row.get("id") for group in rows.values() for row in group}
    return [
        Flaw(FlawKind.UNKNOWN_IMAGE, f"{file.name}, ref {ref['ref_id']}", f"there is no annotation {ref['ann_id']}")
        for ref in refs
        if ref["ann_id"] not in known
    ]


def _photo_folder(home: Path) -> Path:
    roots = (home, home.parent, home.parent.parent)
    inner = ("images/mscoco/images/train2014", "images/train2014", "train2014", "coco/train2014", "train2017", "images")
    places = [root / name for root in roots for name in inner]
    return next((place for place in places if place.is_dir()), places[0])


def _photo(folder: Path, name: str) -> Path:
    """Find a photo; those of 2017 are called by their number alone."""
    return folder / (name.split("_")[-1] if folder.name == "train2017" else name)


def _splits(path: Path) -> tuple[str, ...]:
    return in_order({ref["split"] for ref in read_refs(path)[1]})


REFCOCO = Layout(
    "refcoco",
    "RefCOCO, RefCOCO+, RefCOCOg",
    "refs(<division>).p and instances.json, with COCO's train2014 photos beside or above",
    lambda path: refs_file(path) is not None,
    _splits,
    read_refcoco,
)
