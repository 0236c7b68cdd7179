"""An image that a model has encoded: the questions that can be asked about it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seem.argument_types import explains_arguments, takes_options
from seem.checkpoints.encoded_image import (
    EncodedImageFile,
    move_encoding,
    write_encoded_image,
)
from seem.deprecation import Renamed, renamed_arguments, renamed_attributes
from seem.errors import short_reason
from seem.images import MAX_PIXELS, ImageLike, InputImage
from seem.inference.everything import segment_everything
from seem.inference.object_prompts import (
    ObjectPrompts,
    check_object_lists,
    check_writes_captions,
    checked_count,
    checked_probability,
    is_outline,
)
from seem.inference.prediction import (
    Prediction,
    clamped_scores,
    empty_prediction,
    explain_absence,
)
from seem.inference.predictor import Predictor, SegmentOptions
from seem.inference.prompt_decoder import PromptDecoder, encode_for_prompts
from seem.inference.recognizer import find_threshold
from seem.inference.runtime import Runtime
from seem.models.decoder.decoder import ImageEncoding
from seem.models.segmenter import unit_vectors
from seem.models.structures import ImageBatch
from seem.preprocess import network_size
from seem.prompts import EncodedImageLike, Prompt, Reference, Text, VisualPrompt, rasterization_rule
from seem.results import Provenance, Results
from seem.session import Session
from seem.tasks.boxes import Boxes, read_boxes, with_detections
from seem.tasks.caption import first_sentence
from seem.tasks.everything import EverythingOptions
from seem.tasks.reference import ReferenceFeatures
from seem.vocabulary import Classes, Vocabulary

Refine: TypeAlias = Literal["zoom"]
"""How answers to visual prompts are refined: "zoom" encodes the square around a small object and answers again."""

_ZOOM_INSTEAD_OF_SECOND_LOOK = Renamed("refine", lambda on: "zoom" if on else None)


def _renamed_thresholds(*names: str) -> dict[str, Renamed]:
    """Return the new names of arguments that segment-anything spells with "thresh"."""
    return {f"{name}_thresh": Renamed(f"{name}_threshold") for name in names}


@explains_arguments
@renamed_attributes(
    {"picture": "image", "photo": "source", "images": "batch", "memory": "encoding"}
)
class EncodedImage:
    """An image that a model has encoded. `Model.encode` makes one; it owns all that was computed from its pixels.

    Safe to use from several threads.
    """

    def __init__(self, decoder: PromptDecoder) -> None:
        self._decoder = decoder
        self._predictor = Predictor(decoder)
        self._full_image: EncodedImage | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        height, width = self.hw
        return f"<EncodedImage {self.name or 'image'}, {width} x {height} pixels, by {self.model.name}>"

    @property
    def model(self) -> Runtime:
        """The model that encoded the image."""
        return self._decoder.runtime

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the image as shown, in pixels: the frame of prompts and masks."""
        return self._decoder.image.hw

    @property
    def name(self) -> str | None:
        """The image's file name, None where there is none."""
        return self._decoder.image.name

    @property
    def image(self) -> Image.Image:
        """The image as shown, RGB."""
        return self._decoder.image.rgb

    @property
    def source(self) -> InputImage:
        """The image with its file name, the EXIF orientation that was undone, and notes about reading it."""
        return self._decoder.image

    @property
    def batch(self) -> ImageBatch:
        """The image as the network saw it."""
        return self._decoder.batch

    @property
    def encoding(self) -> ImageEncoding:
        """The output of the image network."""
        return self._decoder.stored_encoding

    @property
    def encode_seconds(self) -> float:
        """Wall time of reading and encoding."""
        return self._decoder.encode_seconds

    @property
    def predictor(self) -> Predictor:
        """The image's decoder passes and recognizer, for code that works on tensors (training, evaluation)."""
        return self._predictor

    # --- Saving and moving -------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the image and its encoding to a `.safetensors` file for `Model.load_encoded`.

        Raises `ValueError` for another suffix, `FileExistsError` for a file that is there, `SeemError` where it cannot
        be written.
        """
        model = self.model
        content = EncodedImageFile(
            model.name, model.sha256, self.source, self.batch, self.encoding, self.encode_seconds
        )
        write_encoded_image(Path(path), content, overwrite)

    def to(self, device: str | torch.device) -> EncodedImage:
        """Return the image on another device: away from the model to make room, and back before it is asked again.

        Raises `ValueError` for a device that is not there.
        """
        try:
            target = torch.device(device)
            encoding = move_encoding(self.encoding, target)
            batch = self.batch.to(target)
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            raise ValueError(
                f"The image cannot go to {str(device)!r} ({short_reason(error)}); try 'cpu'."
            ) from None
        return EncodedImage(
            PromptDecoder(self.model, self.source, batch, encoding, self.encode_seconds)
        )

    # --- Every thing and every region --------------------------------------------------------------------------------

    def panoptic(self, classes: Classes = None, threshold: float | None = None) -> Results:
        """Segment every thing and stuff region; masks do not overlap.

        The published models read their object queries. nano scores by its text map which classes are present, then asks
        for each of the likeliest (24 at most) as for a phrase; the connected components of a thing's mask are its
        instances. Its score is a product: the class is in the image, the component's own cells show it, its mean mask
        probability.

        Args:
            classes: names, a `Vocabulary`, or "ade20k"; None = what the model was fine-tuned on, or else the 133 COCO
                panoptic categories.
            threshold: class score (0-1) that a region needs; None = the model's own (published: 0.8).
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        limit = checked_threshold(threshold, self.model.network.config.panoptic_threshold)
        prediction = self._predictor.recognizer.panoptic(vocabulary, limit)
        prediction = explain_absence(prediction, vocabulary, limit)
        return self._results("panoptic", prediction, vocabulary, time.perf_counter() - started)

    @renamed_arguments(**_renamed_thresholds("mask_nms"))
    def instances(
        self,
        classes: Classes = None,
        threshold: float | None = None,
        top: int = 100,
        *,
        mask_nms_threshold: float | None = None,
    ) -> Results:
        """Segment every countable thing, best first; masks may overlap.

        The published rule: the `top` pairs of query and class, scored by class score times mean mask probability
        (taken at network size here). nano answers as in `panoptic`, with things alone.

        Args:
            classes: as in `panoptic`.
            threshold: score (0-1) that an instance needs; None = the model's own (0.05, of nano 0.65).
            top: the largest number of instances.
            mask_nms_threshold: IoU above which a mask repeats a better one, whatever their names, and is dropped.
                None = the model's own: 1 (all stay, the published rule), of nano 0.5. Average precision is taken with
                1.
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        limit = checked_threshold(threshold, self.model.network.config.instance_threshold)
        top = checked_count(top, "top")
        if mask_nms_threshold is not None:
            mask_nms_threshold = checked_probability(mask_nms_threshold, "mask_nms_threshold")
        prediction = self._predictor.recognizer.instances(
            vocabulary, limit, top, mask_nms_threshold
        )
        prediction = explain_absence(prediction, vocabulary, limit)
        return self._results("instance", prediction, vocabulary, time.perf_counter() - started)

    def semantic(self, classes: Classes = None) -> Results:
        """Give every pixel a class; one mask for each class that is there. `classes` as in `panoptic`.

        With `Vocabulary.of(..., background=True)` a pixel may be none of the classes. `kind` of the result names the
        rule: "object queries" (published), or "text map" (nano). Unless it was fine-tuned,
        nano names only classes that the image surely shows, or else the likeliest one; their scores are the share of
        all names given, times how surely the class is in the image.
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        prediction = self._predictor.recognizer.semantic(vocabulary)
        return self._results("semantic", prediction, vocabulary, time.perf_counter() - started)

    def find(
        self,
        phrases: str | Sequence[str],
        threshold: float | None = None,
        *,
        against: Classes = None,
    ) -> Results:
        """Segment everything that a phrase, or one of several, fits; best first, each object once.

        The published models compare the class vector of every object query with the phrases, with "background" and with
        the names in `against`; a query gets the phrase that fits it best. Score = softmax probability of that phrase
        times mean mask probability, the published score of instances: `find("cat")` scores cats as `instances()` does.
        Of masks that overlap (IoU above 0.5) the better one stays. nano asks for each phrase that is in the image; the
        connected components of its mask are the objects, scored by how surely their own cells show it; things that
        touch are one.

        The published models' object queries know kinds, hardly attributes: "red car" finds cars. For the one that is
        meant, use `segment(Text("the red car"))`.

        Args:
            phrases: "red car", or several, ["cat", "dog"]; one that is repeated counts once.
            threshold: score (0-1) that an object needs; None = 0.5, where the phrase is likelier than all alternatives
                together, or what the model asks of a class in `panoptic` if that is less (demo 0.4); nano: what it asks
                of a phrase.
            against: names that an object may be instead, [] = none. None = COCO's names, except those of the same kind
                as a phrase: the one that is most like it and those that hold all of its words; nano: those with nearly
                the same embedding. A broad word needs a list: find("vehicle", against=["person", "dog", "tree"]).

        Raises `ValueError` for no phrase, an empty one, and names as in `panoptic`.
        """
        started = time.perf_counter()
        recognizer = self._predictor.recognizer
        limit = checked_threshold(threshold, find_threshold(self.model.network))
        vocabulary = Vocabulary.of(distinct_phrases(phrases), stuff=())
        prediction = recognizer.find(vocabulary, limit, against)
        prompts = tuple((Text(phrase),) for phrase in vocabulary.names)
        return self._results("find", prediction, vocabulary, time.perf_counter() - started, prompts)

    # --- One object, or several --------------------------------------------------------------------------------------

    @renamed_arguments(second_look=_ZOOM_INSTEAD_OF_SECOND_LOOK)
    def segment(
        self,
        *prompts: Prompt,
        text_threshold: float | None = None,
        candidates: int = 1,
        refine: Refine | None = None,
    ) -> Results:
        """Segment the one object that all prompts together describe.

        Which prompts answer: visual ones, which also use the phrases and the reference (not nano's reference: a note
        says so); else the phrases, which use the reference; else the reference. `kind` of the result says it. `labels`
        are the phrases, and for an object without one, the model's own label.

        Args:
            prompts: any mix that the model was made for.
            text_threshold: score (0-1) below which an object without visual prompts is not in the image, and the result
                is empty; None = the model's own.
            candidates: so many alternatives of an ambiguous prompt (part, whole), the best first; fewer if the model
                has fewer that differ (IoU at most 0.95). SEEM v1 has 3 queries an object, SEEM v0, the demo and the
                phrases of all published models choose among 101 or more; nano has one, which answers alone.
            refine: "zoom" encodes the square around a small object again and answers from there: better, for the price
                of an encoding (cached for the next question about the same object).

        Raises `ValueError` for no prompt, negative prompts alone, prompts outside the image, and prompts that the model
        was not made for.
        """
        count = checked_count(candidates, "candidates")
        objects = [ObjectPrompts.of(prompts)]
        return self._segment(objects, text_threshold, candidates=count, refine=refine)

    @renamed_arguments(second_look=_ZOOM_INSTEAD_OF_SECOND_LOOK)
    def segment_many(
        self,
        objects: Sequence[Sequence[Prompt]],
        *,
        text_threshold: float | None = None,
        refine: Refine | None = None,
    ) -> Results:
        """Segment several objects, each described by its own prompts; in one pass wherever the model allows.

        Rows come in the order of `objects`, without those that are not found; `ids` are their numbers in `objects`,
        from 1 on, and a note says what is left out. Where the objects of a pass share the prompt pixels that become
        tokens (SEEM v1: 512), each has its fair part: large prompts are sampled more thinly than alone. Options and
        errors as in `segment`.
        """
        check_object_lists(objects)
        return self._segment(
            [ObjectPrompts.of(prompts) for prompts in objects], text_threshold, refine=refine
        )

    def segment_boxes(self, boxes: Boxes, classes: Classes = None) -> Results:
        """Segment the object in each of N boxes, in their order: a detector's boxes become masks.

        Args:
            boxes: N x 4 of x0, y0, x1, y1 in the image's pixels (list, array or tensor), or `supervision.Detections`,
                whose classes, scores and tracker ids the result keeps (`category_ids` are class ids plus 1).
            classes: the names that their class ids count in, where they have no names themselves.

        No boxes give an empty result. Raises `ValueError` that names the row of a box that is not finite, inverted,
        empty or outside the image, and of a column that cannot be.
        """
        detections = read_boxes(boxes, self.hw, classes)
        if not detections.boxes:
            return self._results(
                "interactive", empty_prediction("visual"), self.model.vocabulary(), seconds=0.0
            )
        results = self._segment([ObjectPrompts.of([box]) for box in detections.boxes])
        return with_detections(results, detections)

    @renamed_arguments(**_renamed_thresholds("pred_iou", "stability_score", "box_nms", "crop_nms"))
    @takes_options(EverythingOptions)
    def everything(self, options: EverythingOptions) -> Results:
        """Segment every region, without prompt or class; best first, masks may lie in each other.

        The object queries answer first (nano: a coarse grid of clicks); then the model is clicked at, on a grid, where
        no mask covers the image yet (X-Decoder models take no clicks: object queries alone). The parameters are those
        of segment-anything's automatic mask generator, and `to_records()` returns its records; the grid and the two
        thresholds have lower defaults here.

        Args:
            points_per_side: points of the grid along a side; 0 = object queries alone.
            points_per_batch: clicks answered together, which bounds memory.
            pred_iou_threshold: quality (0-1) that a mask needs: predicted IoU, or mean probability inside the mask.
                None = the model's own, 0.7, of nano 0.4.
            stability_score_threshold: stability (0-1) that it needs: IoU of the masks at `stability_score_offset`
                (logits) above and below the threshold. None = the model's own, 0.85, of nano 0.5.
            stability_score_offset: in logits; see there.
            box_nms_threshold: IoU above which a mask repeats a better one; of the masks, not of their boxes.
            crop_n_layers: search again in 2 x 2 crops (1), also in 4 x 4 (2), ... for small things; each is encoded.
            crop_nms_threshold: the same between crops; the smaller crop wins.
            crop_overlap_ratio: what neighbouring crops of the first layer share, of the image's short side.
            crop_n_points_downscale_factor: by how much the grid is thinned from layer to layer.
            min_mask_region_area: connected components and holes of fewer pixels are removed.

        Raises `ValueError` for a value that cannot be.
        """
        started = time.perf_counter()
        thresholds = self.model.network.config.everything_thresholds
        settings = options.with_thresholds(*thresholds)
        prediction, proposals = segment_everything(self._predictor, settings)
        seconds = time.perf_counter() - started
        vocabulary = self.model.vocabulary()
        results = self._results(
            "everything", prediction, vocabulary, seconds, rules=(settings.rule,)
        )
        return replace(results, proposals=proposals)

    @renamed_arguments(second_look=_ZOOM_INSTEAD_OF_SECOND_LOOK)
    def session(self, refine: Refine | None = None) -> Session:
        """Begin rounds of prompts about one object, with memory and undo; `refine` as in `segment`."""

        def segment_round(
            prompts: ObjectPrompts, previous: Float[Tensor, "1 1 h w"] | None
        ) -> Results:
            return self._segment([prompts], previous=previous, refine=refine)

        return Session(segment_round, self.model.network.kind, self.name)

    # --- The full image in words -------------------------------------------------------------------------------------

    def caption(self, region: VisualPrompt | None = None) -> str:
        """Describe the image in a sentence, or the region that a visual prompt marks (X-Decoder models).

        Greedy, at most 50 word pieces, up to the first full stop (official behaviour). Raises `ValueError` for a model
        without captions.
        """
        check_writes_captions(self.model.name, self.model.network.decoder.policy)
        predictor = self.at_full_image_size()._predictor
        if region is not None:
            region.check_inside(self.hw)
        tokenizer = self.model.tokenizer
        return first_sentence(
            tokenizer.decode(predictor.write_caption(tokenizer.begin, tokenizer.end, region))
        )

    def similarity(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Score how well the full image fits each phrase, (N,).

        X-Decoder: the mean of two cosines, as in the official retrieval (-1 to 1). nano: how surely the image shows the
        phrase (0 to 1). Raises `ValueError` for SEEM, which can neither.
        """
        check_compares_images(self.model)
        if isinstance(phrases, str) or not phrases:
            raise ValueError(f"similarity takes a list of phrases, at least one; got {phrases!r}.")
        features = self.model.encode_phrases([Text(phrase).phrase for phrase in phrases])
        predictor = self.at_full_image_size()._predictor
        return predictor.phrase_similarity(features.phrases).float().cpu().numpy()

    def at_full_image_size(self) -> EncodedImage:
        """Return the image as the model describes it: X-Decoder at a short side of 224 pixels, as in its training.

        Encoded at the first question of this kind and cached. An image that was encoded at another size than the
        model's own stays as it is.
        """
        config = self.model.network.config
        at_own_size = self.batch.input_hw[0] == network_size(self.hw, config.image)
        if config.full_image_side is None or not at_own_size:
            return self
        with self._lock:
            if self._full_image is None:
                max_pixels = self.hw[0] * self.hw[1]
                self._full_image = encode(
                    self.model, self.image, config.full_image_side, max_pixels
                )
            return self._full_image

    # --- From prompts to results -------------------------------------------------------------------------------------

    def _segment(
        self,
        objects: Sequence[ObjectPrompts],
        text_threshold: float | None = None,
        previous: Float[Tensor, "1 n h w"] | None = None,
        candidates: int = 1,
        refine: Refine | None = None,
    ) -> Results:
        """Check the prompts, answer them, and note by which rules they were drawn."""
        if not objects:
            raise ValueError("There is no object to segment; pass at least one list of prompts.")
        if refine not in (None, "zoom"):
            raise ValueError(f"refine is {refine!r}; it is 'zoom' or None.")
        self._decoder.check(objects)
        threshold = self.model.network.config.text_threshold
        if text_threshold is not None:
            threshold = checked_probability(text_threshold, "text_threshold")
        options = SegmentOptions(threshold, candidates, zoom=refine == "zoom")
        started = time.perf_counter()
        prediction = self._predictor.segment(objects, options, self._references(objects), previous)
        seconds = time.perf_counter() - started
        prompts = tuple(each.prompts for each in objects)
        vocabulary = self.model.vocabulary()
        return self._results(
            "interactive", prediction, vocabulary, seconds, prompts, self._drawing_rules(objects)
        )

    def _drawing_rules(self, objects: Sequence[ObjectPrompts]) -> tuple[str, ...]:
        """Name the rules by which the visual prompts were rasterised."""
        network = self.model.network
        polygon_rule = network.config.polygon_rule
        rules = set()
        for prompts in objects:
            for mark in prompts.visual:
                is_mark_outline = is_outline(mark, network.kind)
                rules.add(rasterization_rule(mark, polygon_rule, is_outline=is_mark_outline))
        return tuple(sorted(rules))

    def _references(self, objects: Sequence[ObjectPrompts]) -> Mapping[int, ReferenceFeatures]:
        """Encode the references that have an effect, by object index; each is encoded once for a model."""
        features = {}
        for index, prompts in enumerate(objects):
            reference = prompts.without_unsupported_reference(self.model.network.kind).reference
            if reference is not None:
                make = partial(_encode_reference, self.model, reference)
                features[index] = reference.cached(self.model, make)
        return features

    def _results(
        self,
        task: str,
        prediction: Prediction,
        vocabulary: Vocabulary,
        seconds: float,
        prompts: tuple[tuple[Prompt, ...], ...] = (),
        rules: tuple[str, ...] = (),
    ) -> Results:
        """Turn a prediction into results, with their provenance."""
        provenance = Provenance(
            task=task,
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.model.precision,
            engine=self.model.engine,
            prompts=prompts,
            seconds={"encode": self.encode_seconds, task: seconds},
            rules=rules,
            notes=(*self.source.notes, *prediction.notes),
            image_name=self.source.name,
            orientation=self.source.orientation,
        )
        logits = embeddings = None
        if prediction.logits is not None:
            logits = prediction.logits.cpu().numpy()
        if prediction.vectors is not None:
            embeddings = unit_vectors(prediction.vectors.float()).cpu().numpy()
        return Results.of(
            self.image,
            prediction.masks,
            clamped_scores(prediction.scores),
            vocabulary=vocabulary,
            kind=prediction.kind,
            provenance=provenance,
            labels=prediction.labels,
            ids=prediction.ids,
            logits=logits,
            embeddings=embeddings,
        )


def encode(
    model: Runtime, image: ImageLike, size: int | None = None, max_pixels: int = MAX_PIXELS
) -> EncodedImage:
    """Run the image network on an image; arguments and errors as in `Model.encode`."""
    return EncodedImage(encode_for_prompts(model, image, size, max_pixels))


def check_compares_images(model: Runtime) -> None:
    """Raise `ValueError` for a model that cannot tell how well a full image fits a phrase."""
    network = model.network
    if network.image_projection is None and not network.kind.scores_presence:
        raise ValueError(
            f"{model.name} compares no full images; load nano, or an X-Decoder, for example xdecoder-focal-t."
        )


def distinct_phrases(phrases: str | Sequence[str]) -> list[str]:
    """Check the phrases of `find`; one that is repeated, in whatever case, counts once, as it was written first."""
    given = [phrases] if isinstance(phrases, str) else list(phrases)
    distinct: dict[str, str] = {}
    for each in given:
        phrase = Text(each).phrase
        distinct.setdefault(phrase.casefold(), phrase)
    if not distinct:
        raise ValueError("There is no phrase to look for; say one, find('red car'), or several.")
    return list(distinct.values())


def checked_threshold(threshold: object, default: float) -> float:
    """Return a threshold (0-1), `default` where none is given; `ValueError` for another value."""
    return checked_probability(default if threshold is None else threshold, "threshold")


def _encode_reference(model: Runtime, reference: Reference) -> ReferenceFeatures:
    """Encode the other image of a reference, unless this model has, and its region."""
    other = _encoded_by(model, reference.image)
    try:
        return other._predictor.reference_features(reference)
    except ValueError as error:
        raise ValueError(f"In the reference, {other.name or 'an image'}: {error}") from None


def _encoded_by(model: Runtime, image: object) -> EncodedImage:
    if isinstance(image, EncodedImage) and image.model is model:
        return image if image._decoder.is_on_model_device else image.to(model.device)
    pixels = image.image if isinstance(image, EncodedImageLike) else image
    return encode(model, cast("ImageLike", pixels))
