"""Modules of the page alone, run in the browser: masks as pycocotools has them, undo as pure functions."""

import numpy as np
import pytest

from page_driver import PageDriver
from seem.coco_format import to_rle
from seem.data.coco_rle import rle_to_mask

ROUND_TRIP = """
async (rle) => {
  const { decodeMask, encodeMask } = await import("/masks/rle.js");
  return encodeMask(decodeMask(rle), rle.size).counts;
}
"""
OUTLINE_AREA = """
async (rle) => {
  const { decodeMask } = await import("/masks/rle.js");
  const { traceOutline } = await import("/masks/outline.js");
  const area = (loop) => loop.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = loop[(i + 1) % loop.length];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
  return traceOutline(decodeMask(rle)).map(area);
}
"""
HISTORY = """
async () => {
  const { record, redo, startHistory, undo } = await import("/state/history.js");
  const three = record(record(startHistory(1), 2), 3);
  const back = undo(undo(undo(three)));
  return [three, back, redo(back), record(back, 4), redo(three)].map(({ present }) => present);
}
"""

MERGE = """
async ([mine, theirs, base]) => {
  const { mergeDocuments } = await import("/state/merge.js");
  const document = (labels) => ({
    objects: Object.entries(labels).map(([id, label]) => ({ id: Number(id), label })),
    nextId: Math.max(0, ...Object.keys(labels).map(Number)) + 1,
  });
  const own = document(mine);
  const merged = mergeDocuments(own, document(theirs), document(base));
  const labels = Object.fromEntries(merged.objects.map(({ id, label }) => [id, label]));
  return [labels, merged.nextId, merged === own];
}
"""


def masks() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    full = np.ones((5, 7), dtype=bool)
    last_column = np.zeros((5, 7), dtype=bool)
    last_column[:, 6] = True
    middle_columns = np.zeros((5, 7), dtype=bool)
    middle_columns[:, 2:4] = True
    return [
        full,
        ~full,
        last_column,
        middle_columns,
        generator.random((40, 33)) < 0.5,
        generator.random((200, 3)) < 0.01,
        np.kron(generator.random((8, 8)) < 0.5, np.ones((40, 40))) > 0,
    ]


@pytest.mark.parametrize("mask", masks())
def test_masks_are_read_and_written_as_by_pycocotools(desktop: PageDriver, mask: np.ndarray):
    desktop.visit()
    rle = to_rle(mask)
    counts = desktop.page.evaluate(ROUND_TRIP, rle)
    assert counts == rle["counts"]
    np.testing.assert_array_equal(rle_to_mask(counts, mask.shape), mask)


def test_outlines_go_round_holes_the_other_way(desktop: PageDriver):
    desktop.visit()
    mask = np.zeros((12, 12), dtype=bool)
    mask[1:9, 1:9] = True
    mask[3:6, 3:6] = False
    mask[10, 10] = True
    outer, hole, dot = sorted(desktop.page.evaluate(OUTLINE_AREA, to_rle(mask)), key=abs)[::-1]
    assert outer == 64 - 0.5  # four corners are cut
    assert hole == -(9 - 0.5)
    assert dot == 0.5


@pytest.mark.parametrize(
    ("mine", "theirs", "merged"),
    [
        ({1: "cat", 2: "dog"}, {1: "cat", 2: "dog"}, {1: "cat", 2: "dog"}),
        ({1: "cat", 2: "dog"}, {1: "cat"}, {1: "cat"}),
        ({1: "cat"}, {1: "cat", 2: "dog"}, {1: "cat"}),
        ({1: "kitten", 2: "dog"}, {1: "cat", 2: "puppy"}, {1: "kitten", 2: "puppy"}),
        ({1: "kitten", 2: "dog"}, {1: "lion", 2: "dog"}, {1: "kitten", 2: "dog", 3: "lion"}),
        ({2: "dog"}, {1: "lion", 2: "dog"}, {1: "lion", 2: "dog"}),
        (
            {1: "cat", 2: "dog", 3: "cup"},
            {1: "cat", 2: "dog", 3: "bowl"},
            {1: "cat", 2: "dog", 3: "cup", 4: "bowl"},
        ),
    ],
    ids=[
        "same",
        "deleted there",
        "deleted here",
        "others",
        "both",
        "deleted here, changed there",
        "both new",
    ],
)
def test_what_two_tabs_did_is_merged(desktop: PageDriver, mine, theirs, merged):
    desktop.visit()
    base = {1: "cat", 2: "dog"}
    labels, next_id, is_mine = desktop.page.evaluate(MERGE, [mine, theirs, base])
    assert labels == {str(key): label for key, label in merged.items()}
    assert next_id > max(merged)
    assert is_mine == (merged == mine)


def test_undo_and_redo_are_pure(desktop: PageDriver):
    desktop.visit()
    assert desktop.page.evaluate(HISTORY) == [3, 1, 2, 4, 3]
