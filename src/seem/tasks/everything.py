"""Segment everything in an image: object queries first, then a grid of clicks where no mask is yet.

Settings and records have the names that users of segment-anything know from its automatic mask generator. Known
differences: duplicates are found by the overlap of masks, not of their boxes; a click is only made where no mask covers
the image yet; and object queries, which no click stands behind, come first.

The file reads from the top: the settings, the views together, the search in one view (the image or a crop of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from seem.mask_codec import PackedMask
from seem.rasterize import PixelBox
from seem.results import Proposal
from seem.tasks.components import remove_small_regions
from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import to_stride4
from seem.tasks.postprocess import ImageFrame, to_image_masks

STRIDE = 4  # network pixels per pixel of a low-resolution mask
CROP_BORDER = (
    2  # network pixels along the border of a crop; a mask that reaches into them counts as cut off
)

THRESHOLDS = (
    "pred_iou_threshold",
    "stability_score_threshold",
    "box_nms_threshold",
    "crop_nms_threshold",
)
MAX_LOGIT = 1e4
RANGES = {
    "points_per_side": (0, 512),
    "points_per_batch": (1, 4096),
    "crop_n_layers": (0, 4),  # 341 images to encode
    "min_mask_region_area": (0, 2**62),
    "crop_n_points_downscale_factor": (1, 2**31),
}
"""The smallest and the largest value of each number; larger ones would fill any memory, or never end."""


@dataclass(frozen=True, slots=True)
class EverythingOptions:
    """How to search, in segment-anything's names; `EncodedImage.everything` says what each is. Checks itself.

    A threshold that is None is the model's own.
    """

    points_per_side: int = 16
    _: KW_ONLY
    points_per_batch: int = 64
    pred_iou_threshold: float | None = None
    stability_score_threshold: float | None = None
    stability_score_offset: float = 1.0
    box_nms_threshold: float = 0.7
    crop_n_layers: int = 0
    crop_nms_threshold: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name in THRESHOLDS:
            threshold = getattr(self, name)
            if threshold is not None and not 0 <= threshold <= 1:
                raise ValueError(f"{name} is {threshold}; it must be between 0 and 1.")
        for name, (minimum, maximum) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"{name} is {value!r}; it must be a whole number.")
            if int(value) < minimum:
                raise ValueError(f"{name} is {value}; it must be at least {minimum}.")
            if int(value) > maximum:
                raise ValueError(f"{name} is {value}; it must be at most {maximum}.")
            object.__setattr__(self, name, int(value))
        if not 0 <= self.stability_score_offset <= MAX_LOGIT:
            raise ValueError(
                f"stability_score_offset is {self.stability_score_offset}; it must be at least 0 and at most "
                f"{MAX_LOGIT:g}."
            )
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(
                f"crop_overlap_ratio is {self.crop_overlap_ratio}; it must be at least 0 and below 1."
            )

    def with_thresholds(self, predicted_iou: float, stability_score: float) -> EverythingSettings:
        """Return the settings of a search: with these thresholds where none were given."""
        given = asdict(self)
        if self.pred_iou_threshold is None:
            given["pred_iou_threshold"] = predicted_iou
        if self.stability_score_threshold is None:
            given["stability_score_threshold"] = stability_score
        return EverythingSettings(**given)

    def points_in_layer(self, layer: int) -> int:
        """Return how many points stand along a side of a crop of that layer; the image itself is layer 0."""
        return self.points_per_side // int(self.crop_n_points_downscale_factor**layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class EverythingSettings(EverythingOptions):
    """Options in which every threshold has a value."""

    pred_iou_threshold: float = 0.7
    stability_score_threshold: float = 0.85

    @property
    def rule(self) -> str:
        """The settings in one line, for the record that goes with a result; thresholds as segment-anything spells them.

        Example: "everything: points_per_side 16, ..., pred_iou_thresh 0.7".
        """
        settings = []
        for name, value in asdict(self).items():
            settings.append(f"{name.replace('_threshold', '_thresh')} {value:.6g}")
        return "everything: " + ", ".join(settings)


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """N masks of a network: logits in the padded network frame (stride 4 or finer), quality (0-1), class vectors."""

    logits: Float[Tensor, "n h w"]
    quality: Float[Tensor, " n"]
    vectors: Float[Tensor, "n d"]


@dataclass(frozen=True, slots=True)
class SearchView:
    """The image, or a crop of it, as encoded for the search. `frame.output_hw` is the size of the crop.

    `query_masks` are the masks of the object queries; `click` segments the objects at points (N, 2), positions in the
    crop's pixels (edge coordinates), None for a model that takes no clicks.
    """

    crop_box: PixelBox
    layer: int
    frame: ImageFrame
    query_masks: MaskBatch
    click: Callable[[NDArray[np.float64]], MaskBatch] | None


@dataclass(frozen=True, slots=True, eq=False)
class ImageMask:
    """One mask of the image; `logits` at stride 4 in the padded frame of the view that it comes from."""

    mask: PackedMask
    proposal: Proposal
    logits: Float[Tensor, "h w"]
    vector: Float[Tensor, " d"]
    layer: int


def find_everything(
    views: Iterable[SearchView], image_hw: tuple[int, int], settings: EverythingSettings
) -> list[ImageMask]:
    """Search every view and return its masks, best first, without duplicates.

    Where two views have the same mask, that of the smaller crop stays: the network saw the object larger there.
    """
    masks: list[ImageMask] = []
    for view in views:
        masks += search_view(view, image_hw, settings)
    masks.sort(key=_negative_quality)
    if settings.crop_n_layers == 0:
        return masks
    unique: list[ImageMask] = []
    for mask in sorted(masks, key=lambda mask: -mask.layer):
        if not _is_repeated(mask, unique, settings.crop_nms_threshold):
            unique.append(mask)
    return sorted(unique, key=_negative_quality)


def _is_repeated(mask: ImageMask, others: Sequence[ImageMask], max_iou: float) -> bool:
    """Whether a mask overlaps any of the others by more than `max_iou`."""
    return any(packed_mask_iou(mask.mask, other.mask) > max_iou for other in others)


def _negative_quality(mask: ImageMask) -> float:
    return -mask.proposal.predicted_iou


# --- One view ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ViewMask:
    """A mask of a view: logits as the network gave them, and whether each low-resolution pixel is inside.

    `point` is the click that gave it, in the view's pixels; None for an object query.
    """

    logits: Float[Tensor, "h w"]
    vector: Float[Tensor, " d"]
    inside: Bool[Tensor, "hs ws"]
    predicted_iou: float
    stability_score: float
    point: tuple[float, float] | None


def search_view(
    view: SearchView, image_hw: tuple[int, int], settings: EverythingSettings
) -> list[ImageMask]:
    """Search one view and return its masks at the image's size, without those that the border of the crop cuts off."""
    masks = []
    for mask in propose_masks(view, settings):
        in_crop = to_image_masks(mask.logits[None].float(), view.frame)[0].cpu().numpy()
        in_crop = remove_small_regions(in_crop, settings.min_mask_region_area)
        if in_crop.any() and not is_cut_off(in_crop, view, image_hw):
            masks.append(_to_image_mask(mask, in_crop, view, image_hw))
    return masks


def _to_image_mask(
    mask: ViewMask, in_crop: NDArray[np.bool_], view: SearchView, image_hw: tuple[int, int]
) -> ImageMask:
    """Move a mask from its crop to the image."""
    x0, y0, x1, y1 = view.crop_box
    in_image = np.zeros(image_hw, dtype=np.bool_)
    in_image[y0:y1, x0:x1] = in_crop
    point = None
    if mask.point is not None:
        point = (mask.point[0] + x0, mask.point[1] + y0)
    return ImageMask(
        mask=PackedMask.pack(in_image, image_hw),
        proposal=Proposal(mask.predicted_iou, mask.stability_score, point, view.crop_box),
        logits=to_stride4(mask.logits[None], view.frame.padded_hw)[0],
        vector=mask.vector,
        layer=view.layer,
    )


def propose_masks(view: SearchView, settings: EverythingSettings) -> list[ViewMask]:
    """Take the object queries' masks, then click batch by batch where nothing is covered yet.

    The clicks of a batch are spread over the whole view, so that two of a batch seldom are on one object.
    Every step is decided on low-resolution masks.
    """
    masks = filter_masks(view.query_masks, None, view.frame, settings)
    masks = remove_duplicates(masks, settings.box_nms_threshold)
    points = point_grid(settings.points_in_layer(view.layer), view.frame.output_hw)
    while view.click is not None and len(points):
        points = _uncovered(points, masks, view.frame)
        batch, points = points[: settings.points_per_batch], points[settings.points_per_batch :]
        if len(batch):
            masks += filter_masks(view.click(batch), batch, view.frame, settings)
    return remove_duplicates(masks, settings.box_nms_threshold)


def _uncovered(
    points: NDArray[np.float64], masks: Sequence[ViewMask], frame: ImageFrame
) -> NDArray[np.float64]:
    """Return the points that lie in no mask."""
    if not masks:
        return points
    covered = torch.stack([mask.inside for mask in masks]).any(dim=0).cpu().numpy()
    uncovered: NDArray[np.float64] = points[~covered[_cells_at(points, frame)]]
    return uncovered


def filter_masks(
    masks: MaskBatch,
    points: NDArray[np.float64] | None,
    frame: ImageFrame,
    settings: EverythingSettings,
) -> list[ViewMask]:
    """Return the masks that are good and stable enough, and not empty; `points` are the clicks that gave them."""
    if not len(masks.logits):
        return []
    small = crop_padding(to_stride4(masks.logits, frame.padded_hw), frame)
    stable = stability(small, settings.stability_score_offset)
    keep = (masks.quality >= settings.pred_iou_threshold) & (
        stable >= settings.stability_score_threshold
    )
    keep &= (small > 0).flatten(1).any(dim=1)
    filtered = []
    for row in keep.nonzero()[:, 0].tolist():
        point = None
        if points is not None:
            point = (float(points[row, 0]), float(points[row, 1]))
        mask = ViewMask(
            logits=masks.logits[row].clone(),  # a view would keep the whole batch in memory
            vector=masks.vectors[row],
            inside=small[row] > 0,
            predicted_iou=float(masks.quality[row]),
            stability_score=float(stable[row]),
            point=point,
        )
        filtered.append(mask)
    return filtered


def remove_duplicates(masks: Sequence[ViewMask], max_iou: float) -> list[ViewMask]:
    """Drop what overlaps a better mask by more than `max_iou`; object queries rank above clicks."""
    if not masks:
        return []
    ranked = sorted(masks, key=lambda mask: (mask.point is not None, -mask.predicted_iou))
    inside = torch.stack([mask.inside for mask in ranked]).flatten(1).float()
    intersection, areas = inside @ inside.T, inside.sum(dim=1)
    union = areas[:, None] + areas[None] - intersection
    is_duplicate = (intersection / union.clamp(min=1) > max_iou).cpu().numpy()
    unique: list[int] = []
    for row in range(len(ranked)):
        if not is_duplicate[row, unique].any():
            unique.append(row)
    return [ranked[row] for row in unique]


def stability(logits: Float[Tensor, "n h w"], offset: float = 1.0) -> Float[Tensor, " n"]:
    """Score how little each mask changes when its threshold moves by `offset` either way: the IoU of the two, 0-1.

    A mask that is empty at both thresholds scores 0. Source: Segment Anything, appendix B (automatic mask generation).
    """
    small = (logits > offset).flatten(1).sum(dim=1)
    large = (logits > -offset).flatten(1).sum(dim=1)
    return small / large.clamp(min=1)


def object_query_masks(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q h w"],
    vectors: Float[Tensor, "q d"],
    frame: ImageFrame,
) -> MaskBatch:
    """Take the object queries for which "no object" (the last class) has a probability below a half.

    The quality of a mask is its mean foreground probability.
    """
    is_object = class_logits.softmax(dim=-1)[:, -1] < 0.5
    masks = mask_logits[is_object]
    quality = masks.new_zeros(len(masks))
    for row, mask in enumerate(crop_padding(masks, frame)):
        quality[row] = foreground_probability(mask)
    return MaskBatch(masks, quality, vectors[is_object])


# --- Points and crops -------------------------------------------------------------------------------------------------


def point_grid(per_side: int, hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return the centres of `per_side` x `per_side` equal fields of an image, (N, 2) positions (x, y).

    In the order of an ordered dither (Bayer): the first few stand far apart, later ones between them.
    """
    columns, rows = np.meshgrid(np.arange(per_side), np.arange(per_side))
    order = np.zeros(columns.shape, dtype=np.int64)
    for bit in range(max(per_side - 1, 0).bit_length()):
        diagonal = (columns ^ rows) >> bit & 1
        row = rows >> bit & 1
        order = order << 2 | diagonal << 1 | row
    fields = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    fields = fields[order.ravel().argsort(kind="stable")]
    height, width = hw
    points: NDArray[np.float64] = (fields + 0.5) / max(per_side, 1) * np.array([width, height])
    return points


def crop_boxes(
    hw: tuple[int, int], layers: int, overlap_ratio: float
) -> list[tuple[int, PixelBox]]:
    """Return the crops of layers 1 to `layers`: 2 x 2, 4 x 4, ... of equal size, each with its layer.

    Neighbours of layer 1 share `overlap_ratio` of the image's short side, those of the next layer half as much.
    """
    boxes: list[tuple[int, PixelBox]] = []
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap_ratio * min(hw) * 2 / count)
        height, tops = _crop_spans(hw[0], count, shared)
        width, lefts = _crop_spans(hw[1], count, shared)
        for top in tops:
            for left in lefts:
                boxes.append((layer, (left, top, left + width, top + height)))
    return boxes


def _crop_spans(side: int, count: int, shared: int) -> tuple[int, list[int]]:
    """Cut a side into `count` spans of one length, of which neighbours share so much: the length and the starts."""
    length = min(side, _ceil_divide(side + shared * (count - 1), count))
    starts = [round(index * (side - length) / (count - 1)) for index in range(count)]
    return length, starts


def _ceil_divide(number: int, divisor: int) -> int:
    return -(-number // divisor)


def is_cut_off(mask: NDArray[np.bool_], view: SearchView, image_hw: tuple[int, int]) -> bool:
    """Tell whether a mask of a crop goes up to a border of the crop that is not the image's own."""
    x0, y0, x1, y1 = view.crop_box
    (crop_height, crop_width), (input_height, input_width) = (
        view.frame.output_hw,
        view.frame.input_hw,
    )
    border_y = int(np.ceil(CROP_BORDER * crop_height / input_height))
    border_x = int(np.ceil(CROP_BORDER * crop_width / input_width))
    return bool(
        (x0 > 0 and mask[:, :border_x].any())
        or (y0 > 0 and mask[:border_y].any())
        or (x1 < image_hw[1] and mask[:, -border_x:].any())
        or (y1 < image_hw[0] and mask[-border_y:].any())
    )


# --- Low-resolution masks ---------------------------------------------------------------------------------------------


def _unpadded_hw(frame: ImageFrame) -> tuple[int, int]:
    """Return the size of a low-resolution mask without padding."""
    height, width = frame.input_hw
    return _ceil_divide(height, STRIDE), _ceil_divide(width, STRIDE)


def crop_padding(small: Float[Tensor, "n h4 w4"], frame: ImageFrame) -> Float[Tensor, "n hs ws"]:
    """Cut the padding off low-resolution masks."""
    height, width = _unpadded_hw(frame)
    return small[:, :height, :width]


def shrink_masks(masks: Sequence[PackedMask], frame: ImageFrame) -> Float[Tensor, "n hs ws"]:
    """Shrink masks of the image to stride 4 without padding: positive where more than half of a pixel is inside."""
    hw = _unpadded_hw(frame)
    small = torch.zeros(len(masks), *hw)
    for row, mask in enumerate(masks):
        inside = torch.from_numpy(mask.decode())[None].float()
        small[row] = F.adaptive_avg_pool2d(inside, hw)[0] - 0.5
    return small


def _cells_at(
    points: NDArray[np.float64], frame: ImageFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the low-resolution pixel that holds each position of the view."""
    (height, width), (input_height, input_width) = frame.output_hw, frame.input_hw
    scale = np.array([input_width / width, input_height / height]) / STRIDE
    columns, rows = np.floor(points * scale).astype(np.int64).T
    return rows, columns


def packed_mask_iou(one: PackedMask, other: PackedMask) -> float:
    """Return the IoU of two masks of one image; 0 if both are empty."""
    x0, y0 = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    x1, y1 = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    shared_box = (x0, y0, x1, y1)
    intersection = int(np.count_nonzero(_part_of(one, shared_box) & _part_of(other, shared_box)))
    return intersection / (one.area + other.area - intersection)


def _part_of(mask: PackedMask, box: PixelBox) -> NDArray[np.bool_]:
    """Return a mask inside a box that lies in its own."""
    x0, y0, x1, y1 = box
    left, top = mask.box[:2]
    return mask.crop()[y0 - top : y1 - top, x0 - left : x1 - left]
