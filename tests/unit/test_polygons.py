"""Outlines that cross themselves are found whatever their length, and checked in n log n."""

import numpy as np
import pytest

from seem.data import polygons
from seem.data.polygons import is_self_intersecting


def star(count, rng):
    """Return an outline around the origin that does not cross itself, its corners in order of their angle."""
    angles = np.sort(rng.random(count)) * 2 * np.pi
    radii = rng.uniform(50, 100, count)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


@pytest.mark.parametrize("count", [40, 400, 4000])
def test_crossings_are_found_at_any_length(count):
    outline = star(count, np.random.default_rng(count))
    assert not is_self_intersecting(outline.ravel().tolist())
    crossed = outline.copy()
    crossed[[5, count // 2]] = crossed[[count // 2, 5]]
    assert is_self_intersecting(crossed.ravel().tolist())


def test_the_sweep_agrees_with_comparing_every_pair(monkeypatch):
    rng = np.random.default_rng(0)
    num_crossing = 0
    for _ in range(600):
        count = int(rng.integers(4, 14))
        corners = rng.integers(0, 7, (count, 2)).astype(float)  # touching, upright and equal edges
        if rng.random() < 0.5:
            corners = np.round(star(count, rng) / 8)
        monkeypatch.setattr(polygons, "MAX_COMPARED_CORNERS", 100)
        compared = is_self_intersecting(corners.ravel().tolist())
        monkeypatch.setattr(polygons, "MAX_COMPARED_CORNERS", 0)
        assert is_self_intersecting(corners.ravel().tolist()) == compared, corners.tolist()
        num_crossing += compared
    assert 100 < num_crossing < 500


def test_many_long_edges_side_by_side_take_no_pairs(monkeypatch):
    """A comb whose teeth all overlap in x and y: as many comparisons as n log n, not n squared."""
    from seem.data import edge_sweep

    calls, side = [], edge_sweep._side
    monkeypatch.setattr(edge_sweep, "_side", lambda *points: calls.append(1) or side(*points))
    count = 2000
    comb = np.zeros((count, 2))
    comb[:, 0], comb[1::2, 1] = np.arange(count), 5000.0
    comb = np.vstack([comb, [[count, -5], [0, -5]]]) @ np.array([[0.8, -0.6], [0.6, 0.8]])
    assert not is_self_intersecting(comb.ravel().tolist())
    assert len(calls) < 20 * count * np.log2(count)
