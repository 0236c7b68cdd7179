"""RefCOCO, RefCOCO+ and RefCOCOg: COCO objects with sentences that single them out.

    refcoco/refs(unc).p  refcoco+/refs(unc).p  refcocog/refs(umd).p    each with instances.json beside it
    images of COCO train2014 in images/mscoco/images/train2014, images/train2014, train2014 or train2017

`refs(*).p` is a pickle and may hold plain containers alone. Where several are there (refcocog), the division that
papers report is taken: unc, then umd, then google; give the file itself to choose another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from seem.data.dataset import ParsedObjects
from seem.data.image_files import first_file, first_folder, path_inside
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.plain_pickle import read_plain_pickle
from seem.data.readers.coco_rows import CocoDocument, Row, group_rows, parse_rows, read_categories
from seem.data.records import (
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ReferringExpression,
    categories_by_id,
    category_names,
    image_record,
)

_REFS_FILES = ("refs(unc).p", "refs(umd).p", "refs(google).p")
_SETS = ("refcoco", "refcoco+", "refcocog")
_REF_KEYS = frozenset({"ref_id", "ann_id", "image_id", "split", "sentences"})
_IMAGE_FOLDERS = (
    "images/mscoco/images/train2014", "images/train2014", "train2014", "coco/train2014", "train2017", "images",
)  # fmt: skip


def read_refcoco(path: Path, split: str) -> LazyDataset:
    """Open one part: the images of its refs, with all their annotated objects."""
    file, all_refs = _read_refs(path)
    home = file.parent
    instances_file = home / "instances.json"
    if not instances_file.is_file():
        raise incomplete_layout_error(
            "RefCOCO set",
            home,
            "instances.json beside the refs",
            way_out="It comes in the same archive.",
        )
    document = CocoDocument.read(instances_file)
    categories, flaws = read_categories([document])
    by_id = categories_by_id(categories)
    refs = [ref for ref in all_refs if ref["split"] == split]
    images = _read_images(document, refs, home, split)
    record_ids = {image.id: image.id for image in images}
    grouped = group_rows(document, record_ids, images)
    rows = grouped.rows
    expressions = tuple(map(_expression, refs))
    phrases: dict[int, list[str]] = {}
    for expression in expressions:
        phrases.setdefault(expression.object_id, []).extend(expression.sentences)

    def read_objects(image: ImageRecord) -> ParsedObjects:
        with_phrases = []
        for row in rows.get(image.id, ()):
            with_phrases.append({**row, "phrases": phrases.get(row["id"], ())})
        return parse_rows(with_phrases, image, by_id)

    names = category_names(categories)
    return LazyDataset(
        name=home.name,
        kind="refcoco",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_objects=read_objects,
        complete=lambda _: names,
        expressions=expressions,
        flaws=(*flaws, *grouped.flaws, *_flaws_of_refs(refs, rows, file)),
        notes=grouped.notes,
        files=(file, instances_file),
    )


def _find_refs_file(path: Path) -> Path | None:
    """Return the file of sentences of a folder, or the path itself if it is one."""
    if not path.is_file():
        return first_file(*map(path.joinpath, _REFS_FILES))
    if path.name.startswith("refs(") and path.suffix == ".p":
        return path
    return None


def _read_refs(path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Read the sentences; `DataError` if they are missing or something else."""
    file = _find_refs_file(path)
    if file is None:
        inner = first_folder(*map(path.joinpath, _SETS))
        way_out = "Give the set's folder."
        if inner is not None:
            way_out = f"Give one of its sets, such as refcoco:{inner}."
        looked_for = "refs(unc).p, refs(umd).p or refs(google).p"
        raise incomplete_layout_error("RefCOCO set", path, looked_for, way_out=way_out)
    refs = read_plain_pickle(file)
    if not isinstance(refs, list) or not all(map(_is_ref, refs)):
        keys = ", ".join(sorted(_REF_KEYS))
        raise DataError(f"{file} is no list of refs with {keys}; fetch it again from its authors.")
    return file, refs


def _is_ref(value: object) -> bool:
    return isinstance(value, dict) and value.keys() >= _REF_KEYS


def _read_images(
    document: CocoDocument, refs: Sequence[Mapping[str, Any]], home: Path, split: str
) -> tuple[ImageRecord, ...]:
    """Make the records of the images that refs are about."""
    folder = _find_image_folder(home)
    image_ids = {ref["image_id"] for ref in refs}
    images = []
    for row in document.images:
        if row["id"] in image_ids:
            path = _image_path(folder, str(row["file_name"]))
            hw = (row["height"], row["width"])
            images.append(image_record(row["id"], home.name, path, hw, split, "instances"))
    return tuple(images)


def _find_image_folder(home: Path) -> Path:
    """Return the folder of COCO's images beside or above a set; if there is none, where it is expected."""
    for root in (home, home.parent, home.parent.parent):
        folder = first_folder(*map(root.joinpath, _IMAGE_FOLDERS))
        if folder is not None:
            return folder
    return home / _IMAGE_FOLDERS[0]


def _image_path(folder: Path, file_name: str) -> Path:
    """Return where an image is; those of 2017 are called by their number alone."""
    if folder.name == "train2017":
        file_name = file_name.split("_")[-1]
    return path_inside(folder, file_name)


def _expression(ref: Mapping[str, Any]) -> ReferringExpression:
    return ReferringExpression(ref["ref_id"], ref["image_id"], ref["ann_id"], _sentences(ref))


def _sentences(ref: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences of a ref in their order."""
    sentences = []
    for sentence in ref["sentences"]:
        words = str(sentence["sent"]).split()
        sentences.append(" ".join(words))
    return tuple(sentences)


def _flaws_of_refs(
    refs: Sequence[Mapping[str, Any]], rows: Mapping[int, Sequence[Row]], file: Path
) -> Iterator[Flaw]:
    """Find refs whose image or object is not in instances.json."""
    annotation_ids = {row.get("id") for row in chain.from_iterable(rows.values())}
    for ref in refs:
        if ref["ann_id"] not in annotation_ids:
            where = f"{file.name}, ref {ref['ref_id']}"
            yield Flaw(FlawKind.UNKNOWN_IMAGE, where, f"there is no annotation {ref['ann_id']}")


def _splits(path: Path) -> tuple[str, ...]:
    _, refs = _read_refs(path)
    return sort_splits(ref["split"] for ref in refs)


REFCOCO = Layout(
    kind="refcoco",
    title="RefCOCO, RefCOCO+, RefCOCOg",
    expects="refs(<division>).p and instances.json, with COCO's train2014 photos beside or above",
    fits=lambda path: _find_refs_file(path) is not None,
    splits=_splits,
    read=read_refcoco,
)
