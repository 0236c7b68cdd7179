"""Turn a banked photo into a training sample: one random window, seen through one random lens.

Everything that happens to the photo's geometry is a single affine map from bank pixels to canvas pixels, so image and
masks cannot drift apart. Texts are carried along: a flip swaps left and right in phrases, and a crop drops the phrases
that it may have made untrue.

Frames: the canvas is a square of S pixels; its upper left part of `valid_hw` holds the photo, the rest is padding.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

if TYPE_CHECKING:
    from seem.data.pack import BankedImage, BankedObject, ImageBank

PAD_RGB = (124, 116, 104)
"""Colour of padding: the mean colour that image normalisation subtracts, so that padding is zero to the network."""

MIN_VISIBLE = 16  # canvas pixels below which an object is not kept

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "coco_full": 0.22,
    "coco_person": 0.10,
    "davis2016": 0.04,
    "ccp": 0.10,
    "voc_animals": 0.14,
    "voc_general": 0.12,
    "duts": 0.18,
    "open_mix": 0.10,
}
"""How often each set is drawn: by what a set teaches rather than by its size (duts has 60% of the photos)."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How samples vary. `p_*` are probabilities; the rest are ranges, `Augmentation.none()` shows the plain photo.

    The window is the part of the photo that is seen, its side a fraction of the photo's longest side: 1 is the whole
    photo as at inference, less zooms in, more adds padding. With `p_zoom` the window fits a random object instead, its
    side that many times (`zoom`) the object's longer side; with `p_whole` it is the whole photo; else `window`.
    """

    p_zoom: float = 0.4
    p_whole: float = 0.25
    zoom: tuple[float, float] = (1.15, 3.5)
    window: tuple[float, float] = (0.35, 1.15)
    max_enlargement: float = 3.0  # canvas pixels a bank pixel may become
    aspect: float = 0.1
    p_flip: float = 0.5
    p_rotate: float = 0.3
    degrees: float = 15.0
    p_quarter: float = 0.0  # a quarter turn, to either side
    p_colour: float = 0.8
    p_hue: float = 0.2
    p_grey: float = 0.05
    p_blur: float = 0.08
    p_jpeg: float = 0.08
    min_visible: int = MIN_VISIBLE
    max_objects: int = 64
    jitter: tuple[float, float] | None = None
    """Large-scale jitter in place of all windows: the photo's longest side is so many times the canvas's."""

    @classmethod
    def published(cls) -> Augmentation:
        """Vary photos as SEEM's training did: flips and large-scale jitter from 0.1 to 2, no other change."""
        return replace(cls.none(), p_flip=0.5, jitter=(0.1, 2.0))

    @classmethod
    def none(cls) -> Augmentation:
        """Show whole photos, upright and in their own colours."""
        zero = 0.0
        return cls(
            p_zoom=zero, p_whole=1.0, aspect=zero, p_flip=zero, p_rotate=zero, p_colour=zero, p_hue=zero,
            p_grey=zero, p_blur=zero, p_jpeg=zero,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """What the training loop eats: one window of one photo with all that is known about it.

    Attributes:
        image: RGB, padded with `PAD_RGB`.
        valid_hw: rows and columns of the canvas that hold the photo, from the upper left corner.
        masks: every object and stuff region with at least `Augmentation.min_visible` pixels in the window. They may
            overlap (a person and its clothes).
        ignore: pixels that are neither object nor background: crowds, groups, unlabelled parts of panoptic photos,
            objects beyond `Augmentation.max_objects`.
        names: class name to prompt with, one a mask; empty for class-agnostic masks.
        is_thing: false for stuff, one a mask.
        qualities: how the mask came about, one a mask: empty, object, box-verified, component, derived-union.
        phrases: phrases that still single the object out in this window, one list a mask.
        complete_names: classes whose annotation is complete on this photo.
        present_names: classes of which any pixel is in the window, dropped objects and crowds included.
        captions: sentences about the whole photo; none when the window shows too little of it.
        set_name: the set that the photo is from.
        image_id: its id there.
        object_ids: annotation ids, one a mask.
    """

    image: UInt8[np.ndarray, "3 s s"]
    valid_hw: tuple[int, int]
    masks: Bool[np.ndarray, "n s s"]
    ignore: Bool[np.ndarray, "s s"]
    names: tuple[str, ...]
    is_thing: Bool[np.ndarray, " n"]
    qualities: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    complete_names: frozenset[str]
    present_names: frozenset[str]
    captions: tuple[str, ...]
    set_name: str
    image_id: int
    object_ids: tuple[int, ...]

    @property
    def absent_names(self) -> frozenset[str]:
        """Classes that are certainly nowhere in the window."""
        return self.complete_names - self.present_names

    @property
    def areas(self) -> Int64[np.ndarray, " n"]:
        """Mask areas in canvas pixels."""
        return np.asarray(np.count_nonzero(self.masks, axis=(1, 2)))


class TrainingSampler:
    """Samples for ever: `sampler[i]` depends on the seed and i alone, so that training resumes exactly.

    A set is drawn by its weight, then one of its photos, each with the same chance, then window and looks.

    Args:
        bank: the photos.
        size: side of the canvas in pixels.
        weights: relative frequency by set; sets that the bank lacks are passed over, sets that it has but that are not
            named are never drawn. None: `DEFAULT_WEIGHTS`.
        seed: any non-negative number.
        augmentation: how samples vary.

    Raises:
        ValueError: no set of the bank has a positive weight.
    """

    def __init__(
        self,
        bank: ImageBank,
        *,
        size: int = 224,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.bank = bank
        self.size = size
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        asked = DEFAULT_WEIGHTS if weights is None else weights
        shares = {name: asked[name] for name in sorted(bank.by_set) if asked.get(name, 0.0) > 0}
        if not shares:
            raise ValueError(f"No set has a positive weight; the bank holds {', '.join(bank.by_set)}, got {asked}.")
        self._sets = tuple(shares)
        self._upto = np.cumsum(list(shares.values())) / sum(shares.values())

    def __getitem__(self, index: int) -> TrainingSample:
        rng = np.random.default_rng((self.seed, index))
        name = self._sets[min(int(np.searchsorted(self._upto, rng.random(), side="right")), len(self._sets) - 1)]
        rows = self.bank.by_set[name]
        return augment(self.bank[rows[int(rng.integers(len(rows)))]], self.size, rng, self.augmentation)

    def partner(self, sample: TrainingSample, index: int) -> TrainingSample:
        """Draw, as number `index`, another photo of a class that `sample` shows; any photo if it shows none."""
        rng = np.random.default_rng((self.seed, index))
        names = sorted(set(sample.names) - {""})
        if not names:
            return self[index]
        return self._showing(names[int(rng.integers(len(names)))], rng)

    def of_class(self, name: str, index: int) -> TrainingSample:
        """Draw, as number `index`, a photo of a class that the bank shows (`bank.by_name`)."""
        return self._showing(name, np.random.default_rng((self.seed, index)))

    def _showing(self, name: str, rng: np.random.Generator) -> TrainingSample:
        rows = self.bank.by_name[name]
        return augment(self.bank[rows[int(rng.integers(len(rows)))]], self.size, rng, self.augmentation, name)

    def __iter__(self) -> Iterator[TrainingSample]:
        index = 0
        while True:
            yield self[index]
            index += 1


def augment(
    photo: BankedImage, size: int, rng: np.random.Generator, how: Augmentation, about: str | None = None
) -> TrainingSample:
    """Draw one sample from a photo; of a class `about`, if the photo shows it, the window keeps an object."""
    view = _choose_view(photo, size, rng, how, about)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = PAD_RGB
    height, width = view.valid_hw
    image[:height, :width] = _recolour(_look(photo.image, view), rng, how)
    seen = [(entry, mask) for entry in photo.objects if (mask := _seen_part(entry, view)) is not None]
    groups = [(entry, mask) for entry in photo.ignored if (mask := _seen_part(entry, view)) is not None]
    kept, dropped = _keep(seen, rng, how)
    ignored = _paint([*(mask for _, mask in groups), *dropped], size)
    return TrainingSample(
        image=np.ascontiguousarray(image.transpose(2, 0, 1)),
        valid_hw=view.valid_hw,
        masks=_paint([mask for _, mask in kept], size),
        ignore=np.asarray(ignored.any(axis=0)),
        names=tuple(entry.record.category.text for entry, _ in kept),
        is_thing=np.array([entry.record.category.is_thing for entry, _ in kept], bool),
        qualities=tuple(entry.record.quality for entry, _ in kept),
        phrases=_phrases(photo, [entry for entry, _ in kept], seen, view),
        complete_names=photo.complete_names,
        present_names=frozenset(entry.record.category.text for entry, _ in (*seen, *groups)) - {""},
        captions=_turned(photo.record.captions, view.flipped) if view.share >= 0.7 and not view.quarter else (),
        set_name=photo.record.set_name,
        image_id=photo.record.id,
        object_ids=tuple(entry.record.id for entry, _ in kept),
    )


def paste_object(
    sample: TrainingSample,
    donor: TrainingSample,
    rng: np.random.Generator,
    *,
    share: tuple[float, float] = (0.02, 0.4),
    min_visible: int = MIN_VISIBLE,
    about: str | None = None,
) -> TrainingSample:
    """Put a thing of another sample in front of this one, anywhere, so that a thing is not known by where it stands.

    Taken are things that the donor's window does not cut off, that cover a `share` of this photo, and whose class is
    annotated completely here, of the class `about` before others; if there is none, the sample stays as it is. Phrases
    and captions go: they may have become untrue. What is left of covered objects is kept from `min_visible` pixels on,
    and ignored below.
    """
    import cv2

    height, width = sample.valid_hw
    area = donor.areas / (height * width)
    fits = (area >= share[0]) & (area <= share[1]) & donor.is_thing & ~_cut_off(donor)
    rows = [row for row in np.flatnonzero(fits).tolist() if donor.names[row] in sample.complete_names]
    rows = [row for row in rows if donor.names[row] == about] or rows
    if not rows:
        return sample
    row = rows[int(rng.integers(len(rows)))]
    inside = donor.masks[row]
    ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = (slice(ys[0], min(ys[-1] + 1, ys[0] + height)), slice(xs[0], min(xs[-1] + 1, xs[0] + width)))
    mask, pixels = inside[box], donor.image[:, box[0], box[1]]
    if rng.random() < 0.5:
        mask, pixels = mask[:, ::-1], pixels[:, :, ::-1]
    y, x = (int(rng.integers(room - side + 1)) for room, side in zip((height, width), mask.shape, strict=True))
    place = (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
    pasted = np.zeros(inside.shape, bool)
    pasted[place] = mask
    soft = np.asarray(cv2.GaussianBlur(pasted.astype(np.float32), (0, 0), 0.6)) * pasted  # no rim of the old background
    image = sample.image.copy()
    window = image[:, place[0], place[1]].astype(np.float32)
    window += soft[place] * (pixels.astype(np.float32) - window)
    image[:, place[0], place[1]] = np.rint(window)
    masks = sample.masks & ~pasted
    seen = np.count_nonzero(masks, axis=(1, 2)) >= min_visible
    kept = np.flatnonzero(seen).tolist()
    return replace(
        sample,
        image=image,
        masks=np.concatenate((masks[seen], pasted[None])),
        ignore=(sample.ignore & ~pasted) | masks[~seen].any(axis=0),
        names=(*(sample.names[i] for i in kept), donor.names[row]),
        is_thing=np.append(sample.is_thing[seen], True),
        qualities=(*(sample.qualities[i] for i in kept), donor.qualities[row]),
        phrases=((),) * (len(kept) + 1),
        present_names=sample.present_names | {donor.names[row]},
        captions=(),
        object_ids=(*(sample.object_ids[i] for i in kept), donor.object_ids[row]),
    )


def _cut_off(sample: TrainingSample) -> Bool[np.ndarray, " n"]:
    """Tell which masks reach the rim of the photo."""
    height, width = sample.valid_hw
    rims = (sample.masks[:, 0], sample.masks[:, height - 1], sample.masks[:, :, 0], sample.masks[:, :, width - 1])
    return np.asarray(np.stack([rim.any(axis=1) for rim in rims]).any(axis=0))


def choose_objects(
    sample: TrainingSample, count: int, rng: np.random.Generator, *, min_area: float = 0.003, things_only: bool = False
) -> Int64[np.ndarray, " k"]:
    """Choose up to `count` masks of a sample to prompt for, first a class, then one of its masks, without repetition.

    Dense classes therefore do not crowd out rare ones. Masks under `min_area` of the valid part of the canvas are not
    chosen, nor masks that fill it. Fewer than `count` rows come back when there are not enough.
    """
    area = sample.areas / max(1, sample.valid_hw[0] * sample.valid_hw[1])
    fit = (area >= min_area) & (area <= 0.95)
    if things_only:
        fit &= sample.is_thing
    left: dict[str, list[int]] = {}
    for row in rng.permutation(np.flatnonzero(fit)).tolist():
        left.setdefault(sample.names[row], []).append(row)
    chosen: list[int] = []
    while left and len(chosen) < count:
        name = list(left)[int(rng.integers(len(left)))]
        chosen.append(left[name].pop())
        if not left[name]:
            del left[name]
    return np.array(chosen, np.int64)


# ---------------------------------------------------------------------------------------------------------------------
# Geometry


@dataclass(frozen=True, slots=True)
class _View:
    """A window: `to_canvas` maps bank pixel indices (x, y, 1) to canvas ones, `scale` is its mean enlargement."""

    to_canvas: Float64[np.ndarray, "3 3"]
    valid_hw: tuple[int, int]
    scale: float
    flipped: bool
    share: float  # of the photo that is in the window
    quarter: bool = False  # turned: left and right, above and below no longer hold


@dataclass(frozen=True, slots=True)
class _Patch:
    """A mask inside its bounding rectangle on the canvas, whose upper left pixel is (x, y)."""

    x: int
    y: int
    inside: Bool[np.ndarray, "h w"]
    visible: float  # fraction of the object that the window shows

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.inside))


def _choose_view(
    photo: BankedImage, size: int, rng: np.random.Generator, how: Augmentation, about: str | None = None
) -> _View:
    height, width = photo.image.shape[:2]
    longest = max(height, width)
    target = _zoom_target(photo, rng, about)
    choice = rng.random()
    if how.jitter is not None:
        side = longest / rng.uniform(*how.jitter)
    elif target is None or choice >= how.p_zoom:
        whole = choice - how.p_zoom < how.p_whole if target is not None else choice < how.p_whole
        side = longest * (1.0 if whole else rng.uniform(*how.window))
    else:
        x0, y0, x1, y1 = target.box
        side = max(x1 - x0, y1 - y0) * float(np.exp(rng.uniform(*np.log(how.zoom))))
        side = min(side, longest * how.window[1])
    side = max(side, size / how.max_enlargement)
    stretch = float(np.exp(rng.uniform(-how.aspect, how.aspect))) ** 0.5
    window_wh = (side * stretch, side / stretch) if side < longest else (side, side)
    box = (0, 0, width, height) if target is None else target.box
    left, right = _place(window_wh[0], width, box[0], box[2], rng)
    top, bottom = _place(window_wh[1], height, box[1], box[3], rng)
    sx, sy = size / window_wh[0], size / window_wh[1]
    valid_hw = (_pixels((bottom - top) * sy, size), _pixels((right - left) * sx, size))
    to_canvas = np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5], [0, 0, 1.0]])
    if rng.random() < how.p_rotate:
        to_canvas = _turn(valid_hw, np.deg2rad(rng.uniform(-how.degrees, how.degrees))) @ to_canvas
    flipped = bool(rng.random() < how.p_flip)
    if flipped:
        to_canvas = np.array([[-1, 0, valid_hw[1] - 1], [0, 1, 0], [0, 0, 1.0]]) @ to_canvas
    share = (right - left) * (bottom - top) / (width * height)
    quarter = how.p_quarter > 0 and bool(rng.random() < how.p_quarter)
    if quarter:  # the canvas is square: rows become columns, mirrored along one of the two
        height, width = valid_hw
        turns = (((0, -1, height - 1), (1, 0, 0)), ((0, 1, 0), (-1, 0, width - 1)))
        to_canvas = np.array([*turns[int(rng.integers(2))], (0, 0, 1.0)]) @ to_canvas
        valid_hw = (width, height)
    return _View(to_canvas, valid_hw, (sx * sy) ** 0.5, flipped, share, quarter)


def _zoom_target(photo: BankedImage, rng: np.random.Generator, about: str | None = None) -> BankedObject | None:
    """Choose the object that the window keeps: first a class (`about`, if it is there), then one of its objects."""
    if not photo.objects:
        return None
    by_name: dict[str, list[BankedObject]] = {}
    for entry in photo.objects:
        by_name.setdefault(entry.record.category.text, []).append(entry)
    group = by_name[about] if about in by_name else list(by_name.values())[int(rng.integers(len(by_name)))]
    return group[int(rng.integers(len(group)))]


def _place(window: float, length: int, low: float, high: float, rng: np.random.Generator) -> tuple[float, float]:
    """Place a window of that length on 0..length so that low..high stays inside, or is crossed when it is longer."""
    if window >= length:
        return 0.0, float(length)
    first, last = sorted((high - window, low))
    start = rng.uniform(max(0.0, first), max(0.0, min(length - window, last), first))
    start = min(max(start, 0.0), length - window)
    return start, start + window


def _turn(valid_hw: tuple[int, int], angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotate about the middle of the valid rectangle."""
    cx, cy = (valid_hw[1] - 1) / 2, (valid_hw[0] - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, cx - cos * cx + sin * cy], [sin, cos, cy - sin * cx - cos * cy], [0, 0, 1.0]])


def _pixels(length: float, size: int) -> int:
    return min(max(1, round(length)), size)


def _look(pixels: UInt8[np.ndarray, "h w 3"], view: _View) -> UInt8[np.ndarray, "vh vw 3"]:
    """Resample the photo; a strong reduction is averaged first, as at inference, so that nothing flickers."""
    import cv2

    to_canvas = view.to_canvas
    if view.scale < 0.8:
        height, width = pixels.shape[:2]
        small = (max(1, round(width * view.scale)), max(1, round(height * view.scale)))
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        fx, fy = small[0] / width, small[1] / height
        to_canvas = to_canvas @ np.array([[1 / fx, 0, 0.5 / fx - 0.5], [0, 1 / fy, 0.5 / fy - 0.5], [0, 0, 1.0]])
    # The photo's own border pixels go on over the half pixel where the window ends; a rotation shows padding beyond.
    upright = 0.0 in to_canvas[0, :2].tolist()
    return np.asarray(
        cv2.warpAffine(
            pixels,
            to_canvas[:2],
            view.valid_hw[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE if upright else cv2.BORDER_CONSTANT,
            borderValue=PAD_RGB,
        )
    )


def _seen_part(entry: BankedObject, view: _View) -> _Patch | None:
    """Bring one object onto the canvas, touching only the pixels around it; None when it is out of the window."""
    import cv2

    x0, y0, x1, y1 = entry.box
    corners = view.to_canvas[:2, :2] @ np.array([[x0, x1, x0, x1], [y0, y0, y1, y1]]) + view.to_canvas[:2, 2:]
    low = np.floor(corners.min(axis=1)).astype(int) - 1
    high = np.ceil(corners.max(axis=1)).astype(int) + 1
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(view.valid_hw[1], int(high[0])), min(view.valid_hw[0], int(high[1]))
    if right <= left or bottom <= top:
        return None
    move = view.to_canvas[:2].copy()
    move[:, 2] += move[:, :2] @ (x0, y0) - (left, top)
    soft = cv2.warpAffine(entry.soft_mask, move, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    inside = np.asarray(soft) > 127
    area = int(np.count_nonzero(inside))
    if area == 0:
        return None
    return _Patch(left, top, inside, area / max(1.0, entry.area * view.scale**2))


def _paint(patches: Sequence[_Patch], size: int) -> Bool[np.ndarray, "n s s"]:
    masks = np.zeros((len(patches), size, size), bool)
    for mask, patch in zip(masks, patches, strict=True):
        height, width = patch.inside.shape
        mask[patch.y : patch.y + height, patch.x : patch.x + width] = patch.inside
    return masks


def _keep(
    seen: Sequence[tuple[BankedObject, _Patch]], rng: np.random.Generator, how: Augmentation
) -> tuple[list[tuple[BankedObject, _Patch]], list[_Patch]]:
    """Split what is seen into what the sample keeps and the masks of what it has to ignore."""
    large = [row for row, (_, patch) in enumerate(seen) if patch.area >= how.min_visible]
    if len(large) > how.max_objects:
        large = sorted(rng.permutation(large)[: how.max_objects].tolist())
    rows = set(large)
    return [seen[row] for row in large], [patch for row, (_, patch) in enumerate(seen) if row not in rows]


# ---------------------------------------------------------------------------------------------------------------------
# Colour


def _recolour(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, how: Augmentation
) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    dice = rng.random(5)
    if dice[0] < how.p_colour:
        pixels = _tinted(pixels, rng)
    if dice[1] < how.p_hue:
        hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL))
        turned = np.arange(256) + int(rng.integers(-13, 14))  # full scale: 13 of 256 is 18 degrees
        hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), (turned % 256).astype(np.uint8))
        pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))
    if dice[2] < how.p_grey:
        pixels = np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    if dice[3] < how.p_blur:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.4)))
    if dice[4] < how.p_jpeg:
        _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 85))])
        pixels = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return pixels


def _tinted(pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Change saturation, then gamma, contrast, brightness and white balance in one table a channel."""
    import cv2

    saturation = rng.uniform(0.6, 1.4)
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pixels = cv2.addWeighted(pixels, saturation, grey, 1 - saturation, 0)
    tone = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.25, 0.25))
    tone = (tone - 0.45) * rng.uniform(0.75, 1.25) + 0.45 + rng.uniform(-0.12, 0.12)
    table = tone[:, None] * (1 + rng.uniform(-0.06, 0.06, 3))
    table = np.clip(np.rint(table * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table[None]))


# ---------------------------------------------------------------------------------------------------------------------
# Texts

_SIDES = {
    "left": "right",
    "leftmost": "rightmost",
    "lefthand": "righthand",
    "leftward": "rightward",
    "leftwards": "rightwards",
}
_SWAP = _SIDES | {right: left for left, right in _SIDES.items()}
_SIDE_WORD = re.compile(rf"\b({'|'.join(sorted(_SWAP, key=len, reverse=True))})\b", re.IGNORECASE)
_NOT_A_SIDE = re.compile(
    r"\b(right (?:before|after|now|away|next|behind|in front|beside|angle)|all right|upright)\b",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r"\b(left\w*|right\w*|middle|cent(?:er|re)|upper|lower|top|bottom|bigger|biggest|larger|largest|smaller|smallest"
    r"|front|back|behind|nearest|closest|farthest|first|second|third|last|other|tallest|shortest)\b",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=65536)
def mirror_phrase(phrase: str) -> str:
    """Rewrite a phrase for the mirrored photo: left becomes right and the reverse, keeping capitals.

    "right" that means no side ("right before") stays.
    """
    if _NOT_A_SIDE.search(phrase):
        return phrase

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = _SWAP[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDE_WORD.sub(swap, phrase)


@functools.lru_cache(maxsize=65536)
def is_relative_phrase(phrase: str) -> bool:
    """Whether a phrase compares the object with others or with the frame, so that a crop may make it untrue."""
    return _RELATIVE.search(phrase) is not None


def _turned(texts: Sequence[str], flipped: bool) -> tuple[str, ...]:
    return tuple(mirror_phrase(text) if flipped else text for text in texts)


def _phrases(
    photo: BankedImage,
    kept: Sequence[BankedObject],
    seen: Sequence[tuple[BankedObject, _Patch]],
    view: _View,
) -> tuple[tuple[str, ...], ...]:
    visible = {entry.record.id: patch.visible for entry, patch in seen}
    unsettled: set[str] = set()  # classes of which the window lost an object: comparisons may no longer hold
    count: dict[str, int] = {}
    for entry in photo.objects:
        name = entry.record.category.text
        part = visible.get(entry.record.id, 0.0)
        if part < 0.6:
            unsettled.add(name)
        if part > 0:
            count[name] = count.get(name, 0) + 1
    grouped = {entry.record.category.text for entry in photo.ignored}

    def holds(entry: BankedObject, phrase: str) -> bool:
        if "weak" in entry.record.phrase_source:  # a caption about the whole photo
            return view.share >= 0.6
        return not is_relative_phrase(phrase) or entry.record.category.text not in unsettled

    def of(entry: BankedObject) -> tuple[str, ...]:
        name = entry.record.category.text
        still = [] if view.quarter else [text for text in entry.record.phrases if holds(entry, text)]
        texts = _turned(still, view.flipped)
        alone = entry.record.category.is_thing and name in photo.complete_names and count.get(name) == 1
        own = f"the {name}"
        return (*texts, own) if alone and name not in grouped and own not in texts else texts

    return tuple(of(entry) for entry in kept)
