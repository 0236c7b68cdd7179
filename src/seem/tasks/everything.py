"""Everything in a photo, without being told what: object queries first, then a grid of clicks where no mask is yet.

Parameters and records have the names that users of segment-anything know from its automatic mask generator. Known
differences: repeats are told by the overlap of masks, not of their boxes; a click is only made where no mask covers the
photo yet; and object queries, which no click stands behind, come first.

The file reads from the top: the settings, the search in one view (the photo or a crop of it), the views together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
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
from seem.tasks.interactive import coarse_logits
from seem.tasks.postprocess import ImageFrame, to_image_masks

STRIDE = 4  # network pixels of a low-resolution mask's pixel
NEAR = 2  # network pixels of a crop's rim within which a mask counts as cut off


@dataclass(frozen=True, slots=True)
class EverythingSettings:
    """How to search, in segment-anything's names; `EncodedImage.everything` says what each is. Checks itself."""

    points_per_side: int = 16
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.7
    stability_score_thresh: float = 0.85
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be between 0 and 1.")
        least = {"points_per_side": 0, "points_per_batch": 1, "crop_n_layers": 0, "min_mask_region_area": 0}
        for name, lowest in {**least, "crop_n_points_downscale_factor": 1}.items():
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), Integral):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a whole number.")
            if not getattr(self, name) >= lowest:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {lowest}.")
        if not self.stability_score_offset >= 0:
            raise ValueError(f"stability_score_offset is {self.stability_score_offset}; it must not be negative.")
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio is {self.crop_overlap_ratio}; it must be at least 0 and below 1.")

    @property
    def rule(self) -> str:
        """The settings in one line, for the record that goes with a result."""
        return "everything: " + ", ".join(f"{name} {value:.6g}" for name, value in asdict(self).items())

    def points_in_layer(self, layer: int) -> int:
        """Return how many points stand along a side of a crop of that layer; the photo itself is layer 0."""
        return self.points_per_side // int(self.crop_n_points_downscale_factor**layer)


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """N answers: mask logits in the padded network frame (stride 4 or finer), quality (0-1), class vectors."""

    logits: Float[Tensor, "n h w"]
    quality: Float[Tensor, " n"]
    vectors: Float[Tensor, "n d"]


@dataclass(frozen=True, slots=True)
class SearchView:
    """One look: at the photo, or at a crop of it. `frame.output_hw` is the size of the crop.

    `found` are the masks of the object queries; `ask` answers clicks at points (N, 2), positions in the crop's pixels,
    None for a model that takes no clicks.
    """

    crop_box: PixelBox
    layer: int
    frame: ImageFrame
    found: MaskBatch
    ask: Callable[[NDArray[np.float64]], MaskBatch] | None


@dataclass(frozen=True, slots=True, eq=False)
class ImageMask:
    """One mask of the photo; `logits` at stride 4 in the padded frame of the view that it comes from."""

    mask: PackedMask
    proposal: Proposal
    logits: Float[Tensor, "h w"]
    vector: Float[Tensor, " d"]
    layer: int


def find_everything(
    views: Iterable[SearchView], image_hw: tuple[int, int], settings: EverythingSettings
) -> list[ImageMask]:
    """Search every view; best masks first, none a repeat of a better one.

    Where two views found the same, the smaller crop counts, which saw it larger.
    """
    findings = [finding for view in views for finding in search_view(view, image_hw, settings)]
    best_first = sorted(findings, key=lambda finding: -finding.proposal.predicted_iou)
    if settings.crop_n_layers == 0:
        return best_first
    closest_first = sorted(best_first, key=lambda finding: -finding.layer)
    kept: list[ImageMask] = []
    for finding in closest_first:
        if all(overlap(finding.mask, other.mask) <= settings.crop_nms_thresh for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda finding: -finding.proposal.predicted_iou)


# --- One view ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A mask before it is brought to the photo: logits as answered, and whether each low-resolution pixel is inside."""

    logits: Float[Tensor, "h w"]
    vector: Float[Tensor, " d"]
    small: Bool[Tensor, "hs ws"]
    predicted_iou: float
    stability_score: float
    point: tuple[float, float] | None


def search_view(view: SearchView, image_hw: tuple[int, int], settings: EverythingSettings) -> list[ImageMask]:
    """Search one view and bring what it holds to the photo; masks that a crop cuts off are left out."""
    findings = []
    for candidate in propose_masks(view, settings):
        inside = to_image_masks(candidate.logits[None].float(), view.frame)[0].cpu().numpy()
        inside = remove_small_regions(inside, settings.min_mask_region_area)
        if not inside.any() or is_cut_off(inside, view, image_hw):
            continue
        x0, y0, x1, y1 = view.crop_box
        mask = np.zeros(image_hw, dtype=np.bool_)
        mask[y0:y1, x0:x1] = inside
        point = None if candidate.point is None else (candidate.point[0] + x0, candidate.point[1] + y0)
        findings.append(
            ImageMask(
                PackedMask.pack(mask, image_hw),
                Proposal(candidate.predicted_iou, candidate.stability_score, point, view.crop_box),
                coarse_logits(candidate.logits[None], view.frame.padded_hw)[0],
                candidate.vector,
                view.layer,
            )
        )
    return findings


def propose_masks(view: SearchView, settings: EverythingSettings) -> list[Candidate]:
    """Take the object queries' masks, then click batch by batch where nothing is covered yet.

    The clicks of a batch are spread over the whole view, so that one of a batch seldom meets what another one meant.
    Every step is decided on low-resolution masks.
    """
    kept = without_repeats(sift(view.found, None, view.frame, settings), settings.box_nms_thresh)
    waiting = point_grid(settings.points_in_layer(view.layer), view.frame.output_hw)
    while view.ask is not None and len(waiting):
        if kept:
            covered = torch.stack([candidate.small for candidate in kept]).any(dim=0).cpu().numpy()
            waiting = waiting[~covered[cells(waiting, view.frame)]]
        points, waiting = waiting[: settings.points_per_batch], waiting[settings.points_per_batch :]
        if len(points):
            kept += sift(view.ask(points), points, view.frame, settings)
    return without_repeats(kept, settings.box_nms_thresh)


def sift(
    masks: MaskBatch, points: NDArray[np.float64] | None, frame: ImageFrame, settings: EverythingSettings
) -> list[Candidate]:
    """Keep the masks that are good and stable enough, and not empty."""
    if not len(masks.logits):
        return []
    small = unpadded(coarse_logits(masks.logits, frame.padded_hw), frame)
    steady = stability(small, settings.stability_score_offset)
    keep = (masks.quality >= settings.pred_iou_thresh) & (steady >= settings.stability_score_thresh)
    keep &= (small > 0).flatten(1).any(dim=1)
    return [
        Candidate(
            masks.logits[row].clone(),  # a view would keep the whole batch
            masks.vectors[row],
            small[row] > 0,
            float(masks.quality[row]),
            float(steady[row]),
            None if points is None else (float(points[row, 0]), float(points[row, 1])),
        )
        for row in keep.nonzero()[:, 0].tolist()
    ]


def without_repeats(candidates: Sequence[Candidate], most: float) -> list[Candidate]:
    """Drop what overlaps a better mask by more than `most` (IoU); object queries stand above clicks."""
    if not candidates:
        return []
    order = sorted(candidates, key=lambda c: (c.point is not None, -c.predicted_iou))
    masks = torch.stack([candidate.small for candidate in order]).flatten(1).float()
    shared, areas = masks @ masks.T, masks.sum(dim=1)
    too_much = (shared / (areas[:, None] + areas[None] - shared).clamp(min=1) > most).cpu().numpy()
    kept: list[int] = []
    for row in range(len(order)):
        if not too_much[row, kept].any():
            kept.append(row)
    return [order[row] for row in kept]


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
    """Take the object queries that are rather something than nothing; a mask is as good as it is sure of itself."""
    chosen = class_logits.softmax(dim=-1)[:, -1] < 0.5
    masks = mask_logits[chosen]
    sureness = [foreground_probability(mask) for mask in unpadded(masks, frame)]
    return MaskBatch(masks, torch.stack(sureness) if sureness else masks.new_zeros(0), vectors[chosen])


# --- Where and how large ----------------------------------------------------------------------------------------------


def point_grid(per_side: int, hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return the centres of `per_side` x `per_side` equal fields of a picture, (N, 2) positions (x, y).

    In the order of an ordered dither (Bayer): the first few stand far apart, later ones between them.
    """
    columns, rows = np.meshgrid(np.arange(per_side), np.arange(per_side))
    order = np.zeros(columns.shape, dtype=np.int64)
    for bit in range(max(per_side - 1, 0).bit_length()):
        diagonal, row = (columns ^ rows) >> bit & 1, rows >> bit & 1
        order = order << 2 | diagonal << 1 | row
    fields = np.stack([columns, rows], axis=-1).reshape(-1, 2)[order.ravel().argsort(kind="stable")]
    points: NDArray[np.float64] = (fields + 0.5) / max(per_side, 1) * np.array([hw[1], hw[0]])
    return points


def crop_boxes(hw: tuple[int, int], layers: int, overlap_ratio: float) -> list[tuple[int, PixelBox]]:
    """Return the crops of layers 1 to `layers`: 2 x 2, 4 x 4, ... of equal size, each with its layer.

    Neighbours of layer 1 share `overlap_ratio` of the photo's short side, those of the next layer half as much.
    """
    boxes = []
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap_ratio * min(hw) * 2 / count)
        sides = [min(side, -(-(side + shared * (count - 1)) // count)) for side in hw]
        starts = [
            [round(n * (whole - side) / (count - 1)) for n in range(count)]
            for whole, side in zip(hw, sides, strict=True)
        ]
        boxes += [(layer, (x, y, x + sides[1], y + sides[0])) for y in starts[0] for x in starts[1]]
    return boxes


def is_cut_off(mask: NDArray[np.bool_], view: SearchView, image_hw: tuple[int, int]) -> bool:
    """Tell whether a mask of a crop goes up to a rim of the crop that is not the photo's own."""
    x0, y0, x1, y1 = view.crop_box
    sizes = zip(view.frame.output_hw, view.frame.input_hw, strict=True)
    rim_y, rim_x = (int(np.ceil(NEAR * out / shown)) for out, shown in sizes)
    return bool(
        (x0 > 0 and mask[:, :rim_x].any())
        or (y0 > 0 and mask[:rim_y].any())
        or (x1 < image_hw[1] and mask[:, -rim_x:].any())
        or (y1 < image_hw[0] and mask[-rim_y:].any())
    )


def unpadded(small: Float[Tensor, "n h4 w4"], frame: ImageFrame) -> Float[Tensor, "n hs ws"]:
    """Cut the padding off."""
    height, width = (-(-side // STRIDE) for side in frame.input_hw)
    return small[:, :height, :width]


def shrink_masks(masks: Sequence[PackedMask], frame: ImageFrame) -> Float[Tensor, "n hs ws"]:
    """Shrink masks of the photo to stride 4 without padding: positive where more than half of a pixel is inside."""
    hw = (-(-frame.input_hw[0] // STRIDE), -(-frame.input_hw[1] // STRIDE))
    small = [F.adaptive_avg_pool2d(torch.from_numpy(mask.decode())[None].float(), hw)[0] - 0.5 for mask in masks]
    return torch.stack(small) if small else torch.zeros(0, *hw)


def cells(points: NDArray[np.float64], frame: ImageFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the low-resolution pixel that holds each position of the picture."""
    scale = np.array([frame.input_hw[1] / frame.output_hw[1], frame.input_hw[0] / frame.output_hw[0]]) / STRIDE
    columns, rows = np.floor(points * scale).astype(np.int64).T
    return rows, columns


def overlap(one: PackedMask, other: PackedMask) -> float:
    """Return the IoU of two masks of one photo; 0 if both are empty."""
    x0, y0 = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    x1, y1 = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    crops = [
        mask.crop()[y0 - mask.box[1] : y1 - mask.box[1], x0 - mask.box[0] : x1 - mask.box[0]] for mask in (one, other)
    ]
    shared = int(np.count_nonzero(crops[0] & crops[1]))
    return shared / (one.area + other.area - shared)
