"""Tracking an object through a video: cells of the next frame are matched with cells of the frames before.

Every cell of a frame (a few network pixels) is described by the model's own features and by its colours. A cell of the
next frame takes the mask value of the cells that it is most similar to: near by in the last frames, anywhere in the
frames that a user has prompted. That needs no weights that were trained for video, so every model can do it. An object
that is gone (hidden, or out of the image) is searched for in the whole of every frame until a part of it is
similar enough.

Memory for an object does not grow with the video: see `VideoMemory`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.structures import ImageBatch

STRIDE = 4  # network pixels per cell, at the finest
MAX_CELLS = 8192  # of a frame; a finer grid is halved until it fits
NUM_COMPONENTS = 32  # principal components of each kind of feature
WHITENING_FLOOR = 1.0  # added to variances, in mean variances; with 0 all components count the same
MATCH_RADIUS = 6  # cells that an object may move from one frame to the next
WINDOW_MARGIN = 6  # cells around an object where it may be in the next frame
NUM_RECENT_FRAMES = 3  # frames that are matched near by
NUM_PROMPTED_FRAMES = 2  # frames with prompts that are matched everywhere
NUM_KEY_FRAMES = 2  # further frames in which most of the object was visible, to find it again
KEY_FRAME_INTERVAL = 8  # frames between two key frames
NUM_VOTES = 8  # cells that decide about one cell
VOTE_SHARPNESS = 20.0  # weights of votes are the softmax of similarity times this
FOREGROUND_THRESHOLD = 0.5
MIN_CELLS = 4  # of an object that is visible, unless it was very small from the start
MIN_CONTINUITY_RATIO = (
    0.75  # of the usual similarity to the frames before; below, it is another object
)
MIN_IDENTITY_RATIO = (
    0.9  # of the usual similarity to the prompted frames, that a returning object needs
)
AVERAGE_RATE = 0.1  # of the running means of usual similarities
SIZE_RANGE = (0.2, 4.0)  # of a returning object, in sizes that it had


# --- Features of cells ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whitening:
    """Makes one kind of feature comparable: subtract the mean, project on components, scale to length one."""

    mean: Float[Tensor, " c"]
    projection: Float[Tensor, "c k"]

    @classmethod
    def of(cls, maps: Float[Tensor, "c h w"]) -> Whitening:
        """Fit to the cells of one frame, so that components that vary much do not hide those that vary little."""
        rows = maps.flatten(1).T
        mean = rows.mean(dim=0)
        centred = rows - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
        variances = variances[-NUM_COMPONENTS:].clamp(min=0)
        directions = directions[:, -NUM_COMPONENTS:]
        floor = WHITENING_FLOOR * variances.sum() / len(mean) + 1e-12
        return cls(mean, directions * (variances + floor).rsqrt())

    def apply(self, maps: Float[Tensor, "c h w"]) -> Float[Tensor, "k h w"]:
        """Whiten the features of a frame."""
        centred = maps - self.mean[:, None, None]
        return F.normalize(torch.einsum("chw,ck->khw", centred, self.projection), dim=0)


@dataclass(frozen=True, slots=True)
class FeatureDescriber:
    """Turns frames of one video into maps of features whose products are similarities (cosines, -1 to 1)."""

    whitenings: tuple[Whitening, ...]

    @classmethod
    def of(cls, image: ImageEncoding, images: ImageBatch) -> FeatureDescriber:
        """Fit to the first prompted frame."""
        return cls(tuple(Whitening.of(maps) for maps in feature_maps(image, images)))

    def describe(self, image: ImageEncoding, images: ImageBatch) -> Float[Tensor, "d h w"]:
        """Describe every cell of a frame by all kinds of features, which have the same weight."""
        weight = len(self.whitenings) ** 0.5
        maps = zip(self.whitenings, feature_maps(image, images), strict=True)
        return torch.cat([whitening.apply(features) / weight for whitening, features in maps])


def feature_maps(image: ImageEncoding, images: ImageBatch) -> tuple[Float[Tensor, "_c h w"], ...]:
    """Return mask features, the finest level and the colours of each cell, on one grid."""
    stride = grid_stride(images.padded_hw)
    hw = (images.padded_hw[0] // stride, images.padded_hw[1] // stride)
    colours = F.adaptive_avg_pool2d(F.pixel_unshuffle(images.pixels.float(), STRIDE), hw)
    fine = mask_feature_map(image, hw).float()
    level = F.interpolate(
        image.pixels.levels[-1].float(), size=hw, mode="bilinear", align_corners=False
    )
    return fine[0], level[0], colours[0]


def mask_feature_map(image: ImageEncoding, hw: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Return the mask features, or means over squares of their cells: at half the size they are known already."""
    if hw == image.pixels.mask_features.hw:
        return image.pixels.mask_features.maps
    return F.adaptive_avg_pool2d(image.small_masks[-1], hw)


def grid_stride(padded_hw: tuple[int, int]) -> int:
    """Return the network pixels per cell: the finest grid that is not too large."""
    height, width = padded_hw
    stride = STRIDE
    while (height // stride) * (width // stride) > MAX_CELLS:
        stride *= 2
    return stride


# --- Memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A whole frame at half the resolution: features of K cells, and how much of each the object covers (0-1)."""

    features: Float[Tensor, "d k"]
    cover: Float[Tensor, " k"]
    size: float
    """Of the object, in cells of the fine grid."""

    @classmethod
    def of(cls, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> KeyFrame:
        """Shrink a frame to what is needed to find the object anywhere."""
        small_cover = F.avg_pool2d(cover[None], 2, ceil_mode=True)[0]
        return cls(half_resolution(features).flatten(1), small_cover.flatten(), float(cover.sum()))


@dataclass(frozen=True, slots=True)
class ObjectMatch:
    """An object as it was found in a frame: how much of each cell it covers (0-1), and how similar it is to itself.

    `continuity` is its similarity to the frames before, `identity` that to the frames that a user has prompted, both
    the mean over its cells of the best similarity (-1 to 1).
    """

    cover: Float[Tensor, "h w"]
    continuity: float
    identity: float

    @property
    def num_cells(self) -> int:
        """Cells of the object."""
        return int((self.cover > FOREGROUND_THRESHOLD).sum())

    @classmethod
    def nothing(cls, features: Float[Tensor, "d h w"]) -> ObjectMatch:
        """Return the match of an object that is not visible."""
        return cls(torch.zeros_like(features[0]), 0.0, 0.0)


@dataclass(slots=True)
class VideoMemory:
    """Memory of one object, bounded whatever the length of the video.

    `recent`: the last frames, features and cover (0-1). `prompted` and `key_frames`: frames at half the resolution in
    which a user has prompted the object, and in which most of it was visible. At most NUM_RECENT_FRAMES,
    NUM_PROMPTED_FRAMES and NUM_KEY_FRAMES of them.
    """

    recent: deque[tuple[Float[Tensor, "d h w"], Float[Tensor, "h w"]]] = field(
        default_factory=lambda: deque(maxlen=NUM_RECENT_FRAMES)
    )
    prompted: deque[KeyFrame] = field(default_factory=lambda: deque(maxlen=NUM_PROMPTED_FRAMES))
    key_frames: deque[KeyFrame] = field(default_factory=lambda: deque(maxlen=NUM_KEY_FRAMES))
    continuity: float = 0.0
    """Running mean of the object's continuity, 0 = not known yet."""
    identity: float = 0.0
    """Running mean of its identity, 0 = not known yet."""
    key_frame_age: int = 0
    """Frames since the last key frame."""

    def correct(self, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> None:
        """Take the mask that prompts have given in a frame; the recent frames and key frames are dropped.

        Where it fills no cell, those that it covers most count as filled.
        """
        peak = float(cover.max())
        if 0 < peak <= FOREGROUND_THRESHOLD:
            cover = cover / peak
        self.recent.clear()
        self.key_frames.clear()
        self.recent.append((features, cover))
        self.prompted.append(KeyFrame.of(features, cover))
        self.continuity = self.identity = 0.0
        self.key_frame_age = 0

    def follow(self, features: Float[Tensor, "d h w"]) -> Float[Tensor, "h w"]:
        """Find the object in the next frame and remember it: its cover (0-1), zeros where it is not visible."""
        match = self._match(features)
        if match.num_cells < min(MIN_CELLS, max(1.0, FOREGROUND_THRESHOLD * self._size)):
            if self.recent:
                self._add_key_frame(*self.recent[0])
            self.recent.clear()
            return ObjectMatch.nothing(features).cover
        self.recent.append((features, match.cover))
        self.continuity = running_mean(self.continuity, match.continuity)
        self.identity = running_mean(self.identity, match.identity)
        self.key_frame_age += 1
        if self.key_frame_age >= KEY_FRAME_INTERVAL:
            self._add_key_frame(features, match.cover)
        return match.cover

    def _add_key_frame(self, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> None:
        """Remember a frame, if most of the object is visible in it."""
        if float(cover.sum()) > FOREGROUND_THRESHOLD * self._size:
            self.key_frames.append(KeyFrame.of(features, cover))
            self.key_frame_age = 0

    @property
    def _size(self) -> float:
        """Size of the object in the last frame that is remembered at half the resolution; 0 if there is none."""
        frames = [*self.prompted, *self.key_frames]
        return frames[-1].size if frames else 0.0

    def _match(self, features: Float[Tensor, "d h w"]) -> ObjectMatch:
        if not self.prompted:
            return ObjectMatch.nothing(features)
        if not self.recent:
            return self._match_reappeared(features)
        match = match_near(features, list(self.recent), list(self.prompted))
        if match.continuity >= MIN_CONTINUITY_RATIO * self.continuity:
            return match
        return ObjectMatch.nothing(features)

    def _match_reappeared(self, features: Float[Tensor, "d h w"]) -> ObjectMatch:
        """Search for an object that was not visible in the frame before."""
        match = match_everywhere(features, [*self.prompted, *self.key_frames])
        smallest, largest = SIZE_RANGE
        has_size = smallest * self._size <= match.num_cells <= largest * self._size
        if has_size and match.identity >= MIN_IDENTITY_RATIO * self.identity:
            return match
        return ObjectMatch.nothing(features)


def running_mean(mean: float, value: float) -> float:
    """Update a running mean by a value; 0 stands for one that is not known."""
    if value == 0:
        return mean
    if mean == 0:
        return value
    return (1 - AVERAGE_RATE) * mean + AVERAGE_RATE * value


# --- Matching ---------------------------------------------------------------------------------------------------------


def match_near(
    features: Float[Tensor, "d h w"],
    recent: Sequence[tuple[Float[Tensor, "d h w"], Float[Tensor, "h w"]]],
    prompted: Sequence[KeyFrame],
) -> ObjectMatch:
    """Find an object near its last mask, by the last frames and those that were prompted."""
    window = object_window(recent[-1][1])
    if window is None:
        return ObjectMatch.nothing(features)
    here = features[:, window[0], window[1]]
    by_prompted = [compare_with_key_frame(here, frame) for frame in prompted]
    by_recent = [compare_with_recent_frame(here, window, *frame) for frame in recent]
    cover_here = vote([*by_prompted, *by_recent])
    cover = torch.zeros_like(features[0])
    cover[window] = cover_here.view(here.shape[1:])
    return ObjectMatch(
        cover,
        continuity=mean_similarity_inside(cover_here, by_recent),
        identity=mean_similarity_inside(cover_here, by_prompted),
    )


def match_everywhere(
    features: Float[Tensor, "d h w"], key_frames: Sequence[KeyFrame]
) -> ObjectMatch:
    """Find an object in the whole frame, first at half the resolution, then at full resolution where it may be."""
    small = half_resolution(features)
    compared = [compare_with_key_frame(small, frame) for frame in key_frames]
    small_cover = vote(compared).view(1, 1, *small.shape[1:])
    coarse = F.interpolate(
        small_cover, size=features.shape[1:], mode="bilinear", align_corners=False
    )[0, 0]
    window = object_window(coarse)
    if window is None:
        return ObjectMatch.nothing(features)
    here = features[:, window[0], window[1]]
    compared = [compare_with_key_frame(here, frame) for frame in key_frames]
    cover_here = vote(compared)
    cover = torch.zeros_like(coarse)
    cover[window] = cover_here.view(here.shape[1:])
    return ObjectMatch(cover, continuity=0.0, identity=mean_similarity_inside(cover_here, compared))


def object_window(cover: Float[Tensor, "h w"]) -> tuple[slice, slice] | None:
    """Return rows and columns of an object and a margin around it; None where there is none."""
    inside = cover > FOREGROUND_THRESHOLD
    if not bool(inside.any()):
        return None
    return _span_with_margin(inside.any(dim=1)), _span_with_margin(inside.any(dim=0))


def _span_with_margin(occupied: Bool[Tensor, " n"]) -> slice:
    indices = occupied.nonzero()[:, 0]
    first, last = int(indices[0]), int(indices[-1])
    return slice(max(first - WINDOW_MARGIN, 0), min(last + WINDOW_MARGIN + 1, len(occupied)))


CellSimilarity: TypeAlias = tuple[Float[Tensor, "p _k"], Float[Tensor, "p _k"]]
"""For each of P cells: its similarity to K cells of another frame, and how much of those the object covers."""


def compare_with_key_frame(here: Float[Tensor, "d h w"], frame: KeyFrame) -> CellSimilarity:
    """Compare each cell with all cells of a key frame."""
    similarity = here.flatten(1).T @ frame.features
    return similarity, frame.cover.expand_as(similarity)


def compare_with_recent_frame(
    here: Float[Tensor, "d h w"],
    window: tuple[slice, slice],
    features: Float[Tensor, "d H W"],
    cover: Float[Tensor, "H W"],
) -> CellSimilarity:
    """Compare each cell of a window with the cells of an earlier frame that are at most MATCH_RADIUS away.

    One product a row of offsets: a row of cells with the whole row of the other frame, of which the diagonal band is
    what is near.
    """
    rows, columns = window
    (height, width), side = here.shape[1:], 2 * MATCH_RADIUS + 1
    reach = (
        slice(rows.start, rows.stop + 2 * MATCH_RADIUS),
        slice(columns.start, columns.stop + 2 * MATCH_RADIUS),
    )
    there = (
        F.pad(features, (MATCH_RADIUS,) * 4)[:, reach[0], reach[1]].permute(1, 2, 0).contiguous()
    )
    covered = F.pad(cover, (MATCH_RADIUS,) * 4)[reach].unfold(0, side, 1).unfold(1, side, 1)
    cells = here.permute(1, 2, 0)
    similarity = here.new_empty(height, width, side, side)
    for down in range(side):
        products = torch.bmm(cells, there[down : down + height].transpose(1, 2))
        across = width + 2 * MATCH_RADIUS
        band = products.as_strided((height, width, side), (width * across, across + 1, 1))
        similarity[:, :, down] = band
    return similarity.view(height * width, -1), covered.reshape(height * width, -1)


def vote(compared: Sequence[CellSimilarity]) -> Float[Tensor, " p"]:
    """Give each cell the cover of the cells that it is most similar to, weighted by similarity."""
    similarities, covers = zip(*compared, strict=True)
    similarity, cover = torch.cat(similarities, dim=1), torch.cat(covers, dim=1)
    best, index = similarity.topk(min(NUM_VOTES, similarity.shape[1]), dim=1)
    weights = (best * VOTE_SHARPNESS).softmax(dim=1)
    return (weights * cover.gather(1, index)).sum(dim=1)


def mean_similarity_inside(cover: Float[Tensor, " p"], compared: Sequence[CellSimilarity]) -> float:
    """Return the mean, over cells of the object, of the best similarity to its cells in other frames."""
    inside = cover > FOREGROUND_THRESHOLD
    if not bool(inside.any()):
        return 0.0
    best_of_frames = []
    for similarity, covered in compared:
        is_background = covered[inside] <= FOREGROUND_THRESHOLD
        best_of_frames.append(similarity[inside].masked_fill(is_background, -1).amax(dim=1))
    return float(torch.stack(best_of_frames).amax(dim=0).mean())


def half_resolution(features: Float[Tensor, "d h w"]) -> Float[Tensor, "d h2 w2"]:
    """Average features over 2 x 2 cells."""
    return F.normalize(F.avg_pool2d(features[None], 2, ceil_mode=True)[0], dim=0)
