"""An image of any size, asked tile by tile: neither it nor its encodings nor its map are in memory as a whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeAlias

import numpy as np
from PIL import Image

from seem.argument_types import explains_arguments
from seem.encode_many import encode_each
from seem.encoded_image import EncodedImage, checked_threshold, distinct_phrases, encode
from seem.inference.object_prompts import ObjectPrompts, check_object_lists, checked_probability
from seem.inference.prediction import Prediction, clamped_scores, missing_phrase_notes
from seem.inference.predictor import SegmentOptions
from seem.inference.prompt_decoder import PreparedImage, PromptDecoder, prepare_for_network
from seem.inference.recognizer import Recognizer, find_threshold
from seem.inference.runtime import RecentCache, Runtime
from seem.inference.tile_refinement import ViewAnswer, prompts_in_view, refine_edges
from seem.inference.tiles import (
    Tile,
    TileGrid,
    View,
    extent_of,
    reaches_past,
    view_around,
)
from seem.large_images import ANY_SIZE, Tiling, WindowedImage, read_reduced
from seem.mask_codec import PackedMask
from seem.prompts import Prompt, Reference, Text
from seem.results import Labels, Provenance, Results
from seem.results.notes import absence_note
from seem.results.segment_map import (
    MapSegment,
    SegmentMap,
    SegmentMapFile,
    checked_window,
    renumber,
)
from seem.tasks.tile_merging import (
    SegmentMapMerger,
    TileObject,
    TileSegment,
    merge_objects,
)
from seem.vocabulary import Classes, Vocabulary

PART_SHARE = 0.75  # of a threshold, that a part needs which goes on in a tile where it is surer
MAX_CACHED_VIEWS = 8  # encoded windows that stay for the next prompt

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of tiles that are done, and of all."""


@explains_arguments
class TiledImage:
    """An image that is read and encoded tile by tile. `Model.encode_tiled` makes one.

    Prompts encode only the windows that they need; what is asked about the full image goes through all tiles. Safe to
    use from several threads.
    """

    def __init__(self, model: Runtime, image: WindowedImage, tiling: Tiling) -> None:
        self.model = model
        self.source = image
        self.tiling = tiling
        self.grid = TileGrid.of(image.hw, tiling.side, tiling.overlap)
        self._views: RecentCache[View, EncodedImage] = RecentCache(MAX_CACHED_VIEWS)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        height, width = self.hw
        what = f"{self.name or 'image'}, {width} x {height} pixels, {len(self.grid)} tiles"
        return f"<TiledImage {what}, by {self.model.name}>"

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the image in pixels: the frame of prompts and masks."""
        return self.source.hw

    @property
    def name(self) -> str | None:
        """The image's file name, None where there is none."""
        return self.source.name

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> EncodedImage:
        """Encode a window by itself, for every other question; its prompts and masks are in the window's frame.

        Raises `ValueError` for a window that is empty or not inside the image.
        """
        box = checked_window((x0, y0, x1, y1), self.hw)
        pixels = Image.fromarray(self.source.read(box))
        return encode(self.model, pixels, self.tiling.size, ANY_SIZE)

    # --- The full image ----------------------------------------------------------------------------------------------

    def panoptic(
        self,
        classes: Classes = None,
        threshold: float | None = None,
        *,
        progress: Progress | None = None,
    ) -> SegmentMap:
        """Segment every thing and stuff region; a thing that several tiles show is one segment, stuff one a class.

        Arguments as in `EncodedImage.panoptic`; a class is looked for in every tile by itself. The map of ids is a
        temporary file of four bytes a pixel. `progress` is called after every tile with their number and that of all.
        Raises `SeemError` for an image that cannot be read, `OSError` where the disk is full.
        """
        vocabulary = self.model.vocabulary(classes)
        limit = checked_threshold(threshold, self.model.network.config.panoptic_threshold)

        def ask(recognizer: Recognizer) -> Prediction:
            return recognizer.panoptic(vocabulary, PART_SHARE * limit)

        merger = SegmentMapMerger(limit)
        merged = self._segment_map(
            "panoptic", vocabulary, ask, vocabulary.is_thing, merger, progress
        )
        if merged.segments:
            return merged
        notes = (*merged.notes, absence_note(vocabulary, limit))
        return replace(merged, provenance=replace(merged.provenance, notes=notes))

    def semantic(self, classes: Classes = None, *, progress: Progress | None = None) -> SegmentMap:
        """Give every pixel a class: one segment a class. `classes` as in `EncodedImage.semantic`, the rest as above."""
        vocabulary = self.model.vocabulary(classes)

        def ask(recognizer: Recognizer) -> Prediction:
            return recognizer.semantic(vocabulary)

        is_thing = [False] * len(vocabulary)
        return self._segment_map(
            "semantic", vocabulary, ask, is_thing, SegmentMapMerger(), progress
        )

    def _segment_map(
        self,
        task: str,
        vocabulary: Vocabulary,
        ask: Callable[[Recognizer], Prediction],
        is_thing: Sequence[bool],
        merger: SegmentMapMerger,
        progress: Progress | None,
    ) -> SegmentMap:
        """Ask every tile for segments that do not overlap, and merge their maps."""
        started = time.perf_counter()
        index_of = {name: index for index, name in enumerate(vocabulary.names)}
        file, kind = SegmentMapFile(self.hw), ""
        for tile, prediction in self._ask_tiles(ask, progress):
            kind = prediction.kind
            ids = np.zeros(tile.window.hw, dtype=np.int32)
            segments = []
            for mask, label, score in _rows(prediction):
                category = index_of[label]
                segments.append(TileSegment(category, is_thing[category], score))
                ids[mask.window][mask.crop()] = len(segments)
            drawn = merger.add(ids, segments, file.read(tile.window.box), tile.bands)
            file.write(tile.window.box, drawn)
        final_ids, merged = merger.final_ids()
        extents = renumber(file, final_ids)
        rows = [
            MapSegment(
                each.id,
                vocabulary.names[each.category],
                vocabulary.is_thing[each.category],
                min(max(each.score, 0.0), 1.0),
                extents[each.id].area,
                extents[each.id].box,
            )
            for each in merged
            if each.id in extents
        ]
        provenance = self._provenance(task, time.perf_counter() - started)
        return SegmentMap(self.source, file, tuple(rows), vocabulary, kind, provenance)

    def instances(
        self,
        classes: Classes = None,
        threshold: float | None = None,
        top: int = 100,
        *,
        progress: Progress | None = None,
    ) -> Results:
        """Segment every countable thing, best first; one that several tiles show is one object.

        `top` is the largest number of instances of a tile; the rest as in `EncodedImage.instances` and `panoptic`.
        """
        vocabulary = self.model.vocabulary(classes)
        limit = checked_threshold(threshold, self.model.network.config.instance_threshold)

        def ask(recognizer: Recognizer) -> Prediction:
            return recognizer.instances(vocabulary, PART_SHARE * limit, top, None)

        return self._objects("instance", vocabulary, ask, limit, (), progress)

    def find(
        self,
        phrases: str | Sequence[str],
        threshold: float | None = None,
        *,
        against: Classes = None,
        progress: Progress | None = None,
    ) -> Results:
        """Segment everything that a phrase, or one of several, fits; an object that several tiles show is one.

        Arguments as in `EncodedImage.find` and `panoptic`.
        """
        vocabulary = Vocabulary.of(distinct_phrases(phrases), stuff=())
        limit = checked_threshold(threshold, find_threshold(self.model.network))

        def ask(recognizer: Recognizer) -> Prediction:
            return recognizer.find(vocabulary, PART_SHARE * limit, against)

        prompts = tuple((Text(phrase),) for phrase in vocabulary.names)
        results = self._objects("find", vocabulary, ask, limit, prompts, progress)
        notes = (*results.notes, *missing_phrase_notes(vocabulary, results.labels))
        return replace(results, provenance=replace(results.provenance, notes=notes))

    def _objects(
        self,
        task: str,
        vocabulary: Vocabulary,
        ask: Callable[[Recognizer], Prediction],
        threshold: float,
        prompts: tuple[tuple[Prompt, ...], ...],
        progress: Progress | None,
    ) -> Results:
        """Ask every tile for objects, and join those that are one."""
        started = time.perf_counter()
        index_of = {name: index for index, name in enumerate(vocabulary.names)}
        tiles, kind = [], ""
        for tile, prediction in self._ask_tiles(ask, progress):
            kind = prediction.kind
            objects = []
            for mask, label, score in _rows(prediction):
                if mask.area and not tile.bands.leaves_to_neighbour(mask.box, tile.window.hw):
                    objects.append(TileObject(tile.window.box, mask, index_of[label], score))
            tiles.append(objects)
        merged = merge_objects(tiles, threshold)
        names = [vocabulary.names[each.category] for each in merged]
        return self._results(
            [each.to_mask(self.hw) for each in merged],
            [each.score for each in merged],
            vocabulary,
            kind,
            self._provenance(task, time.perf_counter() - started, prompts),
            lambda: Labels(tuple(names), tuple(clamped_scores(each.score for each in merged))),
        )

    def _ask_tiles(
        self, ask: Callable[[Recognizer], Prediction], progress: Progress | None
    ) -> Iterator[tuple[Tile, Prediction]]:
        """Yield every tile and what is in it; the next one is read while one is asked."""
        encoded = encode_each(self.model, self.grid, self._prepare_tile)
        for number, (tile, image) in enumerate(zip(self.grid, encoded, strict=True), 1):
            if isinstance(image, Exception):
                raise image
            yield tile, ask(image.predictor.recognizer)
            if progress is not None:
                progress(number, len(self.grid))

    def _prepare_tile(self, tile: Tile) -> PreparedImage:
        pixels = Image.fromarray(self.source.read(tile.window.box))
        config = self.model.network.config.image
        return prepare_for_network(config, pixels, self.tiling.size, ANY_SIZE)

    # --- Objects from prompts ----------------------------------------------------------------------------------------

    def segment(self, *prompts: Prompt, text_threshold: float | None = None) -> Results:
        """Segment the one object that visual prompts, and phrases beside them, describe.

        It is looked for in a window of the tile's size around the prompts; where it goes on beyond, in a window twice
        as large, and so on. Its edges are then found again in the tiles that they cross, at full resolution. Encoded
        windows stay for the next prompts nearby. While it is made, a mask takes a byte for each pixel of its box.

        Arguments and errors as in `EncodedImage.segment`; also `ValueError` for prompts without a visual one (`find`
        looks for phrases), for references, and for mask logits.
        """
        return self.segment_many([prompts], text_threshold=text_threshold)

    def segment_many(
        self, objects: Sequence[Sequence[Prompt]], *, text_threshold: float | None = None
    ) -> Results:
        """Segment several objects, each described by its own prompts, one after the other; as in `segment`.

        `ids` of the result are the numbers of the objects, from 1 on.
        """
        check_object_lists(objects)
        if not objects:
            raise ValueError("There is no object to segment; pass at least one list of prompts.")
        prompts_of_objects = [ObjectPrompts.of(prompts) for prompts in objects]
        for prompts in prompts_of_objects:
            self._check(prompts)
        limit = self.model.network.config.text_threshold
        if text_threshold is not None:
            limit = checked_probability(text_threshold, "text_threshold")
        started = time.perf_counter()
        answers = [self._answer(prompts, limit) for prompts in prompts_of_objects]
        notes = tuple(dict.fromkeys(chain.from_iterable(each.prediction.notes for each in answers)))
        kinds = dict.fromkeys(each.prediction.kind for each in answers)
        provenance = self._provenance(
            "interactive",
            time.perf_counter() - started,
            tuple(prompts.prompts for prompts in prompts_of_objects),
            notes,
        )
        return self._results(
            [
                self._full_mask(prompts, each)
                for prompts, each in zip(prompts_of_objects, answers, strict=True)
            ],
            [each.prediction.scores[0] for each in answers],
            self.model.vocabulary(),
            ", ".join(kinds),
            provenance,
            lambda: joined_labels([each.prediction for each in answers]),
        )

    def _check(self, prompts: ObjectPrompts) -> None:
        """Raise `ValueError` for prompts that do not say where the object is, or cannot be moved to a window."""
        if not any(mark.positive for mark in prompts.visual):
            raise ValueError(
                "No prompt says where the object is; add a Point or a Box, or look for phrases everywhere with find()."
            )
        if any(isinstance(prompt, Reference) for prompt in prompts.prompts):
            raise ValueError(
                "A tiled image takes no Reference; leave it out, or ask crop(x0, y0, x1, y1)."
            )
        for mark in prompts.visual:
            mark.check_inside(self.hw)

    def _answer(self, prompts: ObjectPrompts, text_threshold: float) -> ViewAnswer:
        """Answer in the smallest view that holds the whole object."""
        positive = tuple(mark for mark in prompts.visual if mark.positive)
        extent = extent_of(positive, self.hw)
        view = view_around(extent, self.hw, self.tiling.side)
        while True:
            image = self._encode_view(view)
            moved = prompts_in_view(prompts, view)
            image.predictor.decoder.check([moved])
            prediction = image.predictor.segment([moved], SegmentOptions(text_threshold))
            mask = prediction.masks[0]
            if not reaches_past(mask.box, view, self.hw):
                return ViewAnswer(view, image.predictor.decoder, prediction)
            view = view_around(extent, self.hw, self.tiling.side, view.factor * 2)

    def _full_mask(self, prompts: ObjectPrompts, answer: ViewAnswer) -> PackedMask:
        """Bring an answer to the full image; one of a reduced view gets its edges from the tiles."""
        if answer.view.factor > 1:
            return refine_edges(prompts, answer, self.grid, self._decoder_of_tile)
        mask, window = answer.prediction.masks[0], answer.view.window
        if not mask.area:
            return replace(mask, image_hw=self.hw)
        x0, y0, x1, y1 = mask.box
        box = (x0 + window.x0, y0 + window.y0, x1 + window.x0, y1 + window.y0)
        return PackedMask(self.hw, box, mask.bits, mask.area)

    def _encode_view(self, view: View) -> EncodedImage:
        """Encode a window, or return its encoding where it has been encoded before."""
        with self._lock:
            image = self._views.get(view)
            if image is None:
                pixels = read_reduced(self.source, view.window.box, view.factor)
                image = encode(self.model, pixels, self.tiling.size, ANY_SIZE)
                self._views.put(view, image)
            return image

    def _decoder_of_tile(self, tile: Tile) -> PromptDecoder:
        return self._encode_view(View(tile.window, 1)).predictor.decoder

    # --- Results -----------------------------------------------------------------------------------------------------

    def _provenance(
        self,
        task: str,
        seconds: float,
        prompts: tuple[tuple[Prompt, ...], ...] = (),
        notes: tuple[str, ...] = (),
    ) -> Provenance:
        model, tiling = self.model, self.tiling
        rule = f"tiles of {tiling.side} x {tiling.side} pixels, neighbours share {tiling.overlap}"
        return Provenance(
            task=task,
            model=model.name,
            model_sha256=model.sha256,
            precision=model.precision,
            engine=model.engine,
            prompts=prompts,
            seconds={task: seconds},
            rules=(rule,),
            notes=(*self.source.notes, *notes),
            image_name=self.name,
        )

    def _results(
        self,
        masks: Sequence[PackedMask],
        scores: Sequence[float],
        vocabulary: Vocabulary,
        kind: str,
        provenance: Provenance,
        labels: Callable[[], Labels],
    ) -> Results:
        return Results.of(
            self.source,
            masks,
            clamped_scores(scores),
            vocabulary=vocabulary,
            kind=kind,
            provenance=provenance,
            labels=labels,
        )


def _rows(prediction: Prediction) -> Iterator[tuple[PackedMask, str, float]]:
    """Yield mask, name and score of every row of a prediction about a full tile, whose rows all have names."""
    labels = prediction.labels() if callable(prediction.labels) else prediction.labels
    for mask, name, score in zip(prediction.masks, labels.names, prediction.scores, strict=True):
        assert name is not None
        yield mask, name, score


def joined_labels(predictions: Sequence[Prediction]) -> Labels:
    """Return the labels of all rows of several predictions."""
    names: list[str | None] = []
    scores: list[float] = []
    for prediction in predictions:
        labels = prediction.labels() if callable(prediction.labels) else prediction.labels
        names += labels.names
        scores += labels.scores
    return Labels(tuple(names), tuple(scores))
