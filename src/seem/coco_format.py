"""The forms in which results go elsewhere: COCO annotations, segment-anything's records, run-length codes."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.mask_codec import PackedMask
from seem.prompts import Json
from seem.rasterize import PixelBox
from seem.vocabulary import Category

OutputMode: TypeAlias = Literal["binary_mask", "uncompressed_rle", "coco_rle"]

UNLABELLED = "unlabelled"  # the name of category id 0


class CocoRle(TypedDict):
    """A mask in compressed run-length code; `size` is (height, width)."""

    size: list[int]
    counts: str


class UncompressedRle(TypedDict):
    """A mask in run lengths, column by column, the first outside; `size` is (height, width)."""

    size: list[int]
    counts: list[int]


class MaskRecord(TypedDict):
    """One mask in the form of segment-anything's automatic mask generator; both boxes are x, y, width, height."""

    segmentation: NDArray[np.bool_] | UncompressedRle | CocoRle
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float | None
    crop_box: list[int]


class CocoImage(TypedDict):
    """The photo, upright."""

    id: int
    file_name: str
    width: int
    height: int


class CocoAnnotation(TypedDict):
    """One object; `bbox` is x, y, width, height. `label` may be a phrase that no category holds."""

    id: int
    image_id: int
    category_id: int
    segmentation: CocoRle
    bbox: list[int]
    area: int
    iscrowd: int
    score: float
    label: str | None
    label_score: float


class CocoCategory(TypedDict):
    """One name; id 0 is "unlabelled"."""

    id: int
    name: str
    isthing: int
    color: list[int]


class OptionalSeemFields(TypedDict, total=False):
    """What is there only if it was asked for."""

    caption: str
    options: list[str]
    engine: str


class SeemRecord(OptionalSeemFields):
    """Where the result comes from."""

    version: str
    model: str
    sha256: str | None
    task: str
    kind: str
    prompts: list[list[dict[str, Json]]]
    seconds: dict[str, float]
    precision: str
    orientation: int
    rules: list[str]
    notes: list[str]


class CocoRecord(TypedDict):
    """One photo's result as `<stem>.json` holds it."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]
    seem: SeemRecord


UNLABELLED_CATEGORY = CocoCategory(id=0, name=UNLABELLED, isthing=1, color=[128, 128, 128])


def to_rle(mask: NDArray[np.bool_]) -> CocoRle:
    """Encode an (H, W) mask as pycocotools does."""
    from pycocotools import mask as coco_mask

    code = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    return CocoRle(size=[int(side) for side in code["size"]], counts=code["counts"].decode("ascii"))


def packed_to_rle(mask: PackedMask) -> CocoRle:
    """Encode a mask as pycocotools does, from what is inside its box: the rest of a large image costs nothing."""
    from pycocotools import mask as coco_mask

    height, width = mask.image_hw
    x0, y0, _, _ = mask.box
    columns = np.ascontiguousarray(mask.crop().T)
    if columns.shape[1] == height:  # a run may go on in the next column
        changes = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False))
        changes += x0 * height
    else:
        padded = np.pad(columns, ((0, 0), (1, 1)))
        column, row = np.nonzero(padded[:, 1:] != padded[:, :-1])
        changes = (x0 + column) * height + y0 + row
    counts = np.diff(changes, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    code = coco_mask.frPyObjects(
        {"size": [height, width], "counts": counts.tolist()}, height, width
    )
    return CocoRle(size=[height, width], counts=code["counts"].decode("ascii"))


def encode_mask(
    mask: NDArray[np.bool_], mode: OutputMode
) -> NDArray[np.bool_] | UncompressedRle | CocoRle:
    """Return an (H, W) mask in the form that segment-anything's `output_mode` names."""
    if mode == "binary_mask":
        return mask
    if mode == "coco_rle":
        return to_rle(mask)
    column_by_column = mask.ravel(order="F")
    changes = np.flatnonzero(
        np.diff(column_by_column, prepend=False)
    )  # a mask that begins inside changes at 0
    lengths = np.diff(changes, prepend=0, append=mask.size)
    return UncompressedRle(size=list(mask.shape), counts=lengths.tolist())


def to_xywh(box: PixelBox) -> list[int]:
    """Turn corners into x, y, width, height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def to_coco_category(category: Category) -> CocoCategory:
    """Describe a category as COCO does."""
    return CocoCategory(
        id=category.id,
        name=category.name,
        isthing=int(category.is_thing),
        color=[int(part) for part in category.colour],
    )


def to_panoptic_png(ids: NDArray[np.int32]) -> Image.Image:
    """Colour an (H, W) map of ids as COCO does: id = R + 256 G + 65536 B."""
    red, green, blue = ids & 255, ids >> 8 & 255, ids >> 16 & 255
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))
