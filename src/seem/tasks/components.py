"""Connected components and holes of a mask, found without an imaging library.

A mask is cut into runs, pixels of one row that follow each other; runs of neighbouring rows that touch are connected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_OBJECT_COMPONENT_RATIO = (
    0.1  # of a component's area to the largest one's, below which it is no object
)
MIN_REGION_RATIO = 0.005  # of the area of a component or a hole to the largest component's, below which it is noise


@dataclass(frozen=True, slots=True)
class ComponentRuns:
    """The runs of a mask: flat indices (start, and one behind the end), and the component that each belongs to.

    Flat indices count in a mask with an empty column on either side, so that no run goes over the end of a row.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    components: NDArray[np.int64]

    @property
    def component_areas(self) -> NDArray[np.int64]:
        """For each run, the pixels of its whole component."""
        num_components = int(self.components.max(initial=-1)) + 1
        areas = np.zeros(num_components, dtype=np.int64)
        np.add.at(areas, self.components, self.ends - self.starts)
        area_of_run: NDArray[np.int64] = areas[self.components]
        return area_of_run


def connected_components(
    mask: NDArray[np.bool_], min_ratio: float = 0.0
) -> list[NDArray[np.bool_]]:
    """Return the connected components of an (H, W) mask, the largest first; pixels that touch at a corner connect.

    Components whose area is below `min_ratio` of the largest one's are left out.
    """
    runs = find_component_runs(mask, corners=True)
    areas = np.bincount(runs.components, runs.ends - runs.starts)
    min_area = max(1, min_ratio * areas.max(initial=0))
    largest_first = np.argsort(-areas, kind="stable")
    num_large = np.count_nonzero(areas >= min_area)
    return [
        draw_runs(runs, runs.components == number, mask.shape)
        for number in largest_first[:num_large].tolist()
    ]


def remove_small_regions(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """Fill holes and remove components of fewer than `min_area` pixels; the largest component always stays.

    Pixels of a component may touch at a corner only, those of a hole may not. Returns an (H, W) mask.
    """
    if min_area <= 1 or not mask.any():
        return mask
    holes = find_component_runs(~mask, corners=False)
    filled: NDArray[np.bool_] = mask | draw_runs(
        holes, holes.component_areas < min_area, mask.shape
    )
    components = find_component_runs(filled, corners=True)
    areas = components.component_areas
    keep = (areas >= min_area) | (areas == areas.max())
    return draw_runs(components, keep, mask.shape)


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes and remove components that are small beside the largest component."""
    largest = int(find_component_runs(mask, corners=True).component_areas.max(initial=0))
    return remove_small_regions(mask, int(MIN_REGION_RATIO * largest))


def clean_segment_map(ids: NDArray[np.int32], segment_ids: Iterable[int]) -> NDArray[np.int32]:
    """Clean the masks of segments in an (H, W) map of ids, 0 = no segment; none takes pixels from another."""
    masks = {segment_id: clean_mask(ids == segment_id) for segment_id in segment_ids}
    cleaned: NDArray[np.int32] = ids.copy()
    for (
        segment_id,
        mask,
    ) in masks.items():  # all are freed of noise first: it may lie in the hole of another
        cleaned[(ids == segment_id) & ~mask] = 0
    for segment_id, mask in masks.items():
        cleaned[mask & (cleaned == 0)] = segment_id
    return cleaned


# --- Runs -------------------------------------------------------------------------------------------------------------


def find_component_runs(mask: NDArray[np.bool_], corners: bool) -> ComponentRuns:
    """Cut an (H, W) mask into runs and say which of them are connected, also over corners if `corners`."""
    row_length = mask.shape[1] + 2
    padded = np.pad(mask, ((0, 0), (1, 1))).ravel()
    steps = np.diff(padded.view(np.int8), prepend=np.int8(0), append=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)

    # Of the runs one row below, those from `first` to `last` touch.
    reach = 1 if corners else 0
    first = np.searchsorted(ends, starts + row_length - reach, side="right")
    last = np.searchsorted(starts, ends + row_length + reach, side="left")
    num_touching = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), num_touching)
    first_pair = np.cumsum(num_touching) - num_touching
    index_in_touching = np.arange(len(upper)) - np.repeat(first_pair, num_touching)
    lower = np.repeat(first, num_touching) + index_in_touching
    return ComponentRuns(starts, ends, _component_numbers(len(starts), upper, lower))


def draw_runs(
    runs: ComponentRuns, selected: NDArray[np.bool_], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Draw the selected runs into a mask of that (height, width)."""
    height, width = shape
    row_length = width + 2
    changes = np.zeros(height * row_length + 1, dtype=np.int8)
    changes[runs.starts[selected]] += 1
    changes[runs.ends[selected]] -= 1
    inside = np.cumsum(changes[:-1], dtype=np.int8).reshape(height, row_length)
    mask: NDArray[np.bool_] = inside[:, 1:-1] > 0
    return mask


def _component_numbers(
    count: int, one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each of `count` items the smallest index among those that it is linked with, directly or not.

    Item `one[i]` is linked with item `other[i]`.
    """
    numbers = np.arange(count)
    while True:
        smaller = np.minimum(numbers[one], numbers[other])
        joined = numbers.copy()
        np.minimum.at(joined, numbers[one], smaller)
        np.minimum.at(joined, numbers[other], smaller)
        while not np.array_equal(joined, joined[joined]):  # follow the links to their end
            joined = joined[joined]
        if np.array_equal(joined, numbers):
            return numbers
        numbers = joined
