"""The door: a model, a photo that it has looked at, and a conversation about one object.

A `Model` (`seem.load` makes one) encodes a photo once; ask the `EncodedImage` any number of questions; a `Session`
keeps rounds. A model is safe to use from several threads: a call stores nothing on it but the embeddings of classes
and phrases, which are kept by content.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seem import recognition
from seem.asking import Asked, brings_a_mask, check_lists, check_writes, checked_count, checked_share
from seem.checkpoints.encoded_image import (
    EncodedImageFile,
    from_named_tensors,
    read_encoded_image,
    to_named_tensors,
    write_encoded_image,
)
from seem.checkpoints.network import LoadedNetwork
from seem.errors import SeemError, short_reason
from seem.images import MAX_PIXELS, ImageLike, InputImage, read_image
from seem.models.decoder.decoder import ImageEncoding
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import ImageBatch, TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.predictor import Found, Predictor
from seem.preprocess import network_size, preprocess_image
from seem.prompts import EncodedImageLike, Prompt, Text, VisualPrompt, rasterization_rule
from seem.results import Labels, Provenance, Results
from seem.session import Session
from seem.tasks.boxes import Boxes, read_boxes, with_detections
from seem.tasks.caption import first_sentence
from seem.tasks.everything import EverythingSettings
from seem.tasks.find import LIKELIER
from seem.tracker import Mode, Tracker, objects_in
from seem.video import VideoLike
from seem.vocabulary import Classes, Vocabulary

BACKGROUND = "background"
"""The no-object class: encoded like any other name, last in every classifier (official behaviour)."""

KEPT_CLASS_LISTS = 32  # embeddings of so many class lists stay on a model, the oldest go first
KEPT_PHRASES = 32  # what was said stays too, for the next click beside the same words
FEW = 8  # phrases said together that are worth keeping; lists of classes are kept as embeddings

Key = TypeVar("Key")
Value = TypeVar("Value")


class Model:
    """A network with its tokenizer: `seem.load` makes one.

    `precision` says which arithmetic runs: "float32" or "bfloat16". `classes` are those that it was fine-tuned on,
    which it names things by where no others are given; None where it was not: then those are COCO's 133. `learnt` says
    on which data.
    """

    def __init__(self, loaded: LoadedNetwork, device: torch.device, precision: Precision) -> None:
        self.name = loaded.name
        self.sha256 = loaded.sha256
        self.device = device
        self.precision: Precision = precision
        self.network: Segmenter = loaded.network
        self.classes = loaded.classes
        self.learnt = loaded.learnt
        self._vocabulary_source = loaded.tokenizer
        self._tokenizer: BytePairTokenizer | None = None
        self._classifiers: dict[str, Tensor] = {}
        self._said: dict[tuple[str, ...], TextFeatures] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"<Model {self.name}: {parameters / 1e6:.1f} M parameters, {self.device}, {self.precision}>"

    def encode(self, image: ImageLike, size: int | None = None, *, max_pixels: int = MAX_PIXELS) -> EncodedImage:
        """Look at a photo: run the image network once, for any number of questions.

        Args:
            image: path, PIL image, H x W x 3 uint8 array (RGB) or 3 x H x W uint8 tensor.
            size: short side in network pixels instead of the model's own working size; the long side's limit grows in
                proportion.
            max_pixels: larger photos are refused.

        Raises:
            ValueError: not a photo, too large, or a size below 32.
            SeemError: the file cannot be read.
        """
        started = time.perf_counter()
        photo = read_image(image, max_pixels)
        images = preprocess_image(photo, self.network.config.image, size).to(self.device)
        with arithmetic(self.device, self.precision):
            memory = self.network.encode_image(images)
        return EncodedImage(self, photo, images, memory, time.perf_counter() - started)

    def encode_phrases(self, phrases: Sequence[str]) -> TextFeatures:
        """Encode phrases to vectors, not normalised; longer ones than the model's context lose their tail.

        What was said last is kept for the next call.
        """
        said = tuple(phrases)
        with self._lock:
            known = self._said.pop(said, None)
            if known is not None:
                self._said[said] = known  # what is in use stays longest
        if known is None:
            tokens = self.tokenizer(list(said))
            with arithmetic(self.device, self.precision):
                known = self.network.encode_text(tokens.ids.to(self.device), tokens.valid.to(self.device))
            if len(said) <= FEW:
                with self._lock:
                    keep(self._said, said, known, KEPT_PHRASES)
        return known

    def retrieve(self, photos: Sequence[EncodedImage], phrase: str) -> tuple[Ranked, ...]:
        """Rank photos by how well they fit a phrase, best first (X-Decoder models).

        Ask the best photo `segment(Text(phrase))` for the region that is meant. Raises `ValueError` as
        `EncodedImage.similarity` does, and for what is not encoded.
        """
        self._check_compares()
        for photo in photos:
            if not isinstance(photo, EncodedImage):
                raise ValueError(f"retrieve ranks encoded photos, got {photo!r}; call model.encode on each first.")
        scores = [float(photo.similarity([phrase])[0]) for photo in photos]
        order = sorted(range(len(photos)), key=lambda row: -scores[row])
        return tuple(Ranked(row, scores[row]) for row in order)

    def load_photo(self, path: str | os.PathLike[str]) -> EncodedImage:
        """Read a photo that `EncodedImage.save` has written; nothing is computed again.

        Raises `SeemError` for a file that is no encoded photo, or that other weights than these have seen.
        """
        seen = read_encoded_image(Path(path))
        if (seen.model, seen.sha256) != (self.name, self.sha256):
            raise SeemError(
                f"{path} was seen by {seen.model} (sha256 {seen.sha256[:12]}), this model is {self.name} "
                f"({self.sha256[:12]}); load that one, or encode the picture again."
            )
        tensors = {name: tensor.to(self.device) for name, tensor in to_named_tensors(seen.memory).items()}
        if self.precision == "float32":
            tensors = {name: tensor.float() for name, tensor in tensors.items()}
        return EncodedImage(self, seen.photo, seen.images.to(self.device), from_named_tensors(tensors), seen.seconds)

    def tracker(
        self, video: VideoLike, mode: Mode | None = None, *, size: int | None = None, backward: bool = False
    ) -> Tracker:
        """Begin to follow objects through a video: a file, a folder, a list or an iterator of frames.

        `mode`: "memory", "propagate" or "reference", None = the model's default; see `Tracker` for this and `backward`.
        `size` as in `encode`. Raises `ValueError` for a mode that the model cannot do and for what is no video,
        `SeemError` for a file or folder that cannot be read.
        """
        return Tracker(self, video, mode, size=size, backward=backward)

    def track(
        self,
        video: VideoLike,
        prompts: Prompt | Sequence[Prompt | Sequence[Prompt]],
        frame: int = 0,
        mode: Mode | None = None,
        *,
        size: int | None = None,
        backward: bool = False,
    ) -> Iterator[Results]:
        """Follow objects that are prompted in one frame; yields one `Results` a frame, ids count from 1.

        `prompts` is a list that holds for each object a prompt or a list of prompts. The rest as in `tracker`.
        """
        tracker = self.tracker(video, mode, size=size, backward=backward)
        for object_id, said in enumerate(objects_in(prompts), 1):
            tracker.add(frame, object_id, *said)
        return iter(tracker)

    def vocabulary(self, classes: Classes = None) -> Vocabulary:
        """Read a `classes` argument: None are those that the model was fine-tuned on, or else COCO's 133."""
        return Vocabulary.coerce(self.classes if classes is None else classes)

    def classifier(self, vocabulary: Vocabulary) -> Float[Tensor, "k1 d"]:
        """Return the normalised embedding of every class, the background last; kept for the next call.

        The published rule: every name in every template, the mean of the normalised vectors, normalised. The templates
        are the vocabulary's own, or else the model's.
        """
        with self._lock:
            known = self._classifiers.get(vocabulary.key)
            if known is None:
                names = [*vocabulary.phrases, BACKGROUND]
                known = recognition.encode_classes(self, names, vocabulary.templates)
                keep(self._classifiers, vocabulary.key, known, KEPT_CLASS_LISTS)
            return known

    @property
    def tokenizer(self) -> BytePairTokenizer:
        """The model's vocabulary of word pieces; the published models' is downloaded at the first phrase."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._vocabulary_source()
            return self._tokenizer

    def _check_compares(self) -> None:
        """Raise `ValueError` for a model that has learned no vector of whole photos."""
        if self.network.image_projection is None:
            raise ValueError(f"{self.name} compares no whole photos; load an X-Decoder, for example xdecoder-focal-t.")

    def _look_at(self, photo: object, max_pixels: int = MAX_PIXELS) -> Predictor:
        """Encode another photo for a question, or part of one; what this model has encoded already stays."""
        if isinstance(photo, EncodedImage) and photo.model is self:
            return (photo if photo._predictor.is_at_hand else photo.to(self.device))._predictor
        picture = photo.picture if isinstance(photo, EncodedImageLike) else photo
        return self.encode(cast("ImageLike", picture), max_pixels=max_pixels)._predictor


@dataclass(frozen=True, slots=True)
class Ranked:
    """A photo of a list, by its place in it, and how well it fits (-1 to 1)."""

    index: int
    score: float


@dataclass(slots=True, eq=False)
class EncodedImage:
    """A photo that a model has looked at; ask it anything. Owns everything that was computed from its pixels."""

    model: Model
    photo: InputImage
    images: ImageBatch
    memory: ImageEncoding
    encode_seconds: float
    _predictor: Predictor = field(init=False)
    _whole: EncodedImage | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._predictor = Predictor(self.model, self.photo, self.images, self.memory)

    def __repr__(self) -> str:
        height, width = self.photo.hw
        return f"<EncodedImage {self.photo.name or 'photo'}, {width} x {height} pixels, by {self.model.name}>"

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the photo as shown, in pixels: the frame of prompts and masks."""
        return self.photo.hw

    @property
    def name(self) -> str | None:
        """The photo's file name, None where there is none."""
        return self.photo.name

    @property
    def picture(self) -> Image.Image:
        """The photo as shown, RGB."""
        return self.photo.picture

    # --- Keeping it --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write what the image network made of the photo, and the photo, to a `.safetensors` file for `load_photo`.

        Raises `ValueError` for another suffix, `FileExistsError` for a file that is there, `SeemError` where it cannot
        be written.
        """
        model = self.model
        seen = EncodedImageFile(model.name, model.sha256, self.photo, self.images, self.memory, self.encode_seconds)
        write_encoded_image(Path(path), seen, overwrite)

    def to(self, device: str | torch.device) -> EncodedImage:
        """Return the photo on another device: away from the model to make room, and back before it is asked again.

        Raises `ValueError` for a device that is not there.
        """
        try:
            place = torch.device(device)
            tensors = {name: tensor.to(place) for name, tensor in to_named_tensors(self.memory).items()}
            images = self.images.to(place)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"The photo cannot go to {str(device)!r} ({short_reason(error)}); try 'cpu'.") from None
        return replace(self, images=images, memory=from_named_tensors(tensors))

    # --- Every thing and every region --------------------------------------------------------------------------------

    def panoptic(self, classes: Classes = None, threshold: float | None = None) -> Results:
        """Segment every thing and stuff region; masks do not overlap.

        The published models ask their object queries. nano asks its places which classes are there, then for each of
        those (`recognition.MOST_CLASSES` at most) as for a phrase; the islands of a thing are its instances. Its score
        is a product: the class is in the photo, the island's own places show it, its mean mask probability.

        Args:
            classes: names, a `Vocabulary`, or "ade20k"; None = what the model was fine-tuned on, or else the 133 COCO
                panoptic categories.
            threshold: class score (0-1) that a region needs; None = the model's own (published: 0.8).
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        own = self.model.network.config.panoptic_threshold
        limit = checked_share(own if threshold is None else threshold, "threshold")
        found = recognition.panoptic(self._predictor, vocabulary, limit)
        return self._results("panoptic", found, vocabulary, time.perf_counter() - started)

    def instances(
        self,
        classes: Classes = None,
        threshold: float | None = None,
        top: int = 100,
        *,
        mask_nms_thresh: float | None = None,
    ) -> Results:
        """Segment every countable thing, best first; masks may overlap.

        The published rule: the `top` pairs of query and class, scored by class score times mean mask probability
        (taken at network size here). nano answers as in `panoptic`, with things alone. `threshold` (0-1; None = the
        model's own, 0.05, of nano 0.65) drops what scores lower; `classes` as in `panoptic`.

        `mask_nms_thresh` is the IoU above which a mask repeats a better one, whatever their names, and goes; None = the
        model's own: 1 (all stay, the published rule), of nano 0.5. Average precision is taken with 1.
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        own = self.model.network.config.instance_threshold
        limit = checked_share(own if threshold is None else threshold, "threshold")
        top = checked_count(top, "top")
        nms = None if mask_nms_thresh is None else checked_share(mask_nms_thresh, "mask_nms_thresh")
        found = recognition.instances(self._predictor, vocabulary, limit, top, nms)
        return self._results("instance", found, vocabulary, time.perf_counter() - started)

    def semantic(self, classes: Classes = None) -> Results:
        """Give every pixel a class; one mask for each class that is there. `classes` as in `panoptic`.

        With `Vocabulary.of(..., background=True)` a pixel may be none of the classes. `kind` of the result says who
        answered: the "object queries" (published rule), or the "places" of a model that knows what each of them means
        (nano). Of these, unless it was fine-tuned, nano names those that the photo surely shows, or else the likeliest
        alone; it scores each by its share of all names given, times how surely it is in the photo.
        """
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        found = recognition.semantic(self._predictor, vocabulary)
        return self._results("semantic", found, vocabulary, time.perf_counter() - started)

    def find(self, phrases: str | Sequence[str], threshold: float | None = None, *, against: Classes = None) -> Results:
        """Segment everything that a phrase, or one of several, fits; best first, each object once.

        Every object query compares its class vector with the phrases, with "background" and with the names in
        `against`, and keeps the phrase that fits it best. Score = softmax probability of that phrase times mean mask
        probability, the published score of instances: `find("cat")` scores cats as `instances()` does. Of masks that
        overlap (IoU above 0.5) the better one stays. nano answers each phrase that is in the photo with one mask of all
        that it means, and its islands are the objects, scored by how surely their own places show it; things that touch
        are one.

        The published models' object queries know kinds, hardly attributes: "red car" finds cars, and nothing else. For
        the one that is meant, `segment(Text("the red car"))`.

        Args:
            phrases: "red car", or several, ["cat", "dog"]; one that is repeated counts once.
            threshold: score (0-1) that an object needs; None = 0.5, where the phrase is likelier than everything else
                together, or what the model asks of a class in `panoptic` if that is less (demo 0.4); nano: what it asks
                of a phrase.
            against: names that an object may be instead, [] = none. None = COCO's names, but for the kin of a phrase:
                the one that is most like it and those that hold all of its words; nano: those that mean about the same.
                A broad word needs a list: find("vehicle", against=["person", "dog", "tree"]).

        Raises `ValueError` for no phrase, an empty one, and names as in `panoptic`.
        """
        started = time.perf_counter()
        config, dense = self.model.network.config, self.model.network.mask_refiner is not None
        own = config.text_threshold if dense else min(LIKELIER, config.panoptic_threshold)
        limit = checked_share(own if threshold is None else threshold, "threshold")
        given = [phrases] if isinstance(phrases, str) else list(phrases)
        said = list({phrase.casefold(): phrase for phrase in (Text(one).phrase for one in reversed(given))}.values())
        if not said:
            raise ValueError("There is no phrase to look for; say one, find('red car'), or several.")
        vocabulary = Vocabulary.of(said[::-1], stuff=())
        found = recognition.find(self._predictor, vocabulary, limit, against)
        asked = tuple((Text(phrase),) for phrase in vocabulary.names)
        return self._results("find", found, vocabulary, time.perf_counter() - started, asked)

    # --- One object, or several --------------------------------------------------------------------------------------

    def segment(
        self,
        *prompts: Prompt,
        text_threshold: float | None = None,
        candidates: int = 1,
        second_look: bool = False,
    ) -> Results:
        """Segment the one object that all prompts together describe.

        Who answers: visual prompts, which also hear the phrases and see the reference (not nano's: a note says so);
        else the phrases, which see it too; else the reference. `kind` of the result says it. `labels` are what was
        said, and for what was only marked or shown, what the model takes it for.

        Args:
            prompts: any mix that the model was made for.
            text_threshold: score (0-1) below which something that was only said or shown is not in the photo, and the
                result is empty; None = the model's own.
            candidates: so many alternatives of an ambiguous prompt (part, whole), the best first; fewer if the model
                has fewer that differ (IoU at most 0.95). SEEM v1 has 3 queries an object, SEEM v0, the demo and the
                phrases of all published models choose among 101 or more; nano has one, which answers alone.
            second_look: zoom in on the answer to visual prompts and look again, where it is small in the photo: better,
                for the price of encoding the square around it (kept for the next question about the same place).

        Raises `ValueError` for no prompt, negative prompts alone, prompts outside the photo, and prompts that the model
        was not made for.
        """
        count = checked_count(candidates, "candidates")
        return self._answer([Asked.of(prompts)], text_threshold, candidates=count, second_look=second_look)

    def segment_many(
        self,
        objects: Sequence[Sequence[Prompt]],
        *,
        text_threshold: float | None = None,
        second_look: bool = False,
    ) -> Results:
        """Segment several objects, each described by its own prompts; in one pass wherever the model allows.

        Rows come in the order asked, phrases that are not found left out; `ids` are the places in `objects`, from 1 on,
        and a note of the result says what is left out. Where the objects of a pass share the prompt
        pixels that become tokens (SEEM v1: 512), each has its fair part: large prompts are sampled more thinly than
        alone. Options and errors as in `segment`.
        """
        check_lists(objects)
        return self._answer([Asked.of(prompts) for prompts in objects], text_threshold, second_look=second_look)

    def segment_boxes(self, boxes: Boxes, classes: Classes = None) -> Results:
        """Segment the object in each of N boxes, in their order: a detector's boxes become masks.

        Args:
            boxes: N x 4 of x0, y0, x1, y1 in the photo's pixels (list, array or tensor), or `supervision.Detections`,
                whose classes, scores and tracker ids the result keeps (`category_ids` are class ids plus 1).
            classes: the names that their class ids count in, where they have no names themselves.

        No boxes give an empty result. Raises `ValueError` that names the row of a box that is not finite, inverted,
        empty or outside the photo, and of a column that cannot be.
        """
        detected = read_boxes(boxes, self.hw, classes)
        if not detected.boxes:
            nothing = Found((), (), Labels((), ()), "visual")
            return self._results("interactive", nothing, self.model.vocabulary(), seconds=0.0)
        return with_detections(self._answer([Asked.of([box]) for box in detected.boxes]), detected)

    def everything(
        self,
        points_per_side: int = 16,
        *,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        min_mask_region_area: int = 0,
    ) -> Results:
        """Segment whatever there is, without prompt or class; best first, masks may lie in each other.

        The object queries answer first; then the model is clicked at, on a grid, where no mask covers the photo yet
        (X-Decoder models take no clicks: object queries alone). Names are segment-anything's, `to_records()` gives its
        records; the grid and the two thresholds have defaults of our own, coarser and lower ones.

        Args:
            points_per_side: points of the grid along a side; 0 = object queries alone.
            points_per_batch: clicks answered together, which bounds memory.
            pred_iou_thresh: quality (0-1) that a mask needs: predicted IoU, or mean probability inside the mask. None =
                the model's own, 0.7, of nano 0.4.
            stability_score_thresh: stability (0-1) that it needs: IoU of the masks at `stability_score_offset` (logits)
                above and below the threshold. None = the model's own, 0.85, of nano 0.5.
            box_nms_thresh: IoU above which a mask repeats a better one; of the masks, not of their boxes.
            crop_n_layers: look again at 2 x 2 crops (1), also at 4 x 4 (2), ... for small things; each costs an encode.
            crop_nms_thresh: the same between crops; the smaller crop wins.
            crop_overlap_ratio: what neighbouring crops of the first layer share, of the photo's short side.
            crop_n_points_downscale_factor: by how much the grid is thinned from layer to layer.
            min_mask_region_area: islands and holes of fewer pixels go.

        Raises `ValueError` for a value that cannot be.
        """
        started = time.perf_counter()
        least = self.model.network.config.everything_thresholds
        settings = EverythingSettings(
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=least[0] if pred_iou_thresh is None else pred_iou_thresh,
            stability_score_thresh=least[1] if stability_score_thresh is None else stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            min_mask_region_area=min_mask_region_area,
        )
        found, proposals = recognition.everything(self._predictor, settings)
        seconds = time.perf_counter() - started
        results = self._results("everything", found, self.model.vocabulary(), seconds, rules=(settings.rule,))
        return replace(results, proposals=proposals)

    def session(self, second_look: bool = False) -> Session[EncodedImage]:
        """Begin a conversation about one object: rounds with memory, and undo; `second_look` as in `segment`."""
        return Session(self, second_look)

    # --- Words for the whole ------------------------------------------------------------------------------------------

    @property
    def whole(self) -> EncodedImage:
        """The photo as the model puts it into words: X-Decoder looks at it small (short side 224, as it was taught).

        Encoded at the first question of this kind and kept. A photo that was encoded at a size of one's own stays.
        """
        config = self.model.network.config
        at_own_size = self.images.input_hw[0] == network_size(self.hw, config.image)
        if config.full_image_side is None or not at_own_size:
            return self
        with self._lock:
            if self._whole is None:
                self._whole = self.model.encode(
                    self.picture, config.full_image_side, max_pixels=self.hw[0] * self.hw[1]
                )
            return self._whole

    def caption(self, region: VisualPrompt | None = None) -> str:
        """Describe the photo in a sentence, or the region that a visual prompt marks (X-Decoder models).

        Greedy, at most 50 word pieces, up to the first full stop (official behaviour). Raises `ValueError` for a model
        without captions.
        """
        check_writes(self.model.name, self.model.network)
        there = self.whole._predictor
        if region is not None:
            region.check_inside(self.hw)
        tokenizer = self.model.tokenizer
        return first_sentence(tokenizer.decode(there.write(tokenizer.begin, tokenizer.end, region)))

    def similarity(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Score how well the whole photo fits each phrase, (N,) in -1 to 1 (X-Decoder models).

        The mean of two cosines, as in the official retrieval. Raises `ValueError` for a model that has no vector of
        whole photos.
        """
        self.model._check_compares()
        if isinstance(phrases, str) or not phrases:
            raise ValueError(f"similarity takes a list of phrases, at least one; got {phrases!r}.")
        features = self.model.encode_phrases([Text(phrase).phrase for phrase in phrases])
        return self.whole._predictor.fit(features.phrases).float().cpu().numpy()

    # --- How ---------------------------------------------------------------------------------------------------------

    def _brings_a_mask(self, prompt: Prompt) -> bool:
        return brings_a_mask(prompt, self.model.network)

    def _answer(
        self,
        objects: Sequence[Asked],
        text_threshold: float | None = None,
        previous: Float[Tensor, "1 n h w"] | None = None,
        candidates: int = 1,
        second_look: bool = False,
    ) -> Results:
        if not objects:
            raise ValueError("There is no object to segment; pass at least one list of prompts.")
        self._predictor.check(objects)
        default = self.model.network.config.text_threshold
        limit = checked_share(default if text_threshold is None else text_threshold, "text_threshold")
        started = time.perf_counter()
        found = self._predictor.segment(objects, limit, previous, candidates, second_look)
        seconds = time.perf_counter() - started
        polygons = self.model.network.config.polygon_rule
        rules = {
            rasterization_rule(prompt, polygons, is_outline=prompt in asked.outlined_for(self.model.network))
            for asked in objects
            for prompt in asked.visual
        }
        said = tuple(asked.prompts for asked in objects)
        return self._results("interactive", found, self.model.vocabulary(), seconds, said, tuple(sorted(rules)))

    def _results(
        self,
        task: str,
        found: Found,
        vocabulary: Vocabulary,
        seconds: float,
        prompts: tuple[tuple[Prompt, ...], ...] = (),
        rules: tuple[str, ...] = (),
    ) -> Results:
        """Write down what was found, and where it comes from."""
        provenance = Provenance(
            task=task,
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.model.precision,
            prompts=prompts,
            seconds={"encode": self.encode_seconds, task: seconds},
            rules=rules,
            notes=(*self.photo.notes, *found.notes),
            image_name=self.photo.name,
            orientation=self.photo.orientation,
        )
        return Results.of(
            self.photo.picture,
            found.masks,
            [min(max(score, 0.0), 1.0) for score in found.scores],
            vocabulary=vocabulary,
            kind=found.kind,
            provenance=provenance,
            labels=found.labels,
            ids=found.ids,
            logits=None if found.logits is None else found.logits.cpu().numpy(),
            embeddings=None if found.vectors is None else unit_vectors(found.vectors.float()).cpu().numpy(),
        )


def keep(kept: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Keep a value under its key; where there are `most` already, the oldest goes."""
    while key not in kept and len(kept) >= most:
        kept.pop(next(iter(kept)))
    kept[key] = value
