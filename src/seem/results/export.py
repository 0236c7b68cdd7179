"""A result in the records of other programs: COCO, segment-anything's records, GeoJSON, YOLO, columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.annotation_formats.annotated_image import AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.geojson import PIXELS, checked_transform, to_feature_collection
from seem.annotation_formats.outlines import trace_outlines
from seem.annotation_formats.yolo import to_yolo_line
from seem.coco_format import (
    UNLABELLED,
    CocoAnnotation,
    CocoImage,
    CocoRecord,
    MaskRecord,
    OutputMode,
    SeemRecord,
    encode_mask,
    packed_to_rle,
    to_xywh,
)
from seem.mask_codec import PackedMask
from seem.prompts import Prompt
from seem.results.objects import ObjectColumns
from seem.results.provenance import Proposal, Provenance
from seem.version import __version__
from seem.vocabulary import Vocabulary


def to_coco_record(results: ObjectColumns, image_id: int) -> CocoRecord:
    """Return one COCO-style object: `images`, `annotations`, `categories`, and `seem` with the provenance."""
    height, width = results.image_hw
    file_name = results.provenance.image_name or "photo"
    return CocoRecord(
        images=[CocoImage(id=image_id, file_name=file_name, width=width, height=height)],
        annotations=_to_annotations(results, image_id),
        categories=list(results.categories),
        seem=to_seem_record(results.provenance, results.kind, results.seconds),
    )


def _to_annotations(results: ObjectColumns, image_id: int) -> list[CocoAnnotation]:
    labels, label_scores = results.labels, results.label_scores
    category_ids = results.category_ids.tolist()
    annotations = []
    for row, mask in enumerate(results.packed):
        annotation = CocoAnnotation(
            id=int(results.ids[row]),
            image_id=image_id,
            category_id=category_ids[row],
            segmentation=packed_to_rle(mask),
            bbox=to_xywh(mask.box),
            area=mask.area,
            iscrowd=0,
            score=round(float(results.scores[row]), 6),
            label=labels[row],
            label_score=round(label_scores[row], 6),
        )
        annotations.append(annotation)
    return annotations


def to_seem_record(provenance: Provenance, kind: str, steps: Mapping[str, float]) -> SeemRecord:
    """Return where a result comes from: its provenance, the rule that answered, and the wall time of each step."""
    record = SeemRecord(
        version=__version__,
        model=provenance.model,
        sha256=provenance.model_sha256,
        task=provenance.task,
        kind=kind,
        prompts=list(map(to_prompt_records, provenance.prompts)),
        seconds={step: round(seconds, 6) for step, seconds in steps.items()},
        precision=provenance.precision,
        orientation=provenance.orientation,
        rules=list(provenance.rules),
        notes=list(provenance.notes),
    )
    if provenance.caption is not None:
        record["caption"] = provenance.caption
    if provenance.engine != "torch":
        record["engine"] = provenance.engine
    if provenance.options is not None:
        record["options"] = list(provenance.options)
    return record


def to_prompt_records(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Return the prompts of an object as plain values."""
    return [prompt.to_dict() for prompt in prompts]


def to_mask_records(results: ObjectColumns, output_mode: OutputMode) -> list[MaskRecord]:
    """Return the objects as segment-anything's automatic mask generator does."""
    records = []
    for row, mask in enumerate(results.packed):
        if results.proposals is None:
            record = _record_of_score(mask, float(results.scores[row]), output_mode)
        else:
            record = _record_of_proposal(mask, results.proposals[row], output_mode)
        records.append(record)
    return records


def _record_of_proposal(
    mask: PackedMask, proposal: Proposal, output_mode: OutputMode
) -> MaskRecord:
    point_coords = []
    if proposal.point is not None:
        point_coords.append(list(proposal.point))
    return MaskRecord(
        segmentation=encode_mask(mask.decode(), output_mode),
        area=mask.area,
        bbox=to_xywh(mask.box),
        predicted_iou=proposal.predicted_iou,
        point_coords=point_coords,
        stability_score=proposal.stability_score,
        crop_box=to_xywh(proposal.crop_box),
    )


def _record_of_score(mask: PackedMask, score: float, output_mode: OutputMode) -> MaskRecord:
    """Describe a mask that `everything` did not propose: the score stands for the predicted IoU."""
    height, width = mask.image_hw
    return MaskRecord(
        segmentation=encode_mask(mask.decode(), output_mode),
        area=mask.area,
        bbox=to_xywh(mask.box),
        predicted_iou=score,
        point_coords=[],
        stability_score=None,
        crop_box=to_xywh((0, 0, width, height)),
    )


def to_class_ids(category_ids: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Turn category ids into class ids that count from 0, as detectors do; -1 for what has no category.

    A category of COCO's panoptic list has its index there (the 80 things first), any other its id less 1.
    """
    coco_index = {category: index for index, category in enumerate(Vocabulary.coco_panoptic())}
    class_ids = {}
    for category in vocabulary:
        class_ids[category.id] = coco_index.get(category, category.id - 1)
    return np.array([class_ids.get(number, -1) for number in category_ids.tolist()], dtype=np.int64)


def to_annotated_objects(results: ObjectColumns) -> list[AnnotatedObject]:
    """Return the objects as writers of annotation files take them; labels are computed."""
    rows = zip(results.ids.tolist(), results.packed, results.labels, results.scores, strict=True)
    return [
        AnnotatedObject(number, mask, label or UNLABELLED, float(score))
        for number, mask, label, score in rows
    ]


def to_geojson_record(results: ObjectColumns, transform: Sequence[float] | None) -> dict[str, Any]:
    """Return the objects as a GeoJSON FeatureCollection."""
    classes = ClassTable()
    classes.add_all(category for category in results.categories if category["id"])
    checked = PIXELS if transform is None else checked_transform(transform)
    return to_feature_collection(to_annotated_objects(results), classes, checked)


def to_yolo_lines(results: ObjectColumns, names: Sequence[str] | None) -> list[str]:
    """Return the lines of a YOLO label file; `names` are the classes in the order of their indices."""
    if names is None:
        names = [category["name"] for category in results.categories if category["id"]]
    index_of = {name: index for index, name in enumerate(names)}
    lines = []
    for one in to_annotated_objects(results):
        if one.class_name not in index_of:
            raise ValueError(
                f"Object {one.id} is called {one.class_name!r}, which is not among the {len(names)} names of classes; "
                "pass names=[...] with it, or leave the object out with filter()."
            )
        if one.mask.area:
            outlines = trace_outlines(one.mask)
            lines.append(to_yolo_line(outlines, results.image_hw, index_of[one.class_name]))
    return lines


def to_table_columns(results: ObjectColumns) -> dict[str, Any]:
    """Return the columns of a table with a row an object; those of time stand in results of a video alone."""
    columns: dict[str, Any] = {"image": [results.provenance.image_name] * len(results)}
    if results.frame is not None:
        columns["frame"] = [results.frame] * len(results)
        columns["time"] = [results.time] * len(results)
    columns["id"] = results.ids
    columns["label"] = list(results.labels)
    columns["label_score"] = list(results.label_scores)
    columns["category_id"] = results.category_ids
    columns["score"] = results.scores
    for number, name in enumerate(("x0", "y0", "x1", "y1")):
        columns[name] = results.boxes[:, number]
    columns["area"] = results.areas
    columns["segmentation"] = list(results.rle)
    return columns
