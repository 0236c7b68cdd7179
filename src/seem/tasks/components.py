"""Islands and holes of a mask, found without an imaging library.

A mask is cut into runs, pixels of one row that follow each other; runs of neighbouring rows that touch hang together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_OBJECT_COMPONENT_RATIO = 0.1  # share of the largest island below which one is no object
MIN_REGION_RATIO = 0.005  # share of the largest island below which an island or a hole is none of its own


@dataclass(frozen=True, slots=True)
class ComponentRuns:
    """The runs of a mask: flat positions (start, and one behind the end), and which region each belongs to."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    regions: NDArray[np.int64]

    @property
    def areas(self) -> NDArray[np.int64]:
        """For each run, the pixels of its whole region."""
        sums = np.zeros(int(self.regions.max(initial=-1)) + 1, dtype=np.int64)
        np.add.at(sums, self.regions, self.ends - self.starts)
        areas: NDArray[np.int64] = sums[self.regions]
        return areas


def remove_small_regions(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    """Fill holes and remove islands of fewer than `smallest` pixels; of islands the largest always stays.

    Pixels that touch at a corner are one island, holes are apart there. Returns an (H, W) mask.
    """
    if smallest <= 1 or not mask.any():
        return mask
    holes = find_component_runs(~mask, corners=False)
    filled: NDArray[np.bool_] = mask | draw_runs(holes, holes.areas < smallest, mask.shape)
    connected_components = find_component_runs(filled, corners=True)
    areas = connected_components.areas
    return draw_runs(connected_components, (areas >= smallest) | (areas == areas.max()), mask.shape)


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes and remove islands that are small beside the largest island."""
    largest = int(find_component_runs(mask, corners=True).areas.max(initial=0))
    return remove_small_regions(mask, int(MIN_REGION_RATIO * largest))


def clean_segment_map(ids: NDArray[np.int32], numbers: Iterable[int]) -> NDArray[np.int32]:
    """Do the same to regions of an (H, W) map, 0 = nobody's; pixels of another region stay there."""
    cleaned = {number: clean_mask(ids == number) for number in numbers}
    tidied: NDArray[np.int32] = ids.copy()
    for number, mask in cleaned.items():  # crumbs of all go first: one may lie in another's hole
        tidied[(ids == number) & ~mask] = 0
    for number, mask in cleaned.items():
        tidied[mask & (tidied == 0)] = number
    return tidied


def find_component_runs(mask: NDArray[np.bool_], corners: bool) -> ComponentRuns:
    """Cut an (H, W) mask into runs and say which of them hang together, also over corners if `corners`."""
    width = mask.shape[1] + 2  # an empty column on either side, so that no run goes over the end of a row
    padded = np.pad(mask, ((0, 0), (1, 1))).ravel()
    steps = np.diff(padded.view(np.int8), prepend=np.int8(0), append=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    reach = 1 if corners else 0
    first = np.searchsorted(ends, starts + width - reach, side="right")  # of the runs one row below that touch
    last = np.searchsorted(starts, ends + width + reach, side="left")
    touching = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), touching)
    offsets = np.arange(len(above)) - np.repeat(np.cumsum(touching) - touching, touching)
    below = np.repeat(first, touching) + offsets
    return ComponentRuns(starts, ends, _join(len(starts), above, below))


def connected_components(mask: NDArray[np.bool_], least: float = 0.0) -> list[NDArray[np.bool_]]:
    """Return the islands of an (H, W) mask, the largest first; pixels that touch at a corner are one island.

    Islands smaller than the share `least` of the largest are left out.
    """
    runs = find_component_runs(mask, corners=True)
    areas = np.bincount(runs.regions, runs.ends - runs.starts)
    numbers = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas >= max(1, least * areas.max(initial=0)))]
    return [draw_runs(runs, runs.regions == number, mask.shape) for number in numbers.tolist()]


def draw_runs(runs: ComponentRuns, chosen: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw the chosen runs into a mask of that (height, width)."""
    height, width = shape
    changes = np.zeros(height * (width + 2) + 1, dtype=np.int8)
    changes[runs.starts[chosen]] += 1
    changes[runs.ends[chosen]] -= 1
    rows = np.cumsum(changes[:-1], dtype=np.int8).reshape(height, width + 2)
    drawn: NDArray[np.bool_] = rows[:, 1:-1] > 0
    return drawn


def _join(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every one of `count` items the smallest number among those that it is linked with, directly or not."""
    numbers = np.arange(count)
    while True:
        smaller = np.minimum(numbers[one], numbers[other])
        joined = numbers.copy()
        np.minimum.at(joined, numbers[one], smaller)
        np.minimum.at(joined, numbers[other], smaller)
        while not np.array_equal(joined, joined[joined]):  # from a number to the one it was joined to, to the end
            joined = joined[joined]
        if np.array_equal(joined, numbers):
            return numbers
        numbers = joined
