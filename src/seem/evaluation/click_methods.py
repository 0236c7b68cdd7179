"""Who answers clicks: a model in two ways, and the baselines that it must beat.

Disc radii are in pixels of the stored photo. OpenCV and scikit-image come with `pip install seem[evaluate]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from seem.evaluation.interfaces import Seen, region
from seem.prompts import Point, Text
from seem.simulation.next_click import Click

Answer: TypeAlias = "Callable[[Sequence[Click]], Bool[np.ndarray, 'h w']]"

FIRST_RADIUS = 20  # of the first click's disc; it says where the object probably is
LATER_RADIUS = 5  # of further discs, which are certain
DISC_RADIUS = 30
GRABCUT_ITERATIONS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """The photo that is asked about: its pixels, a look of the model at them, and what the object is called."""

    pixels: UInt8[np.ndarray, "h w 3"]
    see: Callable[[], Seen]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Someone who answers clicks.

    `begin` is called for every object anew and returns a function from all clicks so far to a mask.
    `most_clicks`: further clicks change nothing and are not played; None where every click counts.
    """

    name: str
    begin: Callable[[Shown], Answer]
    most_clicks: int | None = None
    is_model: bool = False


# --- The model --------------------------------------------------------------------------------------------------------


def _in_rounds(shown: Shown) -> Answer:
    session = shown.see().session()
    return lambda clicks: region(session.add(_point(clicks[-1])))


def _looking_twice(shown: Shown) -> Answer:
    session = shown.see().session(second_look=True)
    return lambda clicks: region(session.add(_point(clicks[-1])))


def _at_once(shown: Shown) -> Answer:
    seen = shown.see()
    return lambda clicks: region(seen.segment(*map(_point, clicks)))


def _hearing_the_name(shown: Shown) -> Answer:
    session = shown.see().session()
    words = [Text(shown.name)]  # said once; a session remembers all its prompts
    return lambda clicks: region(session.add(*(words.pop() for _ in tuple(words)), _point(clicks[-1])))


def _point(click: Click) -> Point:
    return Point(click.x, click.y, click.positive)


# --- Baselines --------------------------------------------------------------------------------------------------------


def _first_disc(shown: Shown) -> Answer:
    return lambda clicks: disc(shown.pixels, clicks[0], DISC_RADIUS)


def _grabcut(shown: Shown) -> Answer:
    return lambda clicks: grabcut(shown.pixels, clicks)


def _random_walker(shown: Shown) -> Answer:
    return lambda clicks: random_walk(shown.pixels, clicks)


def grabcut(pixels: UInt8[np.ndarray, "h w 3"], clicks: Sequence[Click]) -> Bool[np.ndarray, "h w"]:
    """Run OpenCV's GrabCut from the start: the first disc is likely object, all else likely not, later discs certain.

    Of two discs that overlap, the later one holds.
    """
    import cv2

    states = np.full(pixels.shape[:2], cv2.GC_PR_BGD, np.uint8)
    states[disc(pixels, clicks[0], FIRST_RADIUS)] = cv2.GC_PR_FGD
    for click in clicks[1:]:
        states[disc(pixels, click, LATER_RADIUS)] = cv2.GC_FGD if click.positive else cv2.GC_BGD
    inside = _is_object(states)
    if inside.all() or not inside.any():  # GrabCut needs pixels of both kinds
        return inside
    cv2.setRNGSeed(0)  # its colour clusters start at random
    cv2.grabCut(
        np.ascontiguousarray(pixels[..., ::-1]),
        states,
        (0, 0, 0, 0),  # no rectangle: the mask says it all
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        GRABCUT_ITERATIONS,
        cv2.GC_INIT_WITH_MASK,
    )
    return _is_object(states)


def _is_object(states: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    return np.asarray(states % 2 == 1)  # GC_FGD is 1, GC_PR_FGD 3; background is 0 and 2


def random_walk(pixels: UInt8[np.ndarray, "h w 3"], clicks: Sequence[Click]) -> Bool[np.ndarray, "h w"]:
    """Run scikit-image's random walker from the discs; until a click is negative, the photo's border is background."""
    from skimage.segmentation import random_walker

    inside, outside = 1, 2
    labels = np.zeros(pixels.shape[:2], np.int32)
    if all(click.positive for click in clicks):
        labels[[0, -1], :] = outside
        labels[:, [0, -1]] = outside
    for number, click in enumerate(clicks):
        radius = LATER_RADIUS if number else FIRST_RADIUS
        labels[disc(pixels, click, radius)] = inside if click.positive else outside
    found = {inside, outside} & set(np.unique(labels).tolist())
    if len(found) < 2 or labels.all():
        return np.asarray(labels == inside, np.bool_)
    with warnings.catch_warnings():
        # this solver may end a little outside of 0-1, which does not change who wins
        warnings.filterwarnings("ignore", message="The probability range is outside", category=UserWarning)
        walked = random_walker(pixels, labels, beta=130, mode="cg_j", channel_axis=-1)
    answer: NDArray[np.bool_] = np.equal(walked, inside)
    return answer


def disc(pixels: UInt8[np.ndarray, "h w 3"], click: Click, radius: float) -> Bool[np.ndarray, "h w"]:
    """Mark the pixels whose centres are within `radius` of the clicked one's."""
    height, width = pixels.shape[:2]
    rows, columns = np.ogrid[:height, :width]
    return np.asarray((rows - click.y) ** 2 + (columns - click.x) ** 2 <= radius**2)


CONTESTANTS = (
    Contestant("model", _in_rounds, is_model=True),
    Contestant("model without memory", _at_once, is_model=True),
    Contestant(f"disc of {DISC_RADIUS} px", _first_disc, most_clicks=1),
    Contestant("GrabCut", _grabcut),
    Contestant("random walker", _random_walker),
)
"""Everyone, by the name in the report. The model's rounds remember the previous mask; without memory, every answer is
`segment` of all clicks so far."""

TOLD = Contestant("model hearing the class name", _hearing_the_name, is_model=True)
"""The model in rounds, who is also told what the object is called."""

CLOSER = Contestant("model, second look", _looking_twice, is_model=True)
"""The model in rounds, which zooms in on what is small (`seem.tasks.second_look`)."""

BASELINES = {"disc": CONTESTANTS[2], "grabcut": CONTESTANTS[3], "walker": CONTESTANTS[4]}
"""Baselines by the word that asks for them."""
