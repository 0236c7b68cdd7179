"""Answers about one encoded image: objects from their prompts, step by step, and what it holds without prompts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prediction import Prediction, clamped_scores, empty_prediction
from seem.inference.prompt_decoder import NO_REFERENCES, PromptDecoder
from seem.inference.recognizer import Recognizer, recognizer_for
from seem.inference.zoom import ZoomRefiner, to_previous_mask
from seem.models.decoder.draws import FairDraws
from seem.models.precision import arithmetic
from seem.prompts import Mask, Prompt, Reference, VisualPrompt
from seem.results import Labels
from seem.results.notes import ignored_phrase_note, quoted
from seem.tasks.caption import write_caption
from seem.tasks.interactive import ObjectAnswer, distinct_answers, to_stride4
from seem.tasks.postprocess import each_to_image_size
from seem.tasks.reference import ReferenceFeatures, encode_region
from seem.tasks.retrieval import fit_scores, image_vectors

QUERIES_PER_CANDIDATE = 4  # queries read for every candidate asked for; some have the same mask


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How objects are segmented.

    `text_threshold` is the score (0-1) below which an object without visual prompts is not in the image. With several
    `candidates` there is one object, and its alternatives are the rows. `zoom` refines small answers (`ZoomRefiner`).
    """

    text_threshold: float
    candidates: int = 1
    zoom: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PreparedObjects:
    """What the decoder is asked: prompts without those that have no effect, references by index, and notes."""

    prompts: Sequence[ObjectPrompts]
    references: Mapping[int, ReferenceFeatures]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SelectedAnswer:
    """An answer that becomes a row of the result, and the index of its object."""

    index: int
    prompts: ObjectPrompts
    answer: ObjectAnswer


@dataclass(slots=True, eq=False)
class Predictor:
    """One encoded image with its recognizer and its zoom-in refiner. Safe to use from several threads."""

    decoder: PromptDecoder
    recognizer: Recognizer = field(init=False)
    _zoom: ZoomRefiner = field(init=False)

    def __post_init__(self) -> None:
        self.recognizer = recognizer_for(self.decoder)
        self._zoom = ZoomRefiner(self.decoder)

    # --- Objects from prompts ----------------------------------------------------------------------------------------

    def segment(
        self,
        objects: Sequence[ObjectPrompts],
        options: SegmentOptions,
        references: Mapping[int, ReferenceFeatures] = NO_REFERENCES,
        previous: Float[Tensor, "1 n h w"] | None = None,
    ) -> Prediction:
        """Segment objects; rows come in their order, with ids from 1 on, and notes say what was left out.

        `references` are by object index. `previous` are the mask logits of the previous round (one object).
        """
        prepared = self._prepare(objects, references, options)
        answers = self._decode(prepared, previous, options)
        selected = self._select(prepared, answers, options)
        notes = [*prepared.notes, *self._missing_notes(objects, selected, answers, options)]
        if not selected:
            kind = objects[0].answering_rule(self.decoder.runtime.network.decoder.policy)
            return empty_prediction(kind, tuple(notes))
        zoomed = {}
        if options.zoom:
            zoomed = self._refine(prepared, selected)
            notes += zoom_notes(selected, zoomed)
        return self._to_prediction(selected, zoomed, options, tuple(notes))

    def _prepare(
        self,
        objects: Sequence[ObjectPrompts],
        references: Mapping[int, ReferenceFeatures],
        options: SegmentOptions,
    ) -> PreparedObjects:
        """Drop prompts that have no effect: references, and phrases for what the image does not show, beside marks."""
        runtime = self.decoder.runtime
        prompts, drops_reference = [], False
        for given in objects:
            supported = given.without_unsupported_reference(runtime.network.kind)
            drops_reference |= supported is not given
            prompts.append(supported)
        notes = list(self._cut_phrase_notes(objects))
        for index in self._absent_phrases(prompts, options.text_threshold):
            notes.append(ignored_phrase_note(str(prompts[index].label)))
            prompts[index] = ObjectPrompts.of(prompts[index].visual)
        if drops_reference:
            notes.append(
                f"{runtime.name} uses no reference beside visual prompts (points, boxes, strokes, masks)"
            )
        return PreparedObjects(prompts, references, tuple(notes))

    def _absent_phrases(self, objects: Sequence[ObjectPrompts], threshold: float) -> list[int]:
        """Return the indices of objects whose phrases, beside positive marks, are not in the image.

        Such phrases lead the mask away from its marks. Models that cannot tell return none.
        """
        candidates = {}
        for index, prompts in enumerate(objects):
            if prompts.has_phrase_beside_mark:
                candidates[index] = prompts
        score_presence = self.recognizer.presence_scorer
        if not candidates or score_presence is None:
            return []
        text_vectors = self.decoder.text_vectors(list(candidates.values()))
        is_absent = score_presence(text_vectors) < threshold
        return list(itertools.compress(candidates, is_absent.tolist()))

    def _cut_phrase_notes(self, objects: Sequence[ObjectPrompts]) -> Iterator[str]:
        """Say which phrases are longer than the text encoder can hold."""
        phrases = itertools.chain.from_iterable(prompts.phrases for prompts in objects)
        for phrase in dict.fromkeys(phrases):
            # may be a download: only when there is a phrase
            tokenizer = self.decoder.runtime.tokenizer
            if tokenizer.is_too_long(phrase):
                yield f"{quoted(phrase)} is cut after {tokenizer.context} tokens"

    def _decode(
        self,
        prepared: PreparedObjects,
        previous: Float[Tensor, "1 n h w"] | None,
        options: SegmentOptions,
    ) -> list[list[ObjectAnswer]]:
        """Run the decoder passes; those of phrases and references tell whether the object is there at all.

        By presence and by likeness, where a model can tell.
        """
        top = 1
        if options.candidates > 1:
            top = QUERIES_PER_CANDIDATE * options.candidates
        answers = self.decoder.answer(prepared.prompts, prepared.references, previous, top)
        scored = []
        for prompts, object_answers in zip(prepared.prompts, answers, strict=True):
            vector = object_answers[0].text_vector
            if prompts.visual or vector is None:
                scored.append(object_answers)
            elif prompts.text:
                scored.append(self._scored_by_presence(object_answers, vector))
            else:
                scored.append(self._scored_by_likeness(object_answers, vector))
        return scored

    def _scored_by_presence(
        self, answers: list[ObjectAnswer], vector: Float[Tensor, " d"]
    ) -> list[ObjectAnswer]:
        score_presence = self.recognizer.presence_scorer
        if score_presence is None:
            return answers
        with arithmetic(self.decoder.runtime.device, self.decoder.runtime.precision):
            presence = float(score_presence(vector[None])[0])
        return [replace(answer, score=presence) for answer in answers]

    def _scored_by_likeness(
        self, answers: list[ObjectAnswer], vector: Float[Tensor, " d"]
    ) -> list[ObjectAnswer]:
        score_likeness = self.recognizer.likeness_scorer
        if score_likeness is None:
            return answers
        return [replace(answer, score=score_likeness(answer.logits, vector)) for answer in answers]

    def _select(
        self,
        prepared: PreparedObjects,
        answers: Sequence[Sequence[ObjectAnswer]],
        options: SegmentOptions,
    ) -> list[SelectedAnswer]:
        """Keep distinct candidates, and of objects without visual prompts those that are in the image."""
        selected = []
        for index, (prompts, object_answers) in enumerate(
            zip(prepared.prompts, answers, strict=True)
        ):
            for answer in distinct_answers(object_answers, options.candidates):
                is_present = answer.score >= options.text_threshold and not answer.is_empty
                if prompts.visual or is_present:
                    selected.append(SelectedAnswer(index, prompts, answer))
        return selected

    def _missing_notes(
        self,
        objects: Sequence[ObjectPrompts],
        selected: Sequence[SelectedAnswer],
        answers: Sequence[Sequence[ObjectAnswer]],
        options: SegmentOptions,
    ) -> Iterator[str]:
        """Say which objects have no row, and where a model has no further candidates."""
        present = {each.index for each in selected}
        for index, prompts in enumerate(objects):
            if index in present:
                continue
            subject = "what the reference shows"
            if prompts.label is not None:
                subject = quoted(prompts.label)
            if len(objects) > 1:
                subject = f"object {index + 1}, {subject},"
            yield f"{subject} was not found"
        if options.candidates > 1 and len(answers[0]) == 1:
            yield f"{self.decoder.runtime.name} gives one mask an object: there are no further candidates"

    def _refine(
        self, prepared: PreparedObjects, selected: Sequence[SelectedAnswer]
    ) -> dict[int, ObjectAnswer]:
        """Zoom in on the answers that are small in the image: refined answers by row, logits at image size."""
        refined = {}
        for row, each in enumerate(selected):
            answer = self._zoom.refine(
                each.prompts, prepared.references.get(each.index), each.answer
            )
            if answer is not None:
                refined[row] = answer
        return refined

    def _to_prediction(
        self,
        selected: Sequence[SelectedAnswer],
        zoomed: Mapping[int, ObjectAnswer],
        options: SegmentOptions,
        notes: tuple[str, ...],
    ) -> Prediction:
        """Bring the answers to the image."""
        frame = self.decoder.frame
        logits = torch.stack([each.answer.logits for each in selected]).float()
        masks = [self.decoder.pack(resized) for resized in each_to_image_size(logits, frame)]
        small = to_stride4(logits, frame.padded_hw)
        scores = [each.answer.score for each in selected]
        for row, answer in zoomed.items():
            masks[row] = self.decoder.pack(answer.logits)
            small[row] = to_previous_mask(answer.logits, frame.input_hw, frame.padded_hw)
            scores[row] = answer.score
        scores = clamped_scores(scores)
        kinds = dict.fromkeys(each.answer.kind for each in selected)
        ids = None
        if options.candidates == 1:
            ids = tuple(each.index + 1 for each in selected)
        return Prediction(
            masks,
            scores,
            labels=self._labels([each.prompts.label for each in selected], scores, small),
            kind=", ".join(kinds),
            vectors=torch.stack([each.answer.vector for each in selected]),
            logits=small,
            notes=notes,
            ids=ids,
        )

    def _labels(
        self, names: list[str | None], scores: list[float], small: Float[Tensor, "n h4 w4"]
    ) -> Labels | Callable[[], Labels]:
        """Label rows by their phrases; those without are recognized when somebody reads the labels."""
        labels = Labels.if_complete(names, scores)
        if labels is not None:
            return labels
        return lambda: self.recognizer.label(small).overridden_by(names, scores)

    # --- References --------------------------------------------------------------------------------------------------

    def reference_features(self, reference: Reference) -> ReferenceFeatures:
        """Encode the region of this image that a reference to it marks."""
        region = self._reference_region(reference)
        runtime = self.decoder.runtime
        return encode_region(runtime.network, self.decoder.encoding, region, FairDraws())

    def _reference_region(self, reference: Reference) -> Bool[Tensor, "1 1 h w"]:
        """Rasterise the region that a reference marks, at the network's padded resolution."""
        frame = replace(self.decoder.raster_frame, polygon_rule="filled")
        region = np.zeros(self.decoder.frame.padded_hw, dtype=np.bool_)
        height, width = frame.network_hw
        inside = region[:height, :width]
        excluded = np.zeros_like(inside)
        for mark in self._region_marks(reference):
            if isinstance(mark, VisualPrompt):
                target = inside if mark.positive else excluded
                target |= mark.rasterize(frame)
        inside &= ~excluded
        if not region.any():
            raise ValueError("its prompts mark no pixel there; mark a region with a Box or a Mask.")
        return torch.from_numpy(region)[None, None].to(self.decoder.runtime.device)

    def _region_marks(self, reference: Reference) -> Sequence[Prompt]:
        """Return the marks of the region; with points or phrases among the prompts it is segmented first."""
        if reference.marks_region:
            return reference.prompts
        objects = [ObjectPrompts.of(reference.prompts)]
        self.decoder.check(objects)
        options = SegmentOptions(text_threshold=0.0)  # the user says that it is there
        masks = self.segment(objects, options).masks
        return [Mask(mask.decode()) for mask in masks if mask.area]

    # --- The full image in words -------------------------------------------------------------------------------------

    def write_caption(self, begin: int, end: int, region: VisualPrompt | None = None) -> list[int]:
        """Write a caption of the image, or of the region that a visual prompt marks: its token ids."""
        runtime, hidden = self.decoder.runtime, None
        if region is not None:
            outside = np.ones(self.decoder.frame.padded_hw, dtype=np.bool_)
            height, width = self.decoder.raster_frame.network_hw
            outside[:height, :width] = ~region.rasterize(self.decoder.raster_frame)
            hidden = torch.from_numpy(outside)[None].to(runtime.device)
        with arithmetic(runtime.device, runtime.precision):
            return write_caption(runtime.network, self.decoder.encoding, begin, end, hidden)

    def phrase_similarity(self, phrases: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Score the full image against every phrase vector: by cosine (-1 to 1), or by presence (0 to 1)."""
        runtime = self.decoder.runtime
        score_presence = self.recognizer.presence_scorer
        if score_presence is not None:
            return score_presence(phrases)
        with arithmetic(runtime.device, runtime.precision):
            return fit_scores(image_vectors(runtime.network, self.decoder.encoding), phrases)[0]


def zoom_notes(selected: Sequence[SelectedAnswer], zoomed: Mapping[int, ObjectAnswer]) -> list[str]:
    """Say which objects were not refined by zooming in."""
    refined = {selected[row].index for row in zoomed}
    others: dict[int, None] = {}
    for each in selected:
        if each.index not in refined:
            others[each.index + 1] = None
    if not others:
        return []
    which = f" of object {', '.join(map(str, others))}" if refined else ""
    return [
        f"no zoom-in refinement{which}: there is no visual prompt, the mask is empty, or the object is large"
    ]
