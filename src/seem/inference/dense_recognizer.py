"""Recognition by the text embedding map and the mask refiner: nano.

The text map tells which classes an image shows; each of those is then asked for as a phrase, and the connected
components of its mask are the objects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prediction import (
    ImageRegions,
    Prediction,
    labels_of,
    missing_phrase_notes,
    names_of_classes,
    panoptic_prediction,
    semantic_prediction,
)
from seem.inference.presence import (
    SAME_CLASS_COSINE,
    SYNONYM_COSINE,
    name_likelihoods,
    presence_and_limit,
    presence_scores,
    region_presence_scores,
)
from seem.inference.prompt_decoder import PromptDecoder
from seem.inference.region_proposals import masked_text_vectors, propose_regions
from seem.mask_codec import PackedMask
from seem.models.decoder.draws import FairDraws
from seem.models.precision import arithmetic
from seem.models.segmenter import unit_vectors
from seem.models.text_embedding_head import TEXT_MAP_STRIDE
from seem.prompts import Text
from seem.results import Labels
from seem.tasks.components import (
    MIN_OBJECT_COMPONENT_RATIO,
    clean_mask,
    clean_segment_map,
    connected_components,
)
from seem.tasks.find import SAME_OBJECT_IOU
from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import distinct_masks
from seem.tasks.labels import categories_from_text_map
from seem.tasks.panoptic import PHRASE_OVERLAP_THRESHOLD, ConfidentQueries, merge_masks
from seem.tasks.postprocess import each_to_image_size, to_image_size, to_input_size
from seem.tasks.semantic import SemanticPrediction, classes_in_image, classify_by_text_map
from seem.vocabulary import Classes, Vocabulary, is_empty_list

MAX_CLASSES = 24  # of an image: so many are asked for as phrases
SHORTLIST = 160  # classes whose presence is scored: the 133 of COCO and the 150 of ADE20K whole
KIND_COMPONENTS = "phrases, connected components"
KIND_CELLS = "text map"
NO_CLASS_LOGIT = -1e4
ROUNDING = 1e-5  # by which a score may pass its limit
LIKENESS_SLOPE = 12.0  # of the score over the cosine, at the midpoint


@dataclass(frozen=True, slots=True, eq=False)
class ClassComponents:
    """Connected components of the masks of classes: the class index, mask logits (stride 4) and score (0-1) of each."""

    classes: list[int]
    mask_logits: Float[Tensor, "n h w"]
    scores: Float[Tensor, " n"]

    def take(self, rows: Sequence[int]) -> ClassComponents:
        """Return some of the components, in the order of `rows`."""
        classes = [self.classes[row] for row in rows]
        return ClassComponents(classes, self.mask_logits[rows], self.scores[rows])

    def take_above(self, threshold: float) -> ClassComponents:
        """Return the components that score `threshold` or more, best first."""
        by_score = self.scores.argsort(descending=True, stable=True)
        return self.take(by_score[self.scores[by_score] >= threshold].tolist())


class DenseRecognizer:
    """Reads the text embedding map of one image, and asks the prompt decoder for classes. Implements `Recognizer`."""

    def __init__(self, decoder: PromptDecoder) -> None:
        self.decoder = decoder
        self.runtime = decoder.runtime
        self._proposals: ImageRegions | None = None
        self._lock = threading.Lock()

    # --- Classes -----------------------------------------------------------------------------------------------------

    def panoptic(self, vocabulary: Vocabulary, threshold: float) -> Prediction:
        """Ask for each class that is present, and merge its components (things) or its mask (stuff)."""
        components = self.components(vocabulary, threshold)
        classes = torch.tensor(components.classes, dtype=torch.long)
        ranked = ConfidentQueries(torch.arange(len(classes)), components.scores, classes)
        masks = each_to_image_size(components.mask_logits, self.decoder.frame)
        is_thing = torch.tensor(vocabulary.is_thing)
        merged = merge_masks(
            ranked, masks, self.decoder.image.hw, is_thing, PHRASE_OVERLAP_THRESHOLD
        )
        segment_ids = [segment.id for segment in merged.segments]
        ids = clean_segment_map(merged.ids.cpu().numpy(), segment_ids)
        categories = [segment.category for segment in merged.segments]
        vectors = self.runtime.classifier(vocabulary)[categories]
        return panoptic_prediction(ids, merged.segments, vocabulary, KIND_COMPONENTS, vectors)

    def instances(
        self, vocabulary: Vocabulary, threshold: float, top: int, nms_threshold: float | None
    ) -> Prediction:
        """Ask for the things that are present; the components of their masks are the instances.

        `nms_threshold` None = `SAME_OBJECT_IOU`.
        """
        components = self.components(vocabulary, threshold, things_only=True)
        max_iou = SAME_OBJECT_IOU if nms_threshold is None else nms_threshold
        rows = distinct_masks(components.mask_logits > 0, max_iou)[:top]
        return self._components_prediction(vocabulary, components.take(rows))

    def semantic(self, vocabulary: Vocabulary) -> Prediction:
        """Compare every cell with the names of the classes that the image shows, or with the likeliest name alone.

        A model that was fine-tuned tells its classes apart cell by cell: then all names are compared. Scores are the
        share of all names, times how surely the class is in the image.
        """
        text_map = self._text_map()
        cells = text_map[0].float()
        classifier = self.runtime.classifier(vocabulary)
        logits_of_cells = self.runtime.class_logits(cells.flatten(1).T, classifier)
        logits = torch.unflatten(logits_of_cells.T, 1, cells.shape[1:])
        if self._is_fine_tuned:
            best = classify_by_text_map(logits, self.decoder.frame, vocabulary.background)
            return semantic_prediction(best, vocabulary, classifier, KIND_CELLS)
        rows, columns = self._cells_hw()
        presence, _ = self._class_presence(vocabulary)
        present, is_certain = classes_in_image(logits[:-1, :rows, :columns], presence)
        best = self._nearest_present(logits, present, presence, vocabulary)
        prediction = semantic_prediction(best, vocabulary, classifier, KIND_CELLS)
        if is_certain:
            return prediction
        note = f"{self.runtime.name} is sure of none of the classes; it names the likeliest alone"
        return replace(prediction, notes=(note,))

    def _nearest_present(
        self,
        logits: Float[Tensor, "k1 h w"],
        present: Int[Tensor, " m"],
        presence: Float[Tensor, " k"],
        vocabulary: Vocabulary,
    ) -> SemanticPrediction:
        """Choose among the present classes and the background, and score by the share of all names."""
        background = present.new_tensor([len(vocabulary)])
        classes = torch.cat((present, background))
        named = logits[classes]
        nearest = classify_by_text_map(named, self.decoder.frame, vocabulary.background)
        if not vocabulary.background:
            named, logits = named[:-1], logits[:-1]
        share = (named.logsumexp(dim=0) - logits.logsumexp(dim=0)).exp()
        share_of_pixels = to_image_size(share[None], self.decoder.frame)[0]
        presence_of_classes = torch.cat((presence, presence.new_ones(1)))[classes]
        scores = nearest.scores * share_of_pixels * presence_of_classes[nearest.classes]
        return SemanticPrediction(classes[nearest.classes], scores)

    def find(self, vocabulary: Vocabulary, threshold: float, against: Classes) -> Prediction:
        """Ask for each phrase that is present, and split its mask into components.

        The largest component of a phrase that is present stays whatever its score.
        """
        vectors = self._class_vectors(vocabulary)
        presence = self.presence(vectors, against)
        by_presence = presence.argsort(descending=True, stable=True)
        present = by_presence[presence[by_presence] >= threshold].tolist()
        components = self._locate(vocabulary, present, vectors, against)
        keep = components.scores >= threshold
        for phrase in present:
            if phrase in components.classes:
                keep[components.classes.index(phrase)] = True
        by_score = components.scores.argsort(descending=True, stable=True)
        components = components.take(by_score[keep[by_score]].tolist())
        rows = distinct_masks(components.mask_logits > 0, SAME_OBJECT_IOU)
        prediction = self._components_prediction(vocabulary, components.take(rows))
        assert isinstance(prediction.labels, Labels)
        others = sorted(set(range(len(components.classes))) - set(rows))
        suppressed = names_of_classes(vocabulary, components.take(others).classes)
        notes = missing_phrase_notes(vocabulary, prediction.labels.names, suppressed)
        return replace(prediction, notes=notes)

    def _components_prediction(
        self, vocabulary: Vocabulary, components: ClassComponents
    ) -> Prediction:
        """Bring components to the image; one of a few cells may vanish among its pixels."""
        masks, rows = [], []
        for row, logits in enumerate(components.mask_logits):
            mask = self._pack_tidy(logits)
            if mask.area:
                masks.append(mask)
                rows.append(row)
        components = components.take(rows)
        names = names_of_classes(vocabulary, components.classes)
        scores = components.scores.tolist()
        vectors = None
        if components.classes:
            vectors = self.runtime.classifier(vocabulary)[components.classes]
        return Prediction(masks, scores, Labels(names, tuple(scores)), KIND_COMPONENTS, vectors)

    # --- Regions and labels ------------------------------------------------------------------------------------------

    def regions(self, vocabulary: Vocabulary) -> tuple[ImageRegions, Float[Tensor, "q k1"]]:
        """Return the answers to clicks on a grid, and their class logits; none of them is background."""
        regions = self._region_proposals()
        logits = self.runtime.class_logits(
            regions.class_vectors, self.runtime.classifier(vocabulary)
        )
        logits[:, -1] = NO_CLASS_LOGIT
        return regions, logits

    def label(self, mask_logits: Float[Tensor, "n h4 w4"]) -> Labels:
        """Label each mask by its mean text vector."""
        vocabulary = self.runtime.vocabulary()
        classifier = self.runtime.classifier(vocabulary)
        with torch.no_grad():
            vectors = masked_text_vectors(self.decoder.encoding, mask_logits)
        return labels_of(
            vocabulary, categories_from_text_map(self.runtime.class_logits(vectors, classifier))
        )

    def _region_proposals(self) -> ImageRegions:
        with self._lock:
            if self._proposals is None:
                network, frame = self.runtime.network, self.decoder.frame
                with arithmetic(self.runtime.device, self.runtime.precision):
                    self._proposals = propose_regions(
                        network, self.decoder.encoding, frame.input_hw, FairDraws()
                    )
            return self._proposals

    # --- Presence ----------------------------------------------------------------------------------------------------

    @property
    def likeness_scorer(self) -> Callable[[Tensor, Tensor], float]:
        """`likeness` of a mask and the text vector of a reference."""
        return self.likeness

    def likeness(self, mask_logits: Float[Tensor, "h w"], reference: Float[Tensor, " d"]) -> float:
        """Score how surely a mask (padded frame, any stride) shows what a reference's text vector shows, 0-1.

        The cosine of the mean text vectors inside the mask and inside the reference; an empty mask shows nothing.
        """
        with torch.no_grad():
            vector = masked_text_vectors(self.decoder.encoding, mask_logits[None])[0]
            cosine = F.cosine_similarity(vector, reference.float(), dim=0)
        midpoint = self.runtime.network.config.likeness_midpoint
        return float(torch.sigmoid(LIKENESS_SLOPE * (cosine - midpoint)))

    @property
    def presence_scorer(self) -> Callable[[Tensor], Tensor]:
        """`presence` of text vectors (N, D) of any length, against the model's own names or COCO's."""
        return lambda vectors: self.presence(unit_vectors(vectors.float()))

    def presence(
        self,
        vectors: Float[Tensor, "n d"],
        against: Classes = None,
        among: Vocabulary | None = None,
        regions: Bool[Tensor, "n h2 w2"] | None = None,
    ) -> Float[Tensor, " n"]:
        """Score how surely the image, or a region each, shows what normalised text vectors mean (0-1).

        Args:
            vectors: of length 1; zeros are nothing.
            against: names that compete; None = the model's own or else COCO's, [] = the background alone.
            among: the vocabulary that the vectors are classes of, all of whose names compete too.
            regions: one for each vector (padded frame, any stride).
        """
        cells = self._image_cells()
        names = self._competing_names(against, among)
        scale, midpoint, synonym_cosine = self._presence_rule()
        with torch.no_grad():
            if regions is None:
                return presence_scores(cells, vectors, names, scale, midpoint, synonym_cosine)
            rows, columns = self._cells_hw()
            map_hw = (self._text_map().shape[-2], self._text_map().shape[-1])
            shares = F.adaptive_avg_pool2d(regions.float(), map_hw)[:, :rows, :columns]
            return region_presence_scores(
                cells, vectors, names, scale, midpoint, shares, synonym_cosine
            )

    def _presence_rule(self) -> tuple[float, float, float]:
        """Return temperature, midpoint and the cosine of synonyms, as presence is scored with this model."""
        network = self.runtime.network
        scale = float(network.text.logit_scale.detach().exp())
        synonym_cosine = SAME_CLASS_COSINE if self._is_fine_tuned else SYNONYM_COSINE
        return scale, network.config.presence_midpoint, synonym_cosine

    def _competing_names(self, against: Classes, among: Vocabulary | None) -> Float[Tensor, "k d"]:
        """Return the embeddings of the names that compete for the cells; the background always does."""
        only_background = is_empty_list(against)
        own_names = against is None or only_background
        vocabulary = self.runtime.vocabulary() if own_names else Vocabulary.coerce(against)
        names = self.runtime.classifier(vocabulary)
        if only_background:
            names = names[-1:]
        if among is None:
            return names
        is_new = ~np.isin(among.phrases, vocabulary.phrases)
        further = self.runtime.classifier(among)[np.flatnonzero(is_new)]
        return torch.cat((names, further))

    def _class_presence(
        self, vocabulary: Vocabulary
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Score how surely each class is in the image, and limit what a component of its mask can score.

        Both are 0 for all but the likeliest `SHORTLIST`, to bound time.
        """
        vectors = self._class_vectors(vocabulary)
        shortlist = self._shortlist(vectors)
        presence, limit = vectors.new_zeros(2, len(vocabulary))
        names = self._competing_names(None, vocabulary)
        with torch.no_grad():
            presence[shortlist], limit[shortlist] = presence_and_limit(
                self._image_cells(), vectors[shortlist], names, *self._presence_rule()
            )
        return presence, limit

    def _shortlist(self, vectors: Float[Tensor, "k d"]) -> Int[Tensor, " m"]:
        """Return the rows of the classes that the cells are likeliest to show."""
        if len(vectors) <= SHORTLIST:
            return torch.arange(len(vectors), device=vectors.device)
        scale, _, _ = self._presence_rule()
        with torch.no_grad():
            return name_likelihoods(self._image_cells(), vectors, scale).topk(SHORTLIST).indices

    # --- Components --------------------------------------------------------------------------------------------------

    def components(
        self, vocabulary: Vocabulary, threshold: float, *, things_only: bool = False
    ) -> ClassComponents:
        """Ask for the classes that are present; best first, those that score `threshold` or more.

        Score = how surely the class is in the image, times how surely the component's own cells show it, times its mean
        mask probability. Stuff is one component wherever it is.
        """
        presence, limit = self._class_presence(vocabulary)
        if things_only:
            is_thing = torch.tensor(vocabulary.is_thing, device=presence.device)
            presence = presence.masked_fill(~is_thing, -1)
        likeliest = presence.topk(min(MAX_CLASSES, len(presence))).indices
        highest = presence * (limit + ROUNDING)
        present = likeliest[highest[likeliest] >= threshold].tolist()
        components = self._locate(
            vocabulary, present, self._class_vectors(vocabulary), among=vocabulary
        )
        scores = presence[components.classes] * components.scores
        components = replace(components, scores=scores).take_above(threshold)
        probabilities = components.scores.new_ones(len(components.classes))
        for row, logits in enumerate(components.mask_logits):
            mask = to_input_size(logits[None], self.decoder.frame)[0]
            probabilities[row] = foreground_probability(mask)
        scores = components.scores * probabilities
        return replace(components, scores=scores).take_above(threshold)

    def _locate(
        self,
        vocabulary: Vocabulary,
        classes: Sequence[int],
        vectors: Float[Tensor, "k d"],
        against: Classes = None,
        among: Vocabulary | None = None,
    ) -> ClassComponents:
        """Ask for classes of a vocabulary as phrases; a component scores how surely its own cells show the class."""
        objects = [ObjectPrompts.of([Text(vocabulary[index].phrase)]) for index in classes]
        located: list[int] = []
        parts: list[Tensor] = []
        for index, answers in zip(classes, self.decoder.answer(objects), strict=True):
            logits = answers[0].logits
            components = [logits]
            if vocabulary[index].is_thing:
                components = split_components(logits)
            located += [index] * len(components)
            parts += components
        mask_logits = torch.stack(parts) if parts else vectors.new_zeros(0, 1, 1)
        scores = self.presence(vectors[located], against, among, regions=mask_logits > 0)
        return ClassComponents(located, mask_logits, scores)

    def _pack_tidy(self, logits: Float[Tensor, "h w"]) -> PackedMask:
        """Bring a component to the image, without tiny parts and holes."""
        inside = to_image_size(logits[None], self.decoder.frame)[0] > 0
        return PackedMask.pack(clean_mask(inside.cpu().numpy()), self.decoder.image.hw)

    # --- Small parts -------------------------------------------------------------------------------------------------

    @property
    def _is_fine_tuned(self) -> bool:
        return self.runtime.classes is not None

    def _text_map(self) -> Float[Tensor, "1 d h4 w4"]:
        text_map = self.decoder.encoding.text_map
        assert text_map is not None
        return text_map

    def _image_cells(self) -> Float[Tensor, "d h w"]:
        """Return the text map without the padding of the image."""
        rows, columns = self._cells_hw()
        return self._text_map()[0, :, :rows, :columns]

    def _cells_hw(self) -> tuple[int, int]:
        """Return the rows and columns of the text map that show the image, without padding."""
        height, width = self.decoder.frame.input_hw
        return -(-height // TEXT_MAP_STRIDE), -(-width // TEXT_MAP_STRIDE)

    def _class_vectors(self, vocabulary: Vocabulary) -> Float[Tensor, "k d"]:
        """Return the embeddings of the classes, without the background."""
        return self.runtime.classifier(vocabulary)[: len(vocabulary)]


def split_components(logits: Float[Tensor, "h w"]) -> list[Float[Tensor, "h w"]]:
    """Split the mask of a phrase into its connected components, largest first: mask logits each.

    Components that are small beside the largest are left out. Things of one kind that touch stay one: the parts of a
    close-up look much like several things.
    """
    inside = logits > 0
    components = []
    for part in connected_components(inside.cpu().numpy(), min_ratio=MIN_OBJECT_COMPONENT_RATIO):
        component = torch.from_numpy(part).to(logits.device)
        # Pixels of other components get the opposite logit; what is outside of all says how the edge runs.
        components.append(torch.where(component | ~inside, logits, -logits))
    return components
