"""Methods that segment an object from clicks: the model in several settings, and the baselines that it must beat.

Disc radii are in pixels of the stored image. OpenCV and scikit-image come with `pip install seem[evaluate]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8

from seem.evaluation.interfaces import ImageUnderTest, union_mask
from seem.prompts import Point, Text
from seem.simulation.next_click import Click

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
PixelArray: TypeAlias = UInt8[np.ndarray, "h w 3"]
ClickPredictor: TypeAlias = "Callable[[Sequence[Click]], Bool[np.ndarray, 'h w']]"
"""Predicts the mask of one object from all clicks so far."""

FIRST_RADIUS = 20  # of the disc of the first click, which is probably object
LATER_RADIUS = 5  # of the discs of later clicks, which are certain
DISC_RADIUS = 30  # of the baseline that answers with a disc
GRABCUT_ITERATIONS = 3
RANDOM_WALKER_BETA = 130  # scikit-image's default


@dataclass(frozen=True, slots=True)
class ClickInput:
    """The input of a method: pixels of the image, a function that encodes it, and the class name of the object."""

    pixels: PixelArray
    encode: Callable[[], ImageUnderTest]
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class ClickMethod:
    """A method that predicts the mask of an object from clicks.

    Attributes:
        name: its name in the report, where the JSON calls it "contestant".
        start: called anew for every object; returns a function from all clicks so far to a mask.
        max_clicks: later clicks change nothing and are not simulated; None where every click counts.
        is_model: whether it is the model or a baseline.
    """

    name: str
    start: Callable[[ClickInput], ClickPredictor]
    max_clicks: int | None = None
    is_model: bool = False


# --- The model --------------------------------------------------------------------------------------------------------


def _start_session(given: ClickInput) -> ClickPredictor:
    session = given.encode().session()
    return lambda clicks: union_mask(session.add(_point(clicks[-1])))


def _start_zoom_session(given: ClickInput) -> ClickPredictor:
    session = given.encode().session(refine="zoom")
    return lambda clicks: union_mask(session.add(_point(clicks[-1])))


def _start_without_memory(given: ClickInput) -> ClickPredictor:
    encoded = given.encode()
    return lambda clicks: union_mask(encoded.segment(*map(_point, clicks)))


def _start_with_class_name(given: ClickInput) -> ClickPredictor:
    session = given.encode().session()

    def predict(clicks: Sequence[Click]) -> MaskArray:
        click = _point(clicks[-1])
        if len(clicks) > 1:  # the session remembers the text of the first round
            return union_mask(session.add(click))
        return union_mask(session.add(Text(given.class_name), click))

    return predict


def _point(click: Click) -> Point:
    return Point(click.x, click.y, click.positive)


# --- Baselines --------------------------------------------------------------------------------------------------------


def _start_disc(given: ClickInput) -> ClickPredictor:
    return lambda clicks: disc(given.pixels, clicks[0], DISC_RADIUS)


def _start_grabcut(given: ClickInput) -> ClickPredictor:
    return lambda clicks: grabcut(given.pixels, clicks)


def _start_random_walker(given: ClickInput) -> ClickPredictor:
    return lambda clicks: random_walk(given.pixels, clicks)


def grabcut(pixels: PixelArray, clicks: Sequence[Click]) -> MaskArray:
    """Segment an object with OpenCV's GrabCut, from scratch for every click.

    The disc of the first click is probably object, the discs of later clicks are certain, everything else is probably
    background. Where two discs overlap, the later one counts.
    """
    import cv2

    labels = np.full(pixels.shape[:2], cv2.GC_PR_BGD, np.uint8)
    certain = {True: cv2.GC_FGD, False: cv2.GC_BGD}
    labels[disc(pixels, clicks[0], FIRST_RADIUS)] = cv2.GC_PR_FGD
    for click in clicks[1:]:
        labels[disc(pixels, click, LATER_RADIUS)] = certain[click.positive]
    inside = _is_foreground(labels)
    if inside.all() or not inside.any():  # GrabCut needs pixels of both kinds
        return inside
    cv2.setRNGSeed(0)  # its colour clusters start at random
    unused_rectangle = (0, 0, 0, 0)
    cv2.grabCut(
        np.ascontiguousarray(pixels[..., ::-1]),
        labels,
        unused_rectangle,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        GRABCUT_ITERATIONS,
        cv2.GC_INIT_WITH_MASK,
    )
    return _is_foreground(labels)


def _is_foreground(labels: UInt8[np.ndarray, "h w"]) -> MaskArray:
    return np.asarray(labels % 2 == 1)  # GC_FGD is 1, GC_PR_FGD 3; background is 0 and 2


def random_walk(pixels: PixelArray, clicks: Sequence[Click]) -> MaskArray:
    """Segment an object with scikit-image's random walker, which starts from the discs of the clicks.

    As long as no click is negative, the edge of the image is background.
    """
    from skimage.segmentation import random_walker

    foreground, background = 1, 2
    labels = np.zeros(pixels.shape[:2], np.int32)
    if all(click.positive for click in clicks):
        labels[[0, -1], :] = background
        labels[:, [0, -1]] = background
    radius = FIRST_RADIUS
    for click in clicks:
        label = foreground if click.positive else background
        labels[disc(pixels, click, radius)] = label
        radius = LATER_RADIUS
    has_both = (labels == foreground).any() and (labels == background).any()
    if not has_both or labels.all():
        return np.asarray(labels == foreground, np.bool_)
    with warnings.catch_warnings():
        # This solver may end a little outside of 0-1, which does not change the label of a pixel.
        warnings.filterwarnings(
            "ignore", message="The probability range is outside", category=UserWarning
        )
        segmented = random_walker(
            pixels, labels, beta=RANDOM_WALKER_BETA, mode="cg_j", channel_axis=-1
        )
    return np.asarray(segmented == foreground, np.bool_)


def disc(pixels: PixelArray, click: Click, radius: float) -> MaskArray:
    """Return the pixels whose centres are within `radius` of that of the clicked pixel."""
    height, width = pixels.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    squared_distance = (rows - click.y) ** 2 + (columns - click.x) ** 2
    return np.asarray(squared_distance <= radius**2)


MODEL_IN_SESSION = ClickMethod("model", _start_session, is_model=True)
"""The model in an interactive session, which remembers the mask of the previous round."""

MODEL_WITHOUT_MEMORY = ClickMethod("model without memory", _start_without_memory, is_model=True)
"""The model, whose every prediction is `segment` of all clicks so far."""

MODEL_WITH_ZOOM = ClickMethod("model, zoom-in refinement", _start_zoom_session, is_model=True)
"""The model in a session, with zoom-in refinement of small objects."""

MODEL_WITH_CLASS_NAME = ClickMethod(
    "model with the class name", _start_with_class_name, is_model=True
)
"""The model in a session, with the class name of the object as a text prompt."""

BASELINES = {
    "disc": ClickMethod(f"disc of {DISC_RADIUS} px", _start_disc, max_clicks=1),
    "grabcut": ClickMethod("GrabCut", _start_grabcut),
    "walker": ClickMethod("random walker", _start_random_walker),
}
"""Baselines by their name on the command line."""
