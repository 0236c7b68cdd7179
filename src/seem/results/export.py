"""A result in the records of other programs: COCO annotations, segment-anything's records, detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seem.coco_format import (
    CocoAnnotation,
    CocoImage,
    CocoRecord,
    MaskRecord,
    OutputMode,
    SeemRecord,
    encode_mask,
    to_rle,
    to_xywh,
)
from seem.mask_codec import PackedMask
from seem.prompts import Prompt
from seem.results.provenance import Proposal
from seem.version import __version__
from seem.vocabulary import Vocabulary

if TYPE_CHECKING:
    from seem.results.results import Results


def to_coco_record(results: Results, image_id: int) -> CocoRecord:
    """Return one COCO-style object: `images`, `annotations`, `categories`, and `seem` with the provenance."""
    height, width = results.image_hw
    file_name = results.provenance.image_name or "photo"
    return CocoRecord(
        images=[CocoImage(id=image_id, file_name=file_name, width=width, height=height)],
        annotations=_to_annotations(results, image_id),
        categories=list(results.categories),
        seem=_to_seem_record(results),
    )


def _to_annotations(results: Results, image_id: int) -> list[CocoAnnotation]:
    labels, label_scores = results.labels, results.label_scores
    category_ids = results.category_ids.tolist()
    annotations = []
    for row, mask in enumerate(results.packed):
        annotation = CocoAnnotation(
            id=int(results.ids[row]),
            image_id=image_id,
            category_id=category_ids[row],
            segmentation=to_rle(mask.decode()),
            bbox=to_xywh(mask.box),
            area=mask.area,
            iscrowd=0,
            score=round(float(results.scores[row]), 6),
            label=labels[row],
            label_score=round(label_scores[row], 6),
        )
        annotations.append(annotation)
    return annotations


def _to_seem_record(results: Results) -> SeemRecord:
    provenance = results.provenance
    record = SeemRecord(
        version=__version__,
        model=provenance.model,
        sha256=provenance.model_sha256,
        task=provenance.task,
        kind=results.kind,
        prompts=list(map(to_prompt_records, provenance.prompts)),
        seconds={step: round(seconds, 6) for step, seconds in results.seconds.items()},
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


def to_mask_records(results: Results, output_mode: OutputMode) -> list[MaskRecord]:
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
