"""1-IoU: mean IoU after one prompt, for the five kinds of prompt of SEEM's table 2.

Objects are things of 0.5% of the photo or more, neither crowds nor groups.

Generators are those of `seem.simulation`, seeded with the annotation id; each kind starts from the same seed. Prompts
are the real ones, in the photo's pixels: `Point` (the first `ritm` click), `Scribble` for circle strokes and scribbles
(the drawn paths where they run on the object; the round brush may cross its edge by half its width), `Polygon` (traced
roughly, or the curve that the official models know, as the model was taught), `Box` (tight). A polygon without area is
given as the `Mask` of its drawn pixels, and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32

from seem.data.dataset import MIN_AREA_FRACTION, Dataset, promptable_objects
from seem.data.records import ObjectRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.interfaces import region
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.metrics.prompt_kinds import PromptKindScores
from seem.evaluation.protocols.clicks import area_rule
from seem.prompts import Box, Mask, Point, Polygon, Scribble, VisualPrompt
from seem.rasterize import PolygonRule
from seem.simulation.next_click import first_click
from seem.simulation.strokes import PromptKind, SimulatedPrompt, draw_box, draw_circle, draw_polygon, draw_scribble

PROTOCOL = "prompts: 1-IoU"

Drawer: TypeAlias = "Callable[[Bool[np.ndarray, 'h w'], int], VisualPrompt]"

PIXEL_CENTRE = 0.5  # simulated outlines count from the centre of pixel 0, corners of a Polygon from its left edge


def prompt_kinds(dataset: Dataset, polygon_rule: PolygonRule = "filled") -> Measure:
    """Prompt each object once with every kind."""
    rules = (area_rule(MIN_AREA_FRACTION), "prompts drawn with the annotation id as seed", f"polygons: {polygon_rule}")
    return Measure(
        PROTOCOL,
        (Line(PROTOCOL, "model", PromptKindScores, rules),),
        lambda photo: promptable_objects(dataset, photo),
        _Prompting(prompt_drawers(polygon_rule)).play,
    )


@dataclass(frozen=True, slots=True)
class _Prompting:
    drawers: Mapping[PromptKind, Drawer]

    def play(self, look: Look, objects: Sequence[ObjectRecord], tallies: Sequence[Tally]) -> None:
        (tally,) = tallies
        tally.counts["polygons given as masks"] += 0
        for item in objects:
            truth = item.mask()
            found = []
            for kind, draw in self.drawers.items():
                prompt = draw(truth, item.id)
                tally.counts["polygons given as masks"] += isinstance(prompt, Mask)
                with look.asking(tally, kind.value):
                    predicted = region(look.seen.segment(prompt))
                overlap = Overlap.of(predicted, truth)
                tally.metric.update(kind, overlap)
                found.append((overlap.iou, kind.value, predicted))
            tally.note(look.place, look.photo, item.id)
            iou, kind_name, predicted = min(found, key=lambda each: each[0])
            title = f"{item.category.name}, {kind_name}"
            tally.show(look.place, look.photo, item.id, iou, predicted, truth, title)


def prompt_drawers(polygon_rule: PolygonRule) -> Mapping[PromptKind, Drawer]:
    """Return for every kind how an object (not empty) is prompted with a seed."""

    def polygon(truth: Bool[np.ndarray, "h w"], seed: int) -> VisualPrompt:
        return _polygon(draw_polygon(truth, np.random.default_rng(seed), polygon_rule))

    return MappingProxyType(
        {
            PromptKind.POINT: _point,
            PromptKind.CIRCLE: _circle,
            PromptKind.SCRIBBLE: _scribble,
            PromptKind.POLYGON: polygon,
            PromptKind.BOX: _box,
        }
    )


def _point(truth: Bool[np.ndarray, "h w"], seed: int) -> VisualPrompt:  # noqa: ARG001
    click = first_click(truth)
    assert click is not None
    return Point(click.x, click.y)


def _circle(truth: Bool[np.ndarray, "h w"], seed: int) -> VisualPrompt:
    return _brushed(draw_circle(truth, np.random.default_rng(seed)), truth)


def _scribble(truth: Bool[np.ndarray, "h w"], seed: int) -> VisualPrompt:
    return _brushed(draw_scribble(truth, np.random.default_rng(seed)), truth)


def _box(truth: Bool[np.ndarray, "h w"], seed: int) -> VisualPrompt:
    x0, y0, x1, y1 = draw_box(truth, np.random.default_rng(seed)).paths[0].ravel().tolist()
    return Box(x0, y0, x1, y1)


def _brushed(drawn: SimulatedPrompt, truth: Bool[np.ndarray, "h w"]) -> Scribble:
    runs = [run for path in drawn.paths for run in runs_inside(path, truth)]
    return Scribble([run.tolist() for run in runs], width=float(drawn.width))


def _polygon(drawn: SimulatedPrompt) -> VisualPrompt:
    try:
        return Polygon((drawn.paths[0] + PIXEL_CENTRE).tolist())
    except ValueError:  # fewer than three points, or all on one line
        return Mask(drawn.mask)


def runs_inside(path: Float32[np.ndarray, "p 2"], truth: Bool[np.ndarray, "h w"]) -> list[Float[np.ndarray, "_ 2"]]:
    """Cut a path of pixel centres to the pieces on the object, looking once a pixel or closer.

    Pieces have at least two points; a single one is repeated, which a brush draws as a dot.
    """
    dense = _walked(path)
    columns, rows = np.rint(dense).astype(np.int64).T
    height, width = truth.shape
    in_photo = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    inside = in_photo & truth[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    changes = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return [np.repeat(dense[start:end], 2 if end - start == 1 else 1, axis=0) for start, end in changes]


def _walked(path: Float32[np.ndarray, "p 2"]) -> Float[np.ndarray, "_ 2"]:
    """Add points to a path until neighbours are at most a pixel apart."""
    points = path.astype(np.float64)
    pieces = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = max(1, int(np.ceil(np.hypot(*(end - start)))))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)
