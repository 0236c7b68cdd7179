"""In which frame the annotations of turned images lie, as the images themselves show it.

Outlines of objects follow edges of the image. Read in the frame in which they were drawn, they lie on stronger edges
than in the other one; the strength of an outline is the mean gradient along it, divided by that of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from seem.data.dataset import Dataset
from seem.data.frames import AnnotationFrame
from seem.data.lazy_dataset import LazyDataset, read_image_header
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord

_MAX_IMAGES = 8
_MAX_OBJECTS_PER_IMAGE = 10
_MIN_OUTLINE_PIXELS = 12
_CLEAR_RATIO = 1.25  # between the two frames; below it they are not told apart


def compare_frames(dataset: Dataset) -> Iterator[Flaw]:
    """Yield one note on how well outlines fit a sample of images with an EXIF orientation in either frame, if any."""
    if not isinstance(dataset, LazyDataset):
        return
    sample = list(_sample_turned(dataset))
    if not sample:
        return
    part = replace(dataset, images=tuple(sample), tolerant=True)
    first = sample[0]
    read_as = read_image_header(dataset, first).frame_of(first.hw, first.image_frame)
    strengths: dict[AnnotationFrame, list[float]] = {}
    means: dict[AnnotationFrame, float] = {}
    for frame in AnnotationFrame:
        strengths[frame] = list(_outline_strengths(part.in_frame(frame)))
        if not strengths[frame]:
            return
        means[frame] = float(np.mean(strengths[frame]))
    yield _note(means, read_as, len(strengths[read_as]), len(sample), f"{dataset.path}")


def _note(
    means: dict[AnnotationFrame, float],
    read_as: AnnotationFrame,
    num_objects: int,
    num_images: int,
    path: str,
) -> Flaw:
    shown, stored = means[AnnotationFrame.SHOWN], means[AnnotationFrame.STORED]
    objects = "1 object" if num_objects == 1 else f"{num_objects} objects"
    where = f"{objects} on {num_images} of the turned photos"
    what = f"edges under their outlines are {shown:.1f} times the average as shown, {stored:.1f} times as stored"
    if max(shown, stored) < _CLEAR_RATIO * min(shown, stored):
        return Flaw(FlawKind.EXIF_ROTATION, where, f"{what}, which does not tell the frames apart")
    better = AnnotationFrame.SHOWN if shown > stored else AnnotationFrame.STORED
    if better is read_as:
        return Flaw(FlawKind.EXIF_ROTATION, where, f"{what}: they fit as {better.value}, as read")
    what += (
        f"; they seem to be drawn on the photo as {better.value} and are read as {read_as.value}: "
    )
    return Flaw(FlawKind.EXIF_ROTATION, where, f"{what}if so, write {path},frame={better.value}")


def _sample_turned(dataset: LazyDataset) -> Iterator[ImageRecord]:
    """Yield images with an EXIF orientation, evenly from the whole set, that show an object."""
    turned = [image for image in dataset.images if _is_turned(dataset, image)]
    step = max(1, len(turned) // _MAX_IMAGES)
    for image in turned[::step][:_MAX_IMAGES]:
        if dataset.parse_objects(image).objects:
            yield image


def _is_turned(dataset: LazyDataset, image: ImageRecord) -> bool:
    try:
        return read_image_header(dataset, image).is_turned
    except (DataError, OSError):
        return False


def _outline_strengths(dataset: LazyDataset) -> Iterator[float]:
    """Yield for the objects of a data set how strong the image's edges are along their outlines, 1 = as anywhere."""
    for image in dataset.images:
        try:
            gradient = _gradient(dataset.pixels(image))
        except DataError:
            continue
        average = float(gradient.mean())
        if average == 0:
            continue
        for outline in _outlines(dataset, image):
            yield float(gradient[outline].mean()) / average


def _outlines(dataset: LazyDataset, image: ImageRecord) -> Iterator[Bool[np.ndarray, "h w"]]:
    """Yield the outlines of an image's largest objects that are long enough."""
    objects = sorted(dataset.parse_objects(image).objects, key=lambda record: -record.area)
    for record in objects[:_MAX_OBJECTS_PER_IMAGE]:
        outline = _outline(record.mask())
        if outline.shape == image.hw and np.count_nonzero(outline) >= _MIN_OUTLINE_PIXELS:
            yield outline


def _gradient(pixels: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """Return the length of the brightness gradient at each pixel."""
    grey = pixels.mean(axis=2, dtype=np.float32)
    if min(grey.shape) < 2:
        return np.zeros_like(grey)
    down, right = np.gradient(grey)
    return np.asarray(np.hypot(down, right), np.float32)


def _outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels on both sides of a mask's border; the edge of the image is none."""
    outline = np.zeros_like(mask)
    vertical = mask[1:] != mask[:-1]
    outline[1:] |= vertical
    outline[:-1] |= vertical
    horizontal = mask[:, 1:] != mask[:, :-1]
    outline[:, 1:] |= horizontal
    outline[:, :-1] |= horizontal
    return outline
