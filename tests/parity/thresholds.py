"""Decisions on the edge: which of them rounding may have turned.

Where a query looks is a hard threshold: mask logit at zero. A pixel whose logit lies within rounding of zero may fall
on the other side in the recording, which moves one whole query, and a little those that listen to it. That excuses
nothing by itself. A case that is off is asked again with the nearest such pixel on the other side, and then the next;
only if that brings every array within its tolerance was it rounding, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from unittest.mock import patch

from torch import Tensor

from parity.comparison import Comparison
from seem.models.decoder import decoder
from seem.models.ops.masks import visible_pixels

MAX_FLIPS = 3
MAX_TRIES = 12
HELPS = 0.75
"""A pixel stays turned if no more than this share of the entries that were off still is."""

MAX_ERROR = 0.2
"""Further off than this a case is not asked again: one pixel of many cannot do that."""


@dataclass(frozen=True, order=True)
class Edge:
    """A mask logit near zero: how near, in which reading of the picture (counted over the case), and where."""

    distance: float
    reading: int
    place: tuple[int, int, int]
    """Photo, row and pixel."""

    def same_place(self, other: Edge) -> bool:
        """Whether both are the same pixel of the same reading; its logit may have changed."""
        return (self.reading, self.place) == (other.reading, other.place)


@contextmanager
def turned(flips: tuple[Edge, ...], noise: float) -> Iterator[list[Edge]]:
    """Put the given pixels on the other side while the context lasts; the list gathers all that are near the edge."""
    near: list[Edge] = []
    readings = count()

    def visible(logits: Tensor) -> Tensor:
        reading, logits = next(readings), logits.clone()
        values = logits.flatten(2)
        for place in (values.abs() < noise).nonzero().tolist():
            photo, row, pixel = place
            near.append(Edge(abs(values[photo, row, pixel].item()), reading, (photo, row, pixel)))
        for flip in flips:
            if flip.reading == reading:
                values[flip.place] = -1.0 if values[flip.place] >= 0 else 1.0
        return visible_pixels(logits)

    with patch.object(decoder, "visible_pixels", visible):
        yield near


def settled(ask: Callable[[], Comparison], noise: float) -> Comparison:
    """Ask a case; if it is off by what pixels on the edge could explain, find out whether they do."""
    flips: tuple[Edge, ...] = ()
    tried: list[Edge] = []
    with turned(flips, noise) as near:
        compare = ask()
    while (
        compare.num_off
        and compare.largest.error <= MAX_ERROR
        and len(flips) < MAX_FLIPS
        and len(tried) < MAX_TRIES
    ):
        fresh = [edge for edge in near if not any(edge.same_place(other) for other in tried)]
        if not fresh:
            break
        edge = min(fresh)
        tried.append(edge)
        with turned((*flips, edge), noise) as near_then:
            then = ask()
        if then.num_off <= HELPS * compare.num_off:
            flips, near, compare = (*flips, edge), near_then, then
    return replace(
        compare, notes=tuple(f"with a pixel at {edge.distance:.0e} turned" for edge in flips)
    )
