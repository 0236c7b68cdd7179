import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from seem.tasks.components import (
    clean_mask,
    clean_segment_map,
    draw_runs,
    find_component_runs,
    remove_small_regions,
)


def mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_small_islands_go_and_small_holes_are_filled():
    before = mask("####.#", "#.##..", "####..", "......", ".....#")
    after = mask("####..", "####..", "####..", "......", "......")
    assert (remove_small_regions(before, 3) == after).all()


def test_of_islands_that_are_all_small_the_largest_stays():
    assert (
        remove_small_regions(mask("#...##", "......", "......"), 4)
        == mask("....##", "......", "......")
    ).all()


def test_crumbs_are_small_beside_their_region():
    large = np.zeros((40, 40), dtype=np.bool_)
    large[:, :30] = True
    large[5:7, 5:7] = False
    large[9, 9:15] = False
    large[0, 33:37] = large[20, 32:38] = True
    tidied = clean_mask(large)
    assert tidied[5:7, 5:7].all()  # 4 of 1,200
    assert not tidied[9, 9:15].any()  # 6
    assert not tidied[0, 33:37].any()
    assert tidied[20, 32:38].all()
    few = mask("#..#", "....", "##..")
    assert (clean_mask(few) == few).all()
    many = np.zeros((60, 60), dtype=np.bool_)
    many[::3, ::3] = many[1::3, ::3] = (
        True  # 400 of two pixels each: none is a crumb beside another
    )
    assert (clean_mask(many) == many).all()


def test_the_regions_of_a_map_are_tidied_without_taking_from_each_other():
    ids = np.zeros((60, 60), dtype=np.int32)
    ids[:, :50] = 1
    ids[10:40, 10:40] = 2
    ids[14, 14] = 0  # within both
    ids[5, 5] = 3
    ids[30, 53] = ids[30, 56] = 1
    tidied = clean_segment_map(ids, [1, 2, 3])
    expected = ids.copy()
    expected[14, 14] = 2
    expected[30, 53] = expected[30, 56] = 0
    assert (tidied == expected).all()
    assert ids[30, 53] == 1
    ids[50, 20] = 2  # a crumb of one region in another
    expected[50, 20] = 1
    for order in ([1, 2, 3], [3, 2, 1]):
        assert (clean_segment_map(ids, order) == expected).all()


def test_what_touches_at_a_corner_is_one_island_and_two_holes():
    assert (
        remove_small_regions(mask("##....", "..##..", "......"), 4)
        == mask("##....", "..##..", "......")
    ).all()
    ring = mask("#####", "#.###", "##.##", "#####")
    assert remove_small_regions(ring, 2).all()


@pytest.mark.parametrize("smallest", [0, 1])
def test_nothing_to_clean_changes_nothing(smallest):
    before = mask("#.#", ".#.")
    assert (remove_small_regions(before, smallest) == before).all()
    assert not remove_small_regions(mask("...", "..."), 5).any()


masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(masks, st.booleans())
def test_regions_are_those_of_scipy(drawn, corners):
    runs = find_component_runs(drawn, corners)
    labels, count = ndimage.label(drawn, structure=np.ones((3, 3)) if corners else None)
    assert len(np.unique(runs.components)) == count
    rows, columns = np.divmod(runs.starts, drawn.shape[1] + 2)
    theirs = labels[rows, columns - 1]
    assert runs.component_areas.tolist() == [int((labels == label).sum()) for label in theirs]
    assert (draw_runs(runs, np.ones(len(runs.starts), dtype=np.bool_), drawn.shape) == drawn).all()


@given(masks, st.integers(0, 40))
def test_islands_that_are_left_are_large_enough_or_the_largest(drawn, smallest):
    cleaned = remove_small_regions(drawn, smallest)
    islands = find_component_runs(cleaned, corners=True).component_areas
    assert ((islands >= smallest) | (islands == islands.max(initial=0))).all()
    assert cleaned.any() == drawn.any()
