"""Formats that are not read, and which export of the tool to choose instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seem.data.readers.tool_files import has_text_file

_NUMBERS_OF_BOX = 4


@dataclass(frozen=True, slots=True)
class UnreadFormat:
    """A format by what the names of its files end in and their text; `way_out` says what to do."""

    title: str
    suffix: str
    looks_right: Callable[[bytes], bool]
    way_out: str


def _has_all(*words: bytes) -> Callable[[bytes], bool]:
    return lambda text: all(word in text for word in words)


def _is_list_of_results(text: bytes) -> bool:
    is_list = text.lstrip().startswith(b"[")
    return is_list and _has_all(b'"image_id"', b'"category_id"', b'"segmentation"')(text)


def _is_yolo_row(text: bytes) -> bool:
    """Whether the first line is a class number and an even number of fractions."""
    first_line = text.split(b"\n", 1)[0]
    number, *fractions = first_line.split() or [b""]
    if len(fractions) < _NUMBERS_OF_BOX or len(fractions) % 2:
        return False
    return number.isdigit() and all(map(_is_fraction, fractions))


def _is_fraction(word: bytes) -> bool:
    return word.replace(b".", b"", 1).isdigit()


UNREAD_FORMATS = (
    UnreadFormat(
        "SUN RGB-D as published",
        "seg.mat",
        _has_all(),
        "make folders image/{train,test} and label37/{train,test} of its photos and class maps",
    ),
    UnreadFormat(
        "ADE20K of 2016",
        "index_ade20k.mat",
        _has_all(),
        "its class numbers are others than today's; download ADE20K_2021_17_01",
    ),
    UnreadFormat(
        "boxes of Pascal VOC",
        ".xml",
        _has_all(b"<annotation>", b"<bndbox>"),
        "their boxes have no masks, their polygons are not read; export COCO instances, YOLO polygons or masks",
    ),
    UnreadFormat(
        "a Supervisely project of videos, volumes or point clouds",
        "key_id_map.json",
        _has_all(),
        "only projects of images are read; make one of frames, or export COCO",
    ),
    UnreadFormat(
        "VIA 3",
        ".json",
        _has_all(b'"project"', b'"config"', b'"attribute"', b'"metadata"'),
        "export COCO, or annotate with VIA 2",
    ),
    UnreadFormat(
        "Labelbox's export (NDJSON)",
        ".ndjson",
        _has_all(b'"data_row"'),
        "convert it to COCO instances",
    ),
    UnreadFormat(
        "SuperAnnotate's export",
        ".json",
        _has_all(b'"instances"', b'"metadata"', b'"className"'),
        "convert it to COCO instances with its SDK",
    ),
    UnreadFormat(
        "Hasty's export",
        ".json",
        _has_all(b'"project_name"', b'"label_classes"', b'"images"'),
        "export COCO instances",
    ),
    UnreadFormat(
        "boxes of Create ML",
        ".json",
        _has_all(b'"image"', b'"annotations"', b'"coordinates"'),
        "they have no masks; export masks, polygons or COCO instances",
    ),
    UnreadFormat(
        "a FiftyOne set",
        ".json",
        _has_all(b'"samples"', b'"filepath"'),
        "export it as fiftyone.types.COCODetectionDataset",
    ),
    UnreadFormat(
        "Darwin JSON 1.0 of V7",
        ".json",
        _has_all(b'"image"', b'"annotations"', b'"original_filename"'),
        "export Darwin JSON 2.0",
    ),
    UnreadFormat(
        "a list of results in COCO's format",
        ".json",
        _is_list_of_results,
        "it names no photos; put it under annotations in a file with images and categories",
    ),
    UnreadFormat(
        "masks of SA-1B",
        ".json",
        _has_all(b'"image"', b'"annotations"', b'"predicted_iou"', b'"counts"'),
        "convert them to COCO instances",
    ),
    UnreadFormat(
        "brush masks of Label Studio",
        "task-*-annotation-*.png",
        _has_all(),
        "their names tell no photo; export JSON, which holds the same masks",
    ),
    UnreadFormat(
        "brush masks of Label Studio",
        "task-*-annotation-*.npy",
        _has_all(),
        "their names tell no photo; export JSON, which holds the same masks",
    ),
    UnreadFormat(
        "Label Studio's table",
        ".csv",
        _has_all(b"annotation_id", b"annotator", b"lead_time"),
        "export JSON",
    ),
    UnreadFormat(
        "Datumaro's binary set", ".datum", _has_all(), "export it as datumaro (JSON) or coco"
    ),
    UnreadFormat("packed files", ".gz", _has_all(), "unpack them"),
    UnreadFormat(
        "a set of TFRecord files",
        ".tfrecord",
        _has_all(),
        "export COCO instances",
    ),
    UnreadFormat(
        "text files of polygons or boxes without their names",
        ".txt",
        _is_yolo_row,
        "YOLO needs data.yaml, or classes.txt beside images/ and labels/",
    ),
)


def recognize_unread_format(path: Path) -> UnreadFormat | None:
    """Return the format that a path looks like among those that are not read; None if it is none of them."""
    for known in UNREAD_FORMATS:
        if has_text_file(path, known.suffix, known.looks_right):
            return known
    return None
