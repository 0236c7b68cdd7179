"""One encoded image, and the decoder passes that answer prompts about it.

The file reads from the top: objects are grouped into passes; a pass encodes text, rasterises marks, runs the decoder
and reads one answer, or several, for each object.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from seem.config import ImageConfig
from seem.images import MAX_PIXELS, ImageLike, InputImage, read_image
from seem.inference.image_network import ImageNetwork
from seem.inference.object_prompts import ObjectPrompts, check_supported, is_outline
from seem.inference.runtime import Runtime
from seem.mask_codec import PackedMask
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import outline_logits
from seem.models.precision import arithmetic
from seem.models.structures import ImageBatch, VisualPrompts
from seem.preprocess import preprocess_image
from seem.prompts import Audio, Box, Point
from seem.rasterize import PixelBox, RasterFrame
from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import (
    ClickedCell,
    ObjectAnswer,
    ObjectMasks,
    apply_outlines,
    obey_clicks,
    segment_objects,
)
from seem.tasks.phrase import EncodedText, answer_phrases, lay_out_text
from seem.tasks.postprocess import ImageFrame, to_input_size
from seem.tasks.reference import ReferenceFeatures, add_reference_vectors, join_references

MAX_OBJECTS_OF_PASS = 64  # bounds memory
MAX_AREAS_OF_PASS = (
    8  # the same where objects share the pixels that become tokens and any is more than a click
)

NO_REFERENCES: Mapping[int, ReferenceFeatures] = {}


@dataclass(slots=True, eq=False)
class PromptDecoder:
    """An image as a network has encoded it, and the frames between the two. Safe to use from several threads.

    `encoding` raises `ValueError` while the image is on another device than its model.
    """

    runtime: Runtime
    image: InputImage
    batch: ImageBatch
    stored_encoding: ImageEncoding
    encode_seconds: float = 0.0
    frame: ImageFrame = field(init=False)
    raster_frame: RasterFrame = field(init=False)

    def __post_init__(self) -> None:
        network = self.runtime.network
        padded_hw, input_hw = self.batch.padded_hw, self.batch.input_hw[0]
        self.frame = ImageFrame(
            padded_hw, input_hw, self.image.hw, network.decoder.policy.resampling
        )
        self.raster_frame = RasterFrame(self.image.hw, input_hw, network.config.polygon_rule)

    @property
    def is_on_model_device(self) -> bool:
        """Whether the encoded image is on the device of its model."""
        here, model = self.stored_encoding.pixels.mask_features.device, self.runtime.device
        return here.type == model.type and model.index in (None, here.index)

    @property
    def encoding(self) -> ImageEncoding:
        """The output of the image network."""
        if not self.is_on_model_device:
            here, model = self.stored_encoding.pixels.mask_features.device, self.runtime.device
            raise ValueError(
                f"The image is on {here}, its model on {model}; ask image.to('{model}')."
            )
        return self.stored_encoding

    def check(self, objects: Sequence[ObjectPrompts]) -> None:
        """Raise `ValueError` for prompts that the model was not made for, and for marks outside the image."""
        for prompts in objects:
            check_supported(prompts, self.runtime.name, self.runtime.network.decoder.policy)
            for mark in prompts.visual:
                mark.check_inside(self.image.hw)

    def crop(self, box: PixelBox) -> PromptDecoder:
        """Encode part of the image (pixels, xyxy, maxima exclusive), as large as the network sees an image."""
        height, width = self.image.hw
        return encode_for_prompts(self.runtime, self.image.rgb.crop(box), max_pixels=height * width)

    def pack(self, logits: Float[Tensor, "H W"]) -> PackedMask:
        """Threshold mask logits at the size of the image."""
        return PackedMask.pack((logits > 0).cpu().numpy(), self.image.hw)

    # --- Passes ------------------------------------------------------------------------------------------------------

    def answer(
        self,
        objects: Sequence[ObjectPrompts],
        references: Mapping[int, ReferenceFeatures] = NO_REFERENCES,
        previous: Float[Tensor, "1 n h w"] | None = None,
        top: int = 1,
    ) -> list[list[ObjectAnswer]]:
        """Answer every object in as few decoder passes as possible: for each the `top` queries' answers, best first.

        `references` are by object index. `previous` are the mask logits of the previous round (one object).
        """
        answers: dict[int, list[ObjectAnswer]] = {}
        with arithmetic(self.runtime.device, self.runtime.precision):
            for indices in self._passes(objects):
                pass_objects, pass_references = [], {}
                for row, index in enumerate(indices):
                    pass_objects.append(objects[index])
                    if index in references:
                        pass_references[row] = references[index]
                pass_answers = self._answer_pass(pass_objects, pass_references, previous, top)
                answers.update(zip(indices, pass_answers, strict=True))
        return [answers[index] for index in range(len(objects))]

    def _passes(self, objects: Sequence[ObjectPrompts]) -> Iterator[list[int]]:
        """Group the indices of objects that one decoder pass can answer, within the limits of memory and tokens.

        A pass has previous masks for all of its objects or for none. Where a policy shares phrase rows between objects,
        every object with a phrase has a pass of its own; where prompts steer the object queries, every object has.
        """
        policy = self.runtime.network.decoder.policy
        with_mask: list[int] = []
        without_mask: list[int] = []
        for index, prompts in enumerate(objects):
            if not policy.takes_many or (prompts.text and policy.shares_phrases):
                yield [index]
            elif self._brings_mask(prompts):
                with_mask.append(index)
            else:
                without_mask.append(index)
        for indices in (without_mask, with_mask):
            only_clicks = all(objects[index].has_only_clicks for index in indices)
            count = MAX_AREAS_OF_PASS
            if policy.independent_objects or only_clicks:
                count = MAX_OBJECTS_OF_PASS
            for start in range(0, len(indices), count):
                yield indices[start : start + count]

    def _brings_mask(self, prompts: ObjectPrompts) -> bool:
        return prompts.previous_logits is not None or bool(
            prompts.has_outline(self.runtime.network.kind)
        )

    def _answer_pass(
        self,
        objects: Sequence[ObjectPrompts],
        references: Mapping[int, ReferenceFeatures],
        previous: Float[Tensor, "1 n h w"] | None,
        top: int,
    ) -> list[list[ObjectAnswer]]:
        """Answer objects that share a pass.

        A phrase alone has queries of its own in some policies; all other prompts are answered by `segment_objects`.
        """
        network = self.runtime.network
        first = objects[0]
        has_phrase_queries = network.decoder.policy.phrase is RowKind.PHRASE
        if has_phrase_queries and not first.visual and not references:
            features = self.runtime.encode_phrases(first.phrases)
            masks = answer_phrases(network, self.encoding, features, FairDraws(), top)
            return [self._read(masks, first, 0, 1)]
        text = self._encode_text(objects)
        text_vectors = add_reference_vectors(text.vectors, references, len(objects))
        prompts, outlines = self.rasterize(objects)
        masks = segment_objects(
            network,
            self.encoding,
            prompts,
            FairDraws(),
            phrases=text.written,
            previous=self._previous_masks(objects, previous, outlines),
            reference=join_references(references, len(objects)) if references else None,
            text_vectors=text_vectors,
            audio=text.spoken,
            top=top,
        )
        answers = []
        for row, object_prompts in enumerate(objects):
            vector = None if text_vectors is None else text_vectors[0, row]
            answers.append(self._read(masks, object_prompts, row, len(objects), vector))
        return answers

    # --- Inputs of a pass --------------------------------------------------------------------------------------------

    def _encode_text(self, objects: Sequence[ObjectPrompts]) -> EncodedText:
        """Encode all phrases of a pass; spoken ones have rows of their own where the policy does (the demo)."""
        separates_speech = (
            self.runtime.network.decoder.policy.group(RowKind.AUDIO_TOKENS) is not None
        )
        phrases, owners, spoken = [], [], []
        for row, prompts in enumerate(objects):
            for prompt in prompts.text:
                phrases.append(prompt.phrase)
                owners.append(row)
                spoken.append(separates_speech and isinstance(prompt, Audio))
        if not phrases:
            return EncodedText()
        features = self.runtime.encode_phrases(phrases)
        device = features.tokens.device
        return lay_out_text(
            features,
            torch.tensor(owners, device=device),
            torch.tensor(spoken, device=device),
            len(objects),
        )

    def text_vectors(self, objects: Sequence[ObjectPrompts]) -> Float[Tensor, "n d"]:
        """Return the sum of the phrase vectors (each of length 1) of every object; all have phrases."""
        vectors = self._encode_text(objects).vectors
        assert vectors is not None
        return vectors[0]

    def rasterize(
        self, objects: Sequence[ObjectPrompts]
    ) -> tuple[VisualPrompts, Bool[Tensor, "1 n h w"]]:
        """Rasterise the marks about every object at network resolution; also returns the areas of outlines."""
        shape = (len(objects), *self.frame.padded_hw)
        positive, negative, bounds, outline_areas = np.zeros((4, *shape), dtype=np.bool_)
        height, width = self.raster_frame.network_hw
        for row, object_prompts in enumerate(objects):
            for mark in object_prompts.marks:
                if is_outline(mark, self.runtime.network.kind):
                    maps = outline_areas
                elif isinstance(mark, Box):
                    maps = bounds
                elif mark.positive:
                    maps = positive
                else:
                    maps = negative
                maps[row, :height, :width] |= mark.rasterize(self.raster_frame)
        prompts = VisualPrompts(
            positive=self._to_device(positive),
            negative=self._to_device(negative),
            bounds=self._to_device(bounds) if bounds.any() else None,
        )
        return apply_outlines(prompts, self._to_device(outline_areas))

    def _to_device(self, maps: NDArray[np.bool_]) -> Bool[Tensor, "1 n h w"]:
        return torch.from_numpy(maps)[None].to(self.runtime.device)

    def _previous_masks(
        self,
        objects: Sequence[ObjectPrompts],
        previous: Float[Tensor, "1 n h4 w4"] | None,
        outlines: Bool[Tensor, "1 n h w"],
    ) -> Float[Tensor, "1 n h4 w4"] | None:
        """Return the previous masks of all objects of a pass, or None: a session's, or those among the prompts."""
        if previous is not None:
            return previous.to(self.runtime.device)
        masks = []
        for row, prompts in enumerate(objects):
            mask = self._mask_among_prompts(prompts, outlines[0, row])
            if mask is not None:
                masks.append(mask)
        return torch.stack(masks)[None] if masks else None

    def _mask_among_prompts(
        self, prompts: ObjectPrompts, outline: Bool[Tensor, "h w"]
    ) -> Float[Tensor, "h4 w4"] | None:
        """Return the mask that the prompts about an object bring: mask logits, or the area of its outline."""
        logits = prompts.previous_logits
        if logits is None:
            if not prompts.has_outline(self.runtime.network.kind):
                return None
            return outline_logits(outline[None, None])[0, 0]
        height, width = self.frame.padded_hw[0] // 4, self.frame.padded_hw[1] // 4
        if logits.shape[-2:] != (height, width):
            raise ValueError(
                f"The mask logits are {logits.shape[-1]} x {logits.shape[-2]}, this image's {width} x {height}; "
                "hand in logits of the same image, encoded at the same size."
            )
        return torch.tensor(logits.reshape(height, width), device=outline.device)

    # --- Outputs of a pass -------------------------------------------------------------------------------------------

    def _read(
        self,
        masks: ObjectMasks,
        prompts: ObjectPrompts,
        row: int,
        num_objects: int,
        text_vector: Float[Tensor, " d"] | None = None,
    ) -> list[ObjectAnswer]:
        """Read the answers about one object of a pass, best first."""
        answers_each = masks.logits.shape[1] // num_objects
        kind = prompts.answering_rule(self.runtime.network.decoder.policy)
        only_reference = prompts.reference is not None and not prompts.visual and not prompts.text
        answers = []
        for index in range(row * answers_each, (row + 1) * answers_each):
            logits = masks.logits[0, index].float()
            if only_reference:
                logits = self._with_reference_threshold(logits)
            if self.runtime.network.kind.obeys_clicks:
                logits = obey_clicks(logits, self._clicked_cells(prompts, logits))
            if masks.quality is None:
                score = foreground_probability(to_input_size(logits[None].float(), self.frame)[0])
            else:
                score = masks.quality[0, index]
            vector = masks.class_vectors[0, index].float()
            answers.append(ObjectAnswer(logits, float(score), kind, vector, text_vector))
        return answers

    def _clicked_cells(
        self, prompts: ObjectPrompts, logits: Float[Tensor, "h w"]
    ) -> list[ClickedCell]:
        """Return the cells of mask logits that points click on."""
        stride = self.frame.padded_hw[0] // logits.shape[0]
        cells = []
        for mark in prompts.marks:
            if isinstance(mark, Point):
                column, row = self.raster_frame.pixel_at(*mark.position)
                cells.append(ClickedCell(row // stride, column // stride, mark.positive))
        return cells

    def _with_reference_threshold(self, logits: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Shift logits so that a pixel is inside from `reference_peak_ratio` of the largest probability on."""
        share = self.runtime.network.config.reference_peak_ratio
        if share is None:
            return logits
        largest = torch.sigmoid(to_input_size(logits[None], self.frame).max())
        return logits - torch.logit(share * largest)


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image and what the network takes of it, on the CPU; `seconds` is the wall time of reading it."""

    source: InputImage
    batch: ImageBatch
    seconds: float


def prepare_for_network(
    config: ImageConfig, image: ImageLike, size: int | None, max_pixels: int
) -> PreparedImage:
    """Read an image and resize it for the network; arguments and errors as in `Model.encode`."""
    started = time.perf_counter()
    source = read_image(image, max_pixels)
    batch = preprocess_image(source, config, size)
    return PreparedImage(source, batch, time.perf_counter() - started)


def encode_prepared(network: ImageNetwork, prepared: PreparedImage) -> tuple[ImageEncoding, float]:
    """Run the image network on a prepared image; returns the encoding and the seconds of reading and encoding."""
    started = time.perf_counter()
    encoding = network(prepared.batch)
    return encoding, prepared.seconds + time.perf_counter() - started


def encode_for_prompts(
    runtime: Runtime, image: ImageLike, size: int | None = None, max_pixels: int = MAX_PIXELS
) -> PromptDecoder:
    """Read an image and run the image network on it; arguments and errors as in `Model.encode`."""
    prepared = prepare_for_network(runtime.network.config.image, image, size, max_pixels)
    return decoder_of(runtime, prepared)


def decoder_of(runtime: Runtime, prepared: PreparedImage) -> PromptDecoder:
    """Run the image network on a prepared image, on the model's device."""
    on_device = replace(prepared, batch=prepared.batch.to(runtime.device))
    encoding, seconds = encode_prepared(runtime.image_network, on_device)
    return PromptDecoder(runtime, prepared.source, on_device.batch, encoding, seconds)
