"""Tiles: how they cover an image, and how what they show becomes one."""

from itertools import pairwise

import numpy as np
import pytest

import seem
from seem.inference.tiles import (
    TileGrid,
    View,
    extent_of,
    prompt_in_view,
    reaches_past,
    tile_starts,
    view_around,
)
from seem.inference.zoom import Window
from seem.mask_codec import PackedMask
from seem.tasks.tile_merging import (
    SegmentMapMerger,
    SharedBands,
    TileObject,
    TileSegment,
    merge_objects,
)

# ------------------------------------------------------------------------------------------------ the grid


@pytest.mark.parametrize("length", [1, 99, 100, 101, 180, 181, 1000, 20_000])
def test_tiles_cover_a_side_share_enough_and_stay_inside(length):
    starts = tile_starts(length, 100, 20)
    assert starts[0] == 0
    assert starts[-1] + 100 >= length
    assert length <= 100 or starts[-1] + 100 == length
    shared = [one + 100 - other for one, other in pairwise(starts)]
    assert all(20 <= each < 100 for each in shared)


def test_a_tile_knows_what_each_neighbour_shows_too():
    grid = TileGrid.of((180, 100), 100, 20)  # two tiles on top of each other
    upper, lower = grid
    assert (upper.window.box, lower.window.box) == ((0, 0, 100, 100), (0, 80, 100, 180))
    assert upper.bands == SharedBands(bottom=20)
    assert lower.bands == SharedBands(top=20)


def test_the_tiles_of_a_box_come_row_by_row():
    grid = TileGrid.of((260, 260), 100, 20)  # 3 x 3
    rows = [[tile.window.box[:2] for tile in row] for row in grid.rows_of((0, 170, 150, 200))]
    assert rows == [[(0, 80), (80, 80)], [(0, 160), (80, 160)]]


# ------------------------------------------------------------------------------------------------ views


def test_a_view_holds_what_it_is_for_with_a_margin():
    view = view_around((500, 500, 510, 510), (4000, 4000), 256)
    assert view.factor == 1
    assert view.window.x0 <= 500 - 64
    assert view.window.x1 >= 510 + 64
    large = view_around((500, 500, 1500, 900), (4000, 4000), 256)
    assert large.factor == 8  # 1.5 times 1,000 pixels need 2,048
    assert large.hw == (256, 256)


def test_views_of_neighbouring_clicks_are_the_same():
    assert view_around((500, 500, 501, 501), (4000, 4000), 256) == view_around(
        (520, 480, 521, 481), (4000, 4000), 256
    )


def test_views_end_at_the_image():
    view = view_around((0, 3990, 10, 4000), (4000, 300), 256)
    assert view.window.box == (0, 3744, 256, 4000)
    whole = view_around((0, 0, 300, 300), (300, 300), 256)
    assert whole.window.box == (0, 0, 300, 300)
    assert whole.hw == (150, 150)


def test_a_mask_goes_on_outside_where_it_touches_a_border_within_the_image():
    view = View(Window(0, 100, 100, 200), 1)
    assert not reaches_past((0, 10, 50, 50), view, (400, 400))  # the border of the image
    assert reaches_past((10, 0, 50, 50), view, (400, 400))
    assert reaches_past((10, 10, 100, 50), view, (400, 400))
    assert not reaches_past((10, 10, 100, 50), view, (400, 100))
    assert not reaches_past((10, 10, 50, 50), view, (400, 400))


@pytest.mark.parametrize(
    ("prompt", "there"),
    [
        (seem.Point(103, 201), seem.Point(0.375, -0.125)),
        (seem.Box(104, 208, 120, 216), seem.Box(1, 2, 5, 4)),
        (seem.Stroke([(103, 201), (111, 209)], width=8), seem.Stroke([(0.375, -0.125), (2.375, 1.875)], width=2)),
        (
            seem.Scribble([[(103, 201), (111, 209)]], width=8),
            seem.Scribble([[(0.375, -0.125), (2.375, 1.875)]], width=2),
        ),
        (seem.Polygon([(104, 208), (120, 208), (120, 216)]), seem.Polygon([(1, 2), (5, 2), (5, 4)])),
    ],
)  # fmt: skip
def test_prompts_are_reduced_like_the_view(prompt, there):
    assert prompt_in_view(prompt, View(Window(100, 200, 500, 600), 4)) == there


def test_masks_are_reduced_without_losing_a_pixel():
    region = np.zeros((20, 20), bool)
    region[5, 6] = True
    reduced = prompt_in_view(seem.Mask(region), View(Window(4, 4, 12, 12), 4))
    assert reduced.array.tolist() == [[True, False], [False, False]]


def test_the_extent_of_prompts_is_cut_at_the_image():
    prompts = (seem.Point(10, 20), seem.Box(-5, 30, 40, 900))
    assert extent_of(prompts, (100, 100)) == (0, 20, 40, 100)
    with pytest.raises(ValueError, match="logits"):
        extent_of((seem.Mask(logits=np.ones((4, 4), np.float32)),), (100, 100))


def test_a_mask_is_reduced_to_every_pixel_that_it_touches():
    mask = np.zeros((10, 10), bool)
    mask[3:5, 9] = True
    reduced = PackedMask.pack(mask, (10, 10)).reduced(4)
    assert reduced.image_hw == (3, 3)
    assert reduced.decode().tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert reduced.area == 2


# ------------------------------------------------------------------------------------------------ maps


def tile_map(truth, grid):
    """Cut a map of segments into tiles, each numbered by itself."""
    for tile in grid:
        part = truth[tile.window.pixels]
        present = [number for number in np.unique(part).tolist() if number]
        ids = np.zeros(part.shape, np.int32)
        for index, number in enumerate(present, 1):
            ids[part == number] = index
        yield tile, ids, present


def merged(truth, grid, segment_of, threshold=0.0):
    """Merge the tiles of a map whose segments are described by `segment_of(number, tile)`."""
    merger, drawn = SegmentMapMerger(threshold), np.zeros(truth.shape, np.int32)
    for tile, ids, present in tile_map(truth, grid):
        segments = [segment_of(number, tile) for number in present]
        window = tile.window.pixels
        drawn[window] = merger.add(ids, segments, drawn[window].copy(), tile.bands)
    final, segments = merger.final_ids()
    return final[drawn], segments


def same_regions(one, other):
    """Whether two maps have the same regions, under whatever numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def scene():
    """Draw things of class 0 (numbers below 9), across seams and not, and stuff of class 1 (number 9) in two parts."""
    truth = np.zeros((300, 260), np.int32)
    truth[10:30, 10:30] = 1  # in one tile
    truth[70:120, 60:130] = 2  # across four tiles
    truth[150:280, 100:250] = 3  # larger than a tile
    truth[200:220, 130:180] = 0  # with a hole
    truth[40:60, 82:98] = 4  # in a band alone
    truth[:, 255:] = 9
    truth[290:, :50] = 9
    return truth


def describe(number, tile):
    return TileSegment(int(number == 9), number != 9, 0.9)


def test_what_all_tiles_agree_on_comes_out_as_it_is():
    truth = scene()
    ids, segments = merged(truth, TileGrid.of(truth.shape, 100, 20), describe)
    assert same_regions(ids, truth)
    assert [segment.is_thing for segment in segments].count(True) == 4
    assert [segment.category for segment in segments].count(1) == 1  # stuff is one


def test_things_beside_each_other_stay_two():
    truth = np.zeros((100, 180), np.int32)
    truth[10:50, 30:150], truth[50:90, 30:150] = 1, 2
    ids, _ = merged(truth, TileGrid.of(truth.shape, 100, 20), describe)
    assert same_regions(ids, truth)


def test_the_class_of_an_object_is_that_of_its_larger_and_surer_part():
    truth = np.zeros((100, 180), np.int32)
    truth[20:80, 60:170] = 1

    def segment_of(number, tile):
        is_left = tile.window.x0 == 0
        return TileSegment(5 if is_left else 7, True, 0.95 if is_left else 0.8)

    _, segments = merged(truth, TileGrid.of(truth.shape, 100, 20), segment_of)
    assert [(one.category, one.score) for one in segments] == [(7, 0.95)]


def test_a_weak_part_stays_beside_a_sure_one_and_goes_alone():
    truth = np.zeros((100, 260), np.int32)
    truth[20:80, 60:150] = 1
    truth[20:80, 200:250] = 2

    def segment_of(number, tile):
        return TileSegment(0, True, 0.9 if tile.window.x0 == 0 else 0.5)

    ids, segments = merged(truth, TileGrid.of(truth.shape, 100, 20), segment_of, threshold=0.7)
    assert len(segments) == 1
    assert ((ids > 0) == (truth == 1)).all()


def test_weak_stuff_stays_where_it_goes_on_in_sure_stuff_of_its_class():
    truth = np.full((100, 180), 9, np.int32)

    def segment_of(number, tile):
        return TileSegment(3, False, 0.9 if tile.window.x0 == 0 else 0.5)

    ids, segments = merged(truth, TileGrid.of(truth.shape, 100, 20), segment_of, threshold=0.7)
    assert (ids == 1).all()
    assert len(segments) == 1


def test_what_only_one_tile_sees_is_not_cut_at_the_middle_of_the_band():
    grid = TileGrid.of((100, 180), 100, 20)
    left, right = grid
    merger = SegmentMapMerger()
    drawn = np.zeros((100, 180), np.int32)
    seen = np.zeros((100, 100), np.int32)
    seen[40:60, 50:97] = 1  # ends before the border of the left tile
    drawn[left.window.pixels] = merger.add(
        seen, [TileSegment(0, True, 0.9)], drawn[left.window.pixels].copy(), left.bands
    )
    nothing = np.zeros((100, 100), np.int32)
    drawn[right.window.pixels] = merger.add(
        nothing, [], drawn[right.window.pixels].copy(), right.bands
    )
    assert np.count_nonzero(drawn) == 20 * 47


def test_where_tiles_disagree_the_deeper_one_decides():
    grid = TileGrid.of((100, 180), 100, 20)
    merger, drawn = SegmentMapMerger(), np.zeros((100, 180), np.int32)
    for category, tile in enumerate(grid):
        ids = np.ones((100, 100), np.int32)
        window = tile.window.pixels
        drawn[window] = merger.add(
            ids, [TileSegment(category, False, 0.9)], drawn[window].copy(), tile.bands
        )
    final, _ = merger.final_ids()
    columns = final[drawn][0]
    assert (columns[:90] == columns[0]).all()
    assert (columns[90:] == columns[-1]).all()
    assert columns[0] != columns[-1]


def test_a_thing_cut_off_in_a_band_is_left_to_the_neighbour():
    bands = SharedBands(left=20, bottom=20)
    assert bands.leaves_to_neighbour((0, 30, 15, 60), (100, 100))
    assert not bands.leaves_to_neighbour((0, 30, 25, 60), (100, 100))  # goes on into the tile
    assert not bands.leaves_to_neighbour((2, 30, 15, 60), (100, 100))  # is not cut off
    assert bands.leaves_to_neighbour((50, 85, 60, 100), (100, 100))
    assert not bands.leaves_to_neighbour((85, 30, 100, 60), (100, 100))  # the image ends there


# ------------------------------------------------------------------------------------------------ objects


def objects_of(truth, grid, score=0.9, category=0):
    tiles = []
    for tile, ids, present in tile_map(truth, grid):
        objects = []
        for index in range(1, len(present) + 1):
            mask = PackedMask.pack(ids == index, ids.shape)
            if not tile.bands.leaves_to_neighbour(mask.box, ids.shape):
                objects.append(TileObject(tile.window.box, mask, category, score))
        tiles.append(objects)
    return tiles


def test_objects_of_several_tiles_are_joined_pixel_by_pixel():
    truth = np.where(scene() == 9, 0, scene())
    objects = merge_objects(objects_of(truth, TileGrid.of(truth.shape, 100, 20)))
    masks = [each.to_mask(truth.shape).decode() for each in objects]
    expected = [truth == number for number in (1, 2, 3, 4)]
    assert len(masks) == 4
    for one in expected:
        assert any((one == mask).all() for mask in masks)


def test_objects_that_overlap_in_a_tile_are_not_joined_through_their_neighbour():
    window = (0, 0, 100, 100)
    inner, outer = np.zeros((2, 100, 100), bool)
    inner[40:60, 60:100], outer[38:62, 58:100] = True, True
    beside = np.zeros((100, 100), bool)
    beside[40:60, 0:40] = True
    left = [
        TileObject(window, PackedMask.pack(each, (100, 100)), 0, 0.9) for each in (inner, outer)
    ]
    right = [TileObject((80, 0, 180, 100), PackedMask.pack(beside, (100, 100)), 0, 0.9)]
    assert [len(one.parts) for one in merge_objects([left, right])] == [2, 1]


def test_weak_objects_go_unless_they_are_part_of_a_sure_one():
    truth = np.zeros((100, 260), np.int32)
    truth[20:80, 60:150], truth[20:80, 200:250] = 1, 2
    tiles = objects_of(truth, TileGrid.of(truth.shape, 100, 20), score=0.5)
    sure = tiles[0][0]
    tiles[0][0] = TileObject(sure.window, sure.mask, 4, 0.9)
    (only,) = merge_objects(tiles, threshold=0.7)
    assert only.score == 0.9
    assert (only.to_mask(truth.shape).decode() == (truth == 1)).all()
