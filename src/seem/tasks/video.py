"""An object through a video: what was seen of it is matched with the next frame, place by place.

Every place of a frame (a few network pixels) is described by the model's own features and by its colours. A place of
the next frame takes the mask of the places that it resembles most: near by in the last frames, anywhere in the frames
that a user has prompted. That needs no weights that were trained for video, so every model can do it. An object that is
gone (hidden, or out of the picture) is looked for in the whole of every frame until it looks like itself again.

What is kept of an object does not grow with the video: see `VideoMemory`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.structures import ImageBatch

STRIDE = 4  # network pixels between two places, at the finest
MOST_PLACES = 8192  # of a frame; a finer grid is halved until it fits
KEPT = 32  # components of each kind of feature
EVENNESS = 1.0  # how much the strongest components are held back: 0 = all count the same
RADIUS = 6  # places that an object may move from one frame to the next
MARGIN = 6  # places around an object where it may be in the next frame
RECENT = 3  # frames that are matched near by
PROMPTED = 2  # frames with prompts that are matched everywhere
GLIMPSES = 2  # further frames in which the object was seen well, to find it again
GLIMPSE_EVERY = 8  # frames between two glimpses
VOTES = 8  # places that decide about one place
SHARPNESS = 20.0  # of their votes: weights are the softmax of likeness times this
FOREGROUND_THRESHOLD = 0.5
LEAST_PLACES = 4  # of an object that is there, unless it was very small from the start
UNBROKEN = 0.75  # of the usual likeness to the frames before; below, something else has come in its place
ALIKE = 0.9  # of the usual likeness to its prompted self that a returning object needs
PATIENCE = 0.1  # how fast what is usual changes
SIZES = (0.2, 4.0)  # of the size that a returning object had


# --- How places are described -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whitening:
    """One kind of feature to comparable components: subtract the mean, project, scale to length one."""

    mean: Float[Tensor, " c"]
    projection: Float[Tensor, "c k"]

    @classmethod
    def of(cls, maps: Float[Tensor, "c h w"]) -> Whitening:
        """Fit to the places of one frame: directions that vary much do not drown those that vary little."""
        rows = maps.flatten(1).T
        mean = rows.mean(dim=0)
        centred = rows - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
        variances, directions = variances[-KEPT:].clamp(min=0), directions[:, -KEPT:]
        floor = EVENNESS * variances.sum() / len(mean) + 1e-12
        return cls(mean, directions * (variances + floor).rsqrt())

    def apply(self, maps: Float[Tensor, "c h w"]) -> Float[Tensor, "k h w"]:
        """Describe the places of a frame."""
        centred = maps - self.mean[:, None, None]
        return F.normalize(torch.einsum("chw,ck->khw", centred, self.projection), dim=0)


@dataclass(frozen=True, slots=True)
class FeatureDescriber:
    """Turns frames of one video into maps of features whose products are likenesses (cosines, -1 to 1)."""

    whitenings: tuple[Whitening, ...]

    @classmethod
    def of(cls, image: ImageEncoding, images: ImageBatch) -> FeatureDescriber:
        """Fit to the first prompted frame."""
        return cls(tuple(Whitening.of(maps) for maps in kinds_of_features(image, images)))

    def describe(self, image: ImageEncoding, images: ImageBatch) -> Float[Tensor, "d h w"]:
        """Describe every place of a frame by all kinds of features, which count the same."""
        kinds = kinds_of_features(image, images)
        described = [whitening.apply(maps) for whitening, maps in zip(self.whitenings, kinds, strict=True)]
        return torch.cat([maps / len(described) ** 0.5 for maps in described])


def kinds_of_features(image: ImageEncoding, images: ImageBatch) -> tuple[Float[Tensor, "_c h w"], ...]:
    """Return mask features, the finest level and the colours under each place, on one grid."""
    stride = grid_stride(images.padded_hw)
    hw = (images.padded_hw[0] // stride, images.padded_hw[1] // stride)
    colours = F.adaptive_avg_pool2d(F.pixel_unshuffle(images.pixels.float(), STRIDE), hw)
    fine = F.adaptive_avg_pool2d(image.pixels.mask_features.float(), hw)
    level = F.interpolate(image.pixels.levels[-1].float(), size=hw, mode="bilinear", align_corners=False)
    return fine[0], level[0], colours[0]


def grid_stride(padded_hw: tuple[int, int]) -> int:
    """Return the network pixels between two places: the finest grid that is not too large."""
    stride = STRIDE
    while (padded_hw[0] // stride) * (padded_hw[1] // stride) > MOST_PLACES:
        stride *= 2
    return stride


# --- What is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A whole frame at half the resolution: features of K places, and how much of each the object covers (0-1)."""

    features: Float[Tensor, "d k"]
    cover: Float[Tensor, " k"]
    size: float
    """Of the object, in places of the fine grid."""

    @classmethod
    def of(cls, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> Glimpse:
        """Keep what is needed to find the object anywhere."""
        return cls(
            halved(features).flatten(1), F.avg_pool2d(cover[None], 2, ceil_mode=True)[0].flatten(), float(cover.sum())
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """An object as it was found in a frame: how much of each place it covers (0-1), and how much it is like itself.

    `continuity` is its likeness to the frames before, `identity` that to the frames that a user has prompted, both the
    mean over its places of the best likeness (-1 to 1).
    """

    cover: Float[Tensor, "h w"]
    continuity: float
    identity: float

    @property
    def num_places(self) -> int:
        """Places that are the object's."""
        return int((self.cover > FOREGROUND_THRESHOLD).sum())

    @classmethod
    def nothing(cls, features: Float[Tensor, "d h w"]) -> Sight:
        """Return what is seen of an object that is not there."""
        return cls(torch.zeros_like(features[0]), 0.0, 0.0)


@dataclass(slots=True)
class VideoMemory:
    """What is kept of one object, whatever the length of the video.

    `recent`: the last frames, features and cover (0-1). `prompted` and `glimpses`: frames at half the resolution in
    which a user said what the object is, and in which it was seen well. At most RECENT, PROMPTED and GLIMPSES of them.
    """

    recent: deque[tuple[Float[Tensor, "d h w"], Float[Tensor, "h w"]]] = field(
        default_factory=lambda: deque(maxlen=RECENT)
    )
    prompted: deque[Glimpse] = field(default_factory=lambda: deque(maxlen=PROMPTED))
    glimpses: deque[Glimpse] = field(default_factory=lambda: deque(maxlen=GLIMPSES))
    continuity: float = 0.0
    """What is usual lately, 0 = not known yet."""
    identity: float = 0.0
    """The same."""
    age: int = 0
    """Frames since the last glimpse."""

    def correct(self, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> None:
        """Take the mask that prompts have given in a frame; what was seen in the frames just before counts no more.

        Where it fills no place, those that it covers most count as filled.
        """
        peak = float(cover.max())
        cover = cover / peak if 0 < peak <= FOREGROUND_THRESHOLD else cover
        self.recent.clear()
        self.glimpses.clear()
        self.recent.append((features, cover))
        self.prompted.append(Glimpse.of(features, cover))
        self.continuity = self.identity = 0.0
        self.age = 0

    def follow(self, features: Float[Tensor, "d h w"]) -> Float[Tensor, "h w"]:
        """Find the object in the next frame and remember it: its cover (0-1), zeros where it is not to be seen."""
        sight = self._find(features)
        if sight.num_places < min(LEAST_PLACES, max(1.0, FOREGROUND_THRESHOLD * self._size)):
            if self.recent:
                self._glimpse(*self.recent[0])
            self.recent.clear()
            return Sight.nothing(features).cover
        self.recent.append((features, sight.cover))
        self.continuity = changed(self.continuity, sight.continuity)
        self.identity = changed(self.identity, sight.identity)
        self.age += 1
        if self.age >= GLIMPSE_EVERY:
            self._glimpse(features, sight.cover)
        return sight.cover

    def _glimpse(self, features: Float[Tensor, "d h w"], cover: Float[Tensor, "h w"]) -> None:
        """Remember what the object looks like now, if most of it is to be seen."""
        if float(cover.sum()) > FOREGROUND_THRESHOLD * self._size:
            self.glimpses.append(Glimpse.of(features, cover))
            self.age = 0

    @property
    def _size(self) -> float:
        last = [*self.prompted, *self.glimpses][-1:]
        return last[0].size if last else 0.0

    def _find(self, features: Float[Tensor, "d h w"]) -> Sight:
        if not self.prompted:
            return Sight.nothing(features)
        if not self.recent:
            sight = search(features, [*self.prompted, *self.glimpses])
            has_size = SIZES[0] * self._size <= sight.num_places <= SIZES[1] * self._size
            return sight if has_size and sight.identity >= ALIKE * self.identity else Sight.nothing(features)
        sight = match(features, list(self.recent), list(self.prompted))
        return sight if sight.continuity >= UNBROKEN * self.continuity else Sight.nothing(features)

    @property
    def num_bytes(self) -> int:
        """Memory held, frames that other objects share included."""
        tensors = [tensor for pair in self.recent for tensor in pair]
        for glimpse in (*self.prompted, *self.glimpses):
            tensors += [glimpse.features, glimpse.cover]
        return sum(tensor.nbytes for tensor in tensors)


def changed(usual: float, now: float) -> float:
    """Let what is usual follow what is."""
    if now == 0:
        return usual
    return now if usual == 0 else (1 - PATIENCE) * usual + PATIENCE * now


# --- How it is found --------------------------------------------------------------------------------------------------


def match(
    features: Float[Tensor, "d h w"],
    recent: Sequence[tuple[Float[Tensor, "d h w"], Float[Tensor, "h w"]]],
    prompted: Sequence[Glimpse],
) -> Sight:
    """Carry the mask on from the last frames, with an eye on those that were prompted."""
    window = surroundings(recent[-1][1])
    if window is None:
        return Sight.nothing(features)
    here = features[:, window[0], window[1]]
    everywhere = [compare_everywhere(here, glimpse) for glimpse in prompted]
    near = [compare_near(here, window, *frame) for frame in recent]
    found = vote([*everywhere, *near])
    cover = torch.zeros_like(features[0])
    cover[window] = found.view(here.shape[1:])
    return Sight(cover, likeness_inside(found, near), likeness_inside(found, everywhere))


def search(features: Float[Tensor, "d h w"], glimpses: Sequence[Glimpse]) -> Sight:
    """Look for an object in the whole frame, first at half the resolution, then closely where it may be."""
    small = halved(features)
    found = vote([compare_everywhere(small, glimpse) for glimpse in glimpses]).view(1, 1, *small.shape[1:])
    where = F.interpolate(found, size=features.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    window = surroundings(where)
    if window is None:
        return Sight.nothing(features)
    here = features[:, window[0], window[1]]
    everywhere = [compare_everywhere(here, glimpse) for glimpse in glimpses]
    closely = vote(everywhere)
    cover = torch.zeros_like(where)
    cover[window] = closely.view(here.shape[1:])
    return Sight(cover, 0.0, likeness_inside(closely, everywhere))


def surroundings(cover: Float[Tensor, "h w"]) -> tuple[slice, slice] | None:
    """Return rows and columns of an object and a margin around it; None where there is none."""
    inside = cover > FOREGROUND_THRESHOLD
    if not bool(inside.any()):
        return None
    spans = []
    for axis, length in ((1, cover.shape[0]), (0, cover.shape[1])):
        places = inside.any(dim=axis).nonzero()[:, 0]
        spans.append(slice(max(int(places[0]) - MARGIN, 0), min(int(places[-1]) + MARGIN + 1, length)))
    return spans[0], spans[1]


Compared: TypeAlias = tuple[Float[Tensor, "p _k"], Float[Tensor, "p _k"]]
"""For each of P places: its likeness to K others, and their cover."""


def compare_everywhere(here: Float[Tensor, "d h w"], glimpse: Glimpse) -> Compared:
    """Compare each place with all places of a glimpse."""
    likeness = here.flatten(1).T @ glimpse.features
    return likeness, glimpse.cover.expand_as(likeness)


def compare_near(
    here: Float[Tensor, "d h w"],
    window: tuple[slice, slice],
    features: Float[Tensor, "d H W"],
    cover: Float[Tensor, "H W"],
) -> Compared:
    """Compare each place of a window with the places of an earlier frame that are at most RADIUS away.

    One product a row of offsets: a row of places with the whole row of the other frame, of which the diagonal band is
    what is near.
    """
    rows, columns = window
    (height, width), side = here.shape[1:], 2 * RADIUS + 1
    reach = (slice(rows.start, rows.stop + 2 * RADIUS), slice(columns.start, columns.stop + 2 * RADIUS))
    there = F.pad(features, (RADIUS,) * 4)[:, reach[0], reach[1]].permute(1, 2, 0).contiguous()
    covered = F.pad(cover, (RADIUS,) * 4)[reach].unfold(0, side, 1).unfold(1, side, 1)
    asking = here.permute(1, 2, 0)
    likeness = here.new_empty(height, width, side, side)
    for down in range(side):
        products = torch.bmm(asking, there[down : down + height].transpose(1, 2))
        across = width + 2 * RADIUS
        likeness[:, :, down] = products.as_strided((height, width, side), (width * across, across + 1, 1))
    return likeness.view(height * width, -1), covered.reshape(height * width, -1)


def vote(compared: Sequence[Compared]) -> Float[Tensor, " p"]:
    """Give each place the cover of those that it resembles most, weighted by likeness."""
    likeness = torch.cat([alike for alike, _ in compared], dim=1)
    cover = torch.cat([covered for _, covered in compared], dim=1)
    most, which = likeness.topk(min(VOTES, likeness.shape[1]), dim=1)
    return ((most * SHARPNESS).softmax(dim=1) * cover.gather(1, which)).sum(dim=1)


def likeness_inside(found: Float[Tensor, " p"], compared: Sequence[Compared]) -> float:
    """Return how much the places of the object resemble, at best, places of the object in other frames; their mean."""
    inside = found > FOREGROUND_THRESHOLD
    if not bool(inside.any()):
        return 0.0
    best = torch.stack(
        [
            alike[inside].masked_fill(covered[inside] <= FOREGROUND_THRESHOLD, -1).amax(dim=1)
            for alike, covered in compared
        ]
    )
    return float(best.amax(dim=0).mean())


def halved(features: Float[Tensor, "d h w"]) -> Float[Tensor, "d h2 w2"]:
    """Describe a frame at half the resolution."""
    return F.normalize(F.avg_pool2d(features[None], 2, ceil_mode=True)[0], dim=0)
