"""The table of formats, and which of them a path looks like."""

from __future__ import annotations

from pathlib import Path

from seem.data.image_files import list_folders, only_path
from seem.data.layout import Layout, describe_contents
from seem.data.pack import PACK
from seem.data.readers.ade20k import ADE20K, ADE20K_FULL
from seem.data.readers.bdd100k import BDD100K, BDD100K_PANOPTIC
from seem.data.readers.camvid import CAMVID
from seem.data.readers.cityscapes import CITYSCAPES
from seem.data.readers.clicks import CLICKS
from seem.data.readers.coco import COCO, LVIS
from seem.data.readers.cvat import CVAT
from seem.data.readers.darwin import DARWIN
from seem.data.readers.datumaro import DATUMARO
from seem.data.readers.folder import FOLDER
from seem.data.readers.label_studio import LABEL_STUDIO
from seem.data.readers.labelme import LABELME
from seem.data.readers.labelme_xml import LABELME_XML
from seem.data.readers.openimages import OPENIMAGES
from seem.data.readers.refcoco import REFCOCO
from seem.data.readers.scannet import SCANNET
from seem.data.readers.shards import SHARDS
from seem.data.readers.sunrgbd import SUNRGBD
from seem.data.readers.supervisely import SUPERVISELY
from seem.data.readers.unread_formats import recognize_unread_format
from seem.data.readers.via import VIA
from seem.data.readers.video import DAVIS, YOUTUBE_VOS
from seem.data.readers.voc import CONTEXT, SBD, VOC
from seem.data.readers.yolo import YOLO
from seem.data.records import DataError

LAYOUTS: tuple[Layout, ...] = (
    COCO, LVIS, REFCOCO, PACK, VOC, CONTEXT, SBD, CLICKS, *DAVIS, YOUTUBE_VOS, ADE20K, ADE20K_FULL, CITYSCAPES,
    BDD100K, BDD100K_PANOPTIC, SUNRGBD, *SCANNET, OPENIMAGES, YOLO, LABELME, CVAT, LABEL_STUDIO, DATUMARO, SUPERVISELY,
    DARWIN, VIA, CAMVID, LABELME_XML, SHARDS, FOLDER,
)  # fmt: skip
"""Every format, by the word that a specification begins with."""

_LAYOUT_OF_KIND = {layout.kind: layout for layout in LAYOUTS}
_KIND_OF_TRACE = {"data.yaml": "yolo", "labels": "yolo", "annotations": "coco", "images": "folder"}
"""Formats that an incomplete data set is taken for by an entry of its folder: their readers say what is missing."""

_MAX_INNER_FOLDERS = 50


def layout_kinds() -> tuple[str, ...]:
    """Return the kinds of all formats, in the order of the table."""
    return tuple(_LAYOUT_OF_KIND)


def layout_of_kind(kind: str) -> Layout:
    """Return the format of a kind that is in the table."""
    return _LAYOUT_OF_KIND[kind]


def recognize_layout(path: Path) -> Layout:
    """Return the format that a path looks like, by what lies there.

    Raises:
        DataError: it looks like none, not even in part, or like several.
    """
    matching = _matching_layouts(path)
    if not matching and FOLDER.fits(path):
        return FOLDER
    if len(matching) == 1:
        return matching[0]
    if matching:
        titles = ", ".join(layout.title for layout in matching)
        ways = " or ".join(f"{layout.kind}:{path}" for layout in matching)
        raise DataError(f"{path} can be read in several ways: {titles}; write {ways}.")
    inner = _only_inner_dataset(path)
    if inner is None and recognize_unread_format(path) is None:
        for entry, kind in _KIND_OF_TRACE.items():
            if (path / entry).exists():
                return layout_of_kind(kind)
    raise _unknown_layout_error(path, inner)


def _matching_layouts(path: Path) -> list[Layout]:
    """Return the formats that a path looks like; all of them look like a plain folder too, which is left out."""
    matching = []
    for layout in LAYOUTS:
        if layout is not FOLDER and layout.fits(path):
            matching.append(layout)
    return matching


def _only_inner_dataset(path: Path) -> Path | None:
    """Return the folder one level further down that holds a data set, if there is just one."""
    if not path.is_dir():
        return None
    datasets = []
    for folder in list_folders(path)[:_MAX_INNER_FOLDERS]:
        if len(_matching_layouts(folder)) == 1:
            datasets.append(folder)
    return only_path(datasets)


def find_inner_root(folder: Path) -> Path:
    """Return the folder inside of which a data set begins: an archive often holds one folder that holds everything."""
    while not _matching_layouts(folder) and not FOLDER.fits(folder):
        entries = list(folder.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    return folder


def _unknown_layout_error(path: Path, inner: Path | None) -> DataError:
    """Say what a path holds and what to do, in one line."""
    start = f"{path} is no data set in a format that is known: it holds {describe_contents(path)}"
    if inner is not None:
        title = recognize_layout(inner).title
        return DataError(f"{start}; {inner.name}/ in it is {title}: give {inner}.")
    other = recognize_unread_format(path)
    if other is not None:
        return DataError(f"{start}. It looks like {other.title}: {other.way_out}.")
    return DataError(
        f"{start}. Export COCO (instances), or masks with their names, from the tool that made it; or write "
        f"kind:path to be told what is missing, kind being one of {', '.join(layout_kinds())}."
    )
