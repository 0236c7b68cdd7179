"""The table of formats that results are written in, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from seem.annotation_formats.coco_instances import CocoWriter
from seem.annotation_formats.coco_panoptic import CocoPanopticWriter
from seem.annotation_formats.cvat import CvatWriter
from seem.annotation_formats.geojson import GeoJsonWriter
from seem.annotation_formats.label_studio import LabelStudioWriter
from seem.annotation_formats.labelme import LabelmeWriter
from seem.annotation_formats.video import (
    DavisWriter,
    MotsWriter,
    VideoDatasetWriter,
    VideoSettings,
    YoutubeVisWriter,
)
from seem.annotation_formats.voc import VocWriter
from seem.annotation_formats.writer import DatasetWriter, WriterSettings
from seem.annotation_formats.yolo import YoloWriter


@dataclass(frozen=True, slots=True)
class AnnotationFormat:
    """A format: what it is called, what it is for, what writes it, and whether it takes ids of a COCO file."""

    name: str
    purpose: str
    open: Callable[[WriterSettings], DatasetWriter]
    takes_ids: bool = False


IMAGE_FORMATS: tuple[AnnotationFormat, ...] = (
    AnnotationFormat("coco", "run-length codes, and the results list of loadRes", CocoWriter, takes_ids=True),
    AnnotationFormat("coco-polygons", "polygons", partial(CocoWriter, as_polygons=True), takes_ids=True),
    AnnotationFormat("coco-panoptic", "panoptic maps and segments_info", CocoPanopticWriter, takes_ids=True),
    AnnotationFormat("yolo", "Ultralytics, with copies of the photos", YoloWriter),
    AnnotationFormat("voc", "Pascal VOC, with copies of the photos", VocWriter),
    AnnotationFormat("labelme", "labelme 5 and later", LabelmeWriter),
    AnnotationFormat("cvat", "CVAT for images 1.1", CvatWriter),
    AnnotationFormat("label-studio", "tasks with predictions", LabelStudioWriter),
    AnnotationFormat("geojson", "polygons with holes in pixels, as QuPath reads them", GeoJsonWriter),
)  # fmt: skip
"""Formats for images."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """A format for videos: what it is called, what it is for, and what writes it."""

    name: str
    purpose: str
    open: Callable[[VideoSettings], VideoDatasetWriter]


VIDEO_FORMATS: tuple[VideoFormat, ...] = (
    VideoFormat("davis", "a palette PNG a frame", DavisWriter),
    VideoFormat("youtube-vis", "JSON with a mask a frame", YoutubeVisWriter),
    VideoFormat("mots", "a line an object and frame", MotsWriter),
)
"""Formats for videos."""

NamedFormat = TypeVar("NamedFormat", AnnotationFormat, VideoFormat)


def parse_format_names(
    texts: Sequence[str], formats: Sequence[NamedFormat]
) -> tuple[NamedFormat, ...]:
    """Read names, each text one or several with commas; `ValueError` for a name that is not in the table."""
    by_name = {format.name: format for format in formats}
    chosen: dict[str, NamedFormat] = {}
    for text in texts:
        for part in text.split(","):
            name = part.strip().lower()
            if name not in by_name:
                raise ValueError(f"There is no format {name!r}; there are {', '.join(by_name)}.")
            chosen[name] = by_name[name]
    return tuple(chosen.values())
