"""1-IoU: mean IoU after one prompt, for the five kinds of prompts of SEEM's table 2.

Objects are things of 0.5% of the image or more, neither crowds nor groups.

Generators are those of `seem.simulation`, seeded with the annotation id; each kind starts from the same seed. Prompts
are the public ones, in pixels of the image: `Point` (the first `ritm` click), `Scribble` for circle strokes and
scribbles (the generated paths where they run on the object; the round brush may cross its edge by half its width),
`Polygon` (traced roughly, or the curve of the official models, as the model was trained), `Box` (tight). A polygon
without area is passed as the `Mask` of its pixels, and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32

from seem.data.dataset import Dataset
from seem.data.object_selection import MIN_AREA_FRACTION, promptable_objects
from seem.data.records import ObjectRecord
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.interfaces import union_mask
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.metrics.prompt_kinds import PromptKindScores
from seem.evaluation.protocols.clicks import area_rule
from seem.prompts import Box, Mask, Point, Polygon, Scribble, VisualPrompt
from seem.rasterize import PolygonRule
from seem.simulation.next_click import first_click
from seem.simulation.strokes import (
    PromptKind,
    SimulatedPrompt,
    draw_box,
    draw_circle,
    draw_polygon,
    draw_scribble,
)

PROTOCOL = "prompts: 1-IoU"
NUM_MASKED_POLYGONS = "polygons given as masks"

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
PromptDrawer: TypeAlias = "Callable[[Bool[np.ndarray, 'h w'], int], VisualPrompt]"
"""Makes a prompt from the true mask of an object and a seed."""

PIXEL_CENTRE = 0.5  # simulated outlines count from the centre of pixel 0, corners of a Polygon from its left edge


def prompt_kind_benchmark(dataset: Dataset, polygon_rule: PolygonRule = "filled") -> Benchmark:
    """Score each object after one prompt of every kind."""
    rules = (
        area_rule(MIN_AREA_FRACTION),
        "prompts drawn with the annotation id as seed",
        f"polygons: {polygon_rule}",
    )
    return Benchmark(
        title=PROTOCOL,
        specs=(EntrySpec(PROTOCOL, "model", PromptKindScores, rules),),
        items=lambda image: promptable_objects(dataset, image),
        evaluate=_PromptEvaluation(prompt_drawers(polygon_rule)).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _PromptedMask:
    kind: PromptKind
    iou: float
    predicted: MaskArray


@dataclass(frozen=True, slots=True)
class _PromptEvaluation:
    drawers: Mapping[PromptKind, PromptDrawer]

    def evaluate(
        self,
        context: EvaluationContext,
        objects: Sequence[ObjectRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        accumulator.counts[NUM_MASKED_POLYGONS] += 0
        for record in objects:
            truth = record.mask()
            masks = []
            for kind in self.drawers:
                masks.append(self._predict(kind, record, truth, context, accumulator))
            context.record_item(accumulator, record.id)
            worst = min(masks, key=attrgetter("iou"))
            accumulator.add_case(
                context.image_index,
                context.image,
                record.id,
                worst.iou,
                worst.predicted,
                truth,
                f"{record.category.name}, {worst.kind.value}",
            )

    def _predict(
        self,
        kind: PromptKind,
        record: ObjectRecord,
        truth: MaskArray,
        context: EvaluationContext,
        accumulator: ScoreAccumulator,
    ) -> _PromptedMask:
        """Predict an object from one prompt, and update the metric."""
        prompt = self.drawers[kind](truth, record.id)
        accumulator.counts[NUM_MASKED_POLYGONS] += isinstance(prompt, Mask)
        with context.timing(accumulator, kind.value):
            predicted = union_mask(context.encoded.segment(prompt))
        overlap = Overlap.of(predicted, truth)
        accumulator.metric.update(kind, overlap)
        return _PromptedMask(kind, overlap.iou, predicted)


def prompt_drawers(polygon_rule: PolygonRule) -> Mapping[PromptKind, PromptDrawer]:
    """Return for every kind a function that makes a prompt about an object, which must not be empty."""

    def draw_public_polygon(truth: MaskArray, seed: int) -> VisualPrompt:
        return _polygon(draw_polygon(truth, np.random.default_rng(seed), polygon_rule))

    return MappingProxyType(
        {
            PromptKind.POINT: _point,
            PromptKind.CIRCLE: _circle,
            PromptKind.SCRIBBLE: _scribble,
            PromptKind.POLYGON: draw_public_polygon,
            PromptKind.BOX: _box,
        }
    )


def _point(truth: MaskArray, seed: int) -> VisualPrompt:  # noqa: ARG001
    click = first_click(truth)
    assert click is not None
    return Point(click.x, click.y)


def _circle(truth: MaskArray, seed: int) -> VisualPrompt:
    return _stroke(draw_circle(truth, np.random.default_rng(seed)), truth)


def _scribble(truth: MaskArray, seed: int) -> VisualPrompt:
    return _stroke(draw_scribble(truth, np.random.default_rng(seed)), truth)


def _box(truth: MaskArray, seed: int) -> VisualPrompt:
    (corners,) = draw_box(truth, np.random.default_rng(seed)).paths
    x0, y0, x1, y1 = corners.ravel().tolist()
    return Box(x0, y0, x1, y1)


def _stroke(simulated: SimulatedPrompt, truth: MaskArray) -> Scribble:
    strokes: list[list[tuple[float, float]]] = []
    for path in simulated.paths:
        strokes += [piece.tolist() for piece in clip_path(path, truth)]
    return Scribble(strokes, width=float(simulated.width))


def _polygon(simulated: SimulatedPrompt) -> VisualPrompt:
    try:
        return Polygon((simulated.paths[0] + PIXEL_CENTRE).tolist())
    except ValueError:  # fewer than three points, or all on one line
        return Mask(simulated.mask)


def clip_path(path: Float32[np.ndarray, "p 2"], truth: MaskArray) -> list[Float[np.ndarray, "_ 2"]]:
    """Cut a path of pixel centres to the pieces on the object, sampled at least once a pixel.

    Pieces have at least two points; a single one is repeated, which a brush draws as a dot.
    """
    dense = _densify(path)
    columns, rows = np.rint(dense).astype(np.int64).T
    height, width = truth.shape
    in_image = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    on_object = truth[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    inside = (in_image & on_object).astype(np.int8)
    changes = np.flatnonzero(np.diff(inside, prepend=0, append=0))
    pieces = []
    for start, end in changes.reshape(-1, 2):
        repeats = 2 if end - start == 1 else 1
        pieces.append(np.repeat(dense[start:end], repeats, axis=0))
    return pieces


def _densify(path: Float32[np.ndarray, "p 2"]) -> Float[np.ndarray, "_ 2"]:
    """Add points to a path until neighbours are at most a pixel apart."""
    points = path.astype(np.float64)
    segments = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = max(1, int(np.ceil(np.hypot(*(end - start)))))
        fractions = np.arange(1, count + 1) / count
        segments.append(start + (end - start) * fractions[:, None])
    return np.concatenate(segments)
