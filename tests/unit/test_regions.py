import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from seem.tasks.regions import clean, draw, find_regions


def mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_small_islands_go_and_small_holes_are_filled():
    before = mask("####.#", "#.##..", "####..", "......", ".....#")
    after = mask("####..", "####..", "####..", "......", "......")
    assert (clean(before, 3) == after).all()


def test_of_islands_that_are_all_small_the_largest_stays():
    assert (clean(mask("#...##", "......", "......"), 4) == mask("....##", "......", "......")).all()


def test_what_touches_at_a_corner_is_one_island_and_two_holes():
    assert (clean(mask("##....", "..##..", "......"), 4) == mask("##....", "..##..", "......")).all()
    ring = mask("#####", "#.###", "##.##", "#####")
    assert clean(ring, 2).all()


@pytest.mark.parametrize("smallest", [0, 1])
def test_nothing_to_clean_changes_nothing(smallest):
    before = mask("#.#", ".#.")
    assert (clean(before, smallest) == before).all()
    assert not clean(mask("...", "..."), 5).any()


masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(masks, st.booleans())
def test_regions_are_those_of_scipy(drawn, corners):
    runs = find_regions(drawn, corners)
    labels, count = ndimage.label(drawn, structure=np.ones((3, 3)) if corners else None)
    assert len(np.unique(runs.regions)) == count
    rows, columns = np.divmod(runs.starts, drawn.shape[1] + 2)
    theirs = labels[rows, columns - 1]
    assert runs.areas.tolist() == [int((labels == label).sum()) for label in theirs]
    assert (draw(runs, np.ones(len(runs.starts), dtype=np.bool_), drawn.shape) == drawn).all()


@given(masks, st.integers(0, 40))
def test_islands_that_are_left_are_large_enough_or_the_largest(drawn, smallest):
    cleaned = clean(drawn, smallest)
    islands = find_regions(cleaned, corners=True).areas
    assert ((islands >= smallest) | (islands == islands.max(initial=0))).all()
    assert cleaned.any() == drawn.any()
