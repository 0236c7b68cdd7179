"""Recognition by object queries: the published models."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.inference.prediction import (
    ImageRegions,
    Prediction,
    labels_of,
    missing_phrase_notes,
    names_of_classes,
    panoptic_prediction,
    semantic_prediction,
)
from seem.inference.prompt_decoder import PromptDecoder
from seem.mask_codec import PackedMask
from seem.models.precision import arithmetic
from seem.models.structures import DecoderQuery, QueryOutputs
from seem.results import Labels
from seem.tasks.find import (
    add_rival_logits,
    likely_queries,
    match_phrases,
    rival_names,
)
from seem.tasks.instance import foreground_probability, top_query_classes
from seem.tasks.interactive import distinct_masks
from seem.tasks.labels import categories_from_queries
from seem.tasks.panoptic import merge_masks, select_confident
from seem.tasks.postprocess import each_to_image_size, to_input_size, to_output_size
from seem.tasks.semantic import classify_by_queries
from seem.vocabulary import Classes, Vocabulary, is_empty_list

KIND = "object queries"


class QueryRecognizer:
    """Reads the object queries of one image; they run once, at the first question. Implements `Recognizer`.

    Scores come before masks: masks are computed for the queries whose scores pass, and once for all of them where all
    are needed.
    """

    def __init__(self, decoder: PromptDecoder) -> None:
        self.decoder = decoder
        self.runtime = decoder.runtime
        self._queries: QueryOutputs | None = None
        self._regions: ImageRegions | None = None
        self._lock = threading.Lock()

    def panoptic(self, vocabulary: Vocabulary, threshold: float) -> Prediction:
        """Merge the queries whose class score passes the threshold (published rule)."""
        class_vectors, class_logits = self._classified(vocabulary)
        chosen = select_confident(class_logits, threshold)
        masks = each_to_image_size(self._mask_logits(chosen.queries), self.decoder.frame)
        is_thing = torch.tensor(vocabulary.is_thing)
        merged = merge_masks(chosen, masks, self.decoder.image.hw, is_thing)
        vectors = class_vectors[[segment.query for segment in merged.segments]]
        return panoptic_prediction(
            merged.ids.cpu().numpy(), merged.segments, vocabulary, KIND, vectors
        )

    def instances(
        self, vocabulary: Vocabulary, threshold: float, top: int, nms_threshold: float | None
    ) -> Prediction:
        """Take the `top` pairs of query and class that score `threshold` or more (published rule).

        `nms_threshold` None or 1 = all stay.
        """
        class_vectors, class_logits = self._classified(vocabulary)
        is_thing = torch.tensor(vocabulary.is_thing)
        pairs = top_query_classes(class_logits, is_thing, top).above(threshold)
        queries, rows = torch.unique(pairs.queries, return_inverse=True)
        masks = to_input_size(self._mask_logits(queries), self.decoder.frame)
        mask_scores = masks.new_tensor([float(foreground_probability(mask)) for mask in masks])
        scores = pairs.scores * mask_scores[rows]
        by_score = scores.argsort(descending=True)
        order = by_score[scores[by_score] >= threshold]
        if nms_threshold is not None and nms_threshold < 1:
            order = order[distinct_masks(masks[rows[order]] > 0, nms_threshold)]
        packed = self._pack_each(masks, rows[order].tolist())
        has_pixels = [packed[row].area > 0 for row in rows[order].tolist()]
        order = order[np.flatnonzero(has_pixels)]
        names = names_of_classes(vocabulary, pairs.classes[order].tolist())
        return Prediction(
            masks=[packed[row] for row in rows[order].tolist()],
            scores=scores[order].tolist(),
            labels=Labels(names, tuple(pairs.scores[order].tolist())),
            kind=KIND,
            vectors=class_vectors[pairs.queries[order]],
        )

    def semantic(self, vocabulary: Vocabulary) -> Prediction:
        """Sum class score times mask probability over the queries (published rule)."""
        regions, class_logits = self.regions(vocabulary)
        best = classify_by_queries(
            class_logits, regions.mask_logits, self.decoder.frame, vocabulary.background
        )
        return semantic_prediction(best, vocabulary, self.runtime.classifier(vocabulary), KIND)

    def find(self, vocabulary: Vocabulary, threshold: float, against: Classes) -> Prediction:
        """Compare the queries with the phrases and their rivals; an object has one phrase."""
        class_vectors, phrase_logits = self._classified(vocabulary)
        rivals = self.runtime.class_logits(
            class_vectors, self._rival_embeddings(vocabulary, against)
        )
        logits = add_rival_logits(phrase_logits, rivals)
        likely = likely_queries(logits, threshold)
        masks = to_input_size(self._mask_logits(likely), self.decoder.frame)
        matches = match_phrases(logits[likely], masks, threshold)
        rows = matches.queries.tolist()
        names = names_of_classes(vocabulary, matches.phrases.tolist())
        packed = self._pack_each(masks, rows)
        return Prediction(
            masks=[packed[row] for row in rows],
            scores=matches.scores.tolist(),
            labels=Labels(names, tuple(matches.phrase_scores.tolist())),
            kind=KIND,
            vectors=class_vectors[likely[rows]],
            notes=missing_phrase_notes(vocabulary, names),
        )

    def regions(self, vocabulary: Vocabulary) -> tuple[ImageRegions, Float[Tensor, "q k1"]]:
        """Return the object queries, and their logits of the classes, the background last."""
        return self.object_queries(), self._classified(vocabulary)[1]

    def label(self, mask_logits: Float[Tensor, "n h4 w4"]) -> Labels:
        """Label each mask with the class of the object query that overlaps it most."""
        vocabulary = self.runtime.vocabulary()
        regions, class_logits = self.regions(vocabulary)
        height, width = self.decoder.frame.input_hw
        rows, columns = -(-height // 4), -(-width // 4)  # without padding, rounded up
        categories = categories_from_queries(
            mask_logits[:, :rows, :columns], regions.mask_logits[:, :rows, :columns], class_logits
        )
        return labels_of(vocabulary, categories)

    @property
    def likeness_scorer(self) -> None:
        """The published models answer every reference."""
        return None

    @property
    def presence_scorer(self) -> None:
        """None: object queries cannot tell whether a phrase is in the image at all."""
        return None

    def object_queries(self) -> ImageRegions:
        """Return all object queries with their masks, computed at most once per image."""
        vectors = self._class_vectors()
        with self._lock:
            if self._regions is None:
                every = torch.arange(len(vectors), device=vectors.device)
                self._regions = ImageRegions(vectors, self._compute_masks(every))
            return self._regions

    def _classified(
        self, vocabulary: Vocabulary
    ) -> tuple[Float[Tensor, "q d"], Float[Tensor, "q k1"]]:
        """Return the class vectors of the object queries, and their logits of the classes, the background last."""
        vectors = self._class_vectors()
        return vectors, self.runtime.class_logits(vectors, self.runtime.classifier(vocabulary))

    def _class_vectors(self) -> Float[Tensor, "q d"]:
        """Run the object queries, at most once per image; returns their class vectors."""
        network = self.runtime.network
        with self._lock:
            if self._regions is not None:
                return self._regions.class_vectors
            if self._queries is None:
                with arithmetic(self.runtime.device, self.runtime.precision):
                    kinds = network.decoder.policy.region_kinds
                    output = network.decode(self.decoder.encoding, DecoderQuery(), kinds)
                self._queries = output.regions
            return self._queries.class_vectors[0].float()

    def _mask_logits(self, queries: Int[Tensor, " n"]) -> Float[Tensor, "n h w"]:
        """Return the masks of some queries, from those of all where they have been computed."""
        with self._lock:
            if self._regions is not None:
                return self._regions.mask_logits[queries]
            return self._compute_masks(queries)

    def _compute_masks(self, queries: Int[Tensor, " n"]) -> Float[Tensor, "n h w"]:
        assert self._queries is not None
        embeddings = self._queries.mask_embeddings[:, queries]
        with arithmetic(self.runtime.device, self.runtime.precision):
            return self.decoder.encoding.pixels.mask_features.logits(embeddings)[0].float()

    def _rival_embeddings(self, vocabulary: Vocabulary, against: Classes) -> Float[Tensor, "r d"]:
        """Return the embeddings of the names that compete with the phrases of `find`."""
        phrases = self.runtime.classifier(vocabulary)[:-1]
        if against is None:
            names = self.runtime.vocabulary()
            embeddings = self.runtime.classifier(names)[:-1]
            return embeddings[rival_names(vocabulary.phrases, phrases, names.phrases, embeddings)]
        if is_empty_list(against):
            return phrases[:0]
        names = Vocabulary.coerce(against)
        is_phrase = np.isin(_casefolded(names.phrases), _casefolded(vocabulary.phrases))
        return self.runtime.classifier(names)[np.flatnonzero(~is_phrase)]

    def _pack_each(
        self, masks: Float[Tensor, "q hi wi"], queries: list[int]
    ) -> dict[int, PackedMask]:
        """Resize the masks of queries (network input size) to the image, one at a time."""
        packed = {}
        for query in dict.fromkeys(queries):
            packed[query] = self.decoder.pack(
                to_output_size(masks[query][None], self.decoder.frame)[0]
            )
        return packed


def _casefolded(phrases: Sequence[str]) -> list[str]:
    return [phrase.casefold() for phrase in phrases]
