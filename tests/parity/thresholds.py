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
TRIES_PER_FLIP = 4
"""How many of the nearest pixels are tried before the one that helps most stays turned.

The first that helps is not always the one: turning another query's pixel moves this one's logit across zero as well.
"""

HELPS = 0.75
"""A pixel stays turned if no more than this share of the entries that were off still is."""

MAX_ERROR = 0.2
"""Further off than this a case is not asked again: one pixel of many cannot do that."""


@dataclass(frozen=True, order=True)
class Edge:
    """A mask logit near zero: how near, in which reading of the picture (counted over the case), and where."""

    distance: float
    reading: int
    index: tuple[int, int, int]
    """Photo, row and pixel."""

    def is_same_pixel(self, other: Edge) -> bool:
        """Whether both are the same pixel of the same reading; its logit may have changed."""
        return (self.reading, self.index) == (other.reading, other.index)


@contextmanager
def turned(flips: tuple[Edge, ...], noise: float) -> Iterator[list[Edge]]:
    """Put the given pixels on the other side while the context lasts; the list gathers all that are near the edge."""
    near: list[Edge] = []
    readings = count()

    def visible(logits: Tensor) -> Tensor:
        reading, logits = next(readings), logits.clone()
        values = logits.flatten(2)
        for index in (values.abs() < noise).nonzero().tolist():
            photo, row, pixel = index
            near.append(Edge(abs(values[photo, row, pixel].item()), reading, (photo, row, pixel)))
        for flip in flips:
            if flip.reading == reading:
                values[flip.index] = -1.0 if values[flip.index] >= 0 else 1.0
        return visible_pixels(logits)

    with patch.object(decoder, "visible_pixels", visible):
        yield near


def settled(ask: Callable[[], Comparison], noise: float) -> Comparison:
    """Ask a case; if it is off by what pixels on the edge could explain, find out whether they do."""
    best = _attempt(ask, (), noise)
    while best.explicable and len(best.flips) < MAX_FLIPS:
        further = _best_further_flip(ask, best, noise)
        if further is None or further.compare.num_off > HELPS * best.compare.num_off:
            break
        best = further
    notes = tuple(f"with a pixel at {edge.distance:.0e} turned" for edge in best.flips)
    return replace(best.compare, notes=notes)


@dataclass(frozen=True)
class Attempt:
    """A case asked with some pixels turned: what was compared, and which pixels were near the edge."""

    flips: tuple[Edge, ...]
    near: tuple[Edge, ...]
    compare: Comparison

    @property
    def explicable(self) -> bool:
        """Whether something is off, and by no more than a pixel may do."""
        return self.compare.num_off > 0 and self.compare.largest.error <= MAX_ERROR

    def untouched(self) -> list[Edge]:
        """Return the pixels near the edge that are not turned yet, nearest first."""
        return sorted(
            edge for edge in self.near if not any(edge.is_same_pixel(flip) for flip in self.flips)
        )


def _attempt(ask: Callable[[], Comparison], flips: tuple[Edge, ...], noise: float) -> Attempt:
    with turned(flips, noise) as near:
        compare = ask()
    return Attempt(flips, tuple(near), compare)


def _best_further_flip(
    ask: Callable[[], Comparison], attempt: Attempt, noise: float
) -> Attempt | None:
    """Turn each of the nearest pixels alone and return the attempt with the fewest entries off."""
    best: Attempt | None = None
    for edge in attempt.untouched()[:TRIES_PER_FLIP]:
        tried = _attempt(ask, (*attempt.flips, edge), noise)
        if best is None or tried.compare.num_off < best.compare.num_off:
            best = tried
        if best.compare.num_off == 0:
            break
    return best
