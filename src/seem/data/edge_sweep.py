"""Whether edges cross, in n log n: the plane sweep of Shamos and Hoey (1976)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

_Point: TypeAlias = "tuple[float, float]"

_END, _START = 0, 1  # at one point edges end before others start


class EdgeSweep:
    """A line that moves over edges from left to right, and knows the edges on it from the lowest to the highest.

    Before two edges cross they are neighbours on the line, so that only neighbours are compared. Points are ordered by
    x, then y, as if the line leant a little: no edge is parallel to it.
    """

    def __init__(
        self, starts: Float64[np.ndarray, "n 2"], ends: Float64[np.ndarray, "n 2"]
    ) -> None:
        self._edges: list[tuple[_Point, _Point]] = []
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
            left, right = sorted((tuple(a), tuple(b)))
            self._edges.append((left, right))
        self._on_line: list[int] = []

    def finds_crossing(self) -> bool:
        """Move the line over all edges; return whether two cross, each with its ends on either side of the other."""
        for _, kind, edge in self._events():
            crosses = self._insert(edge) if kind == _START else self._remove(edge)
            if crosses:
                return True
        return False

    def _events(self) -> list[tuple[_Point, int, int]]:
        events = []
        for number, (left, right) in enumerate(self._edges):
            events += [(left, _START, number), (right, _END, number)]
        return sorted(events)

    def _insert(self, edge: int) -> bool:
        index = self._index_of(edge)
        below = self._on_line[max(index - 1, 0) : index]
        above = self._on_line[index : index + 1]
        self._on_line.insert(index, edge)
        return any(self._cross(edge, other) for other in (*below, *above))

    def _remove(self, edge: int) -> bool:
        index = self._on_line.index(edge)
        del self._on_line[index]
        if not 0 < index < len(self._on_line):
            return False
        return self._cross(self._on_line[index - 1], self._on_line[index])

    def _index_of(self, edge: int) -> int:
        """Return where on the line an edge begins, by halving: above all edges that pass below its left end."""
        low, high = 0, len(self._on_line)
        while low < high:
            middle = (low + high) // 2
            if self._is_above(edge, self._on_line[middle]):
                low = middle + 1
            else:
                high = middle
        return low

    def _is_above(self, edge: int, other: int) -> bool:
        """Whether an edge begins above another one, or on it and goes on above it."""
        left, right = self._edges[edge]
        side = _side(*self._edges[other], left)
        if side == 0:
            side = _side(*self._edges[other], right)
        return side > 0

    def _cross(self, edge: int, other: int) -> bool:
        one, two = self._edges[edge], self._edges[other]
        return _lie_apart(one, two) and _lie_apart(two, one)


def _lie_apart(line: tuple[_Point, _Point], ends: tuple[_Point, _Point]) -> bool:
    """Whether two points lie on different sides of a line through two others."""
    first, second = ends
    return _side(*line, first) * _side(*line, second) < 0


def _side(a: _Point, b: _Point, c: _Point) -> int:
    """Return on which side of the line from `a` to `b` the point `c` lies: 1 above, -1 below, 0 on it."""
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    to_x, to_y = c[0] - a[0], c[1] - a[1]
    product = along_x * to_y - along_y * to_x
    return (product > 0) - (product < 0)
