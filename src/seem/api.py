"""The door: a model, a photo that it has looked at, and a conversation about one object.

A `Model` (`seem.load` makes one) encodes a photo once; ask the `EncodedImage` any number of questions; a `Session`
keeps rounds. A model is safe to use from several threads: a call stores nothing on it but class embeddings, which are
kept by content.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seem.asking import Asked, check_lists, check_taken, check_writes, checked_count, checked_share
from seem.checkpoints.network import LoadedNetwork
from seem.checkpoints.seen import SeenFile, memory_of, read_seen, tensors_of, write_seen
from seem.drawing import Frame
from seem.errors import SeemError, in_short
from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import Kind
from seem.models.ops.masks import dot
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter, unit
from seem.models.structures import ImageBatch, Question, TextFeatures, VisualPrompts
from seem.models.text.templates import BARE, TEMPLATES, class_phrases
from seem.models.text.tokenizer import BytePairTokenizer
from seem.overlay import Bounds
from seem.photos import MAX_PIXELS, Photo, PhotoLike, read_photo
from seem.preparing import prepare, working_size
from seem.prompts import Box, Mask, Point, Prompt, Reference, SeenPhoto, Text, VisualPrompt, rasterisation_rule
from seem.results import Labels, PackedMask, Provenance, Results
from seem.session import Session
from seem.tasks import instance, panoptic, semantic
from seem.tasks.boxes import Boxes, hand_over, read_boxes
from seem.tasks.caption import first_sentence, write_caption
from seem.tasks.everything import (
    Masks,
    Settings,
    View,
    crop_boxes,
    find_everything,
    rather_something,
    seen_small,
)
from seem.tasks.find import LIKELIER, SAME_OBJECT, competing, divide, everything_that_fits, with_rivals
from seem.tasks.interactive import ObjectMasks, OneAnswer, best_distinct, coarse_logits, distinct, segment_objects
from seem.tasks.labels import label_masks, label_places
from seem.tasks.panoptic import Confident
from seem.tasks.phrase import Words, answer_phrases, words_of
from seem.tasks.postprocess import PhotoFrame, each_to_photo, to_input, to_output, to_photo
from seem.tasks.presence import presence, presence_within
from seem.tasks.proposals import meant, propose
from seem.tasks.reference import Shown, lay_out, look_at, with_meanings
from seem.tasks.retrieval import fit_scores, image_vectors
from seem.tasks.second_look import Window, as_previous, blend, previous_in, prompts_in, window_around
from seem.tasks.semantic import BestClasses
from seem.tracker import Mode, Tracker, objects_in
from seem.video import VideoLike
from seem.vocabulary import Vocabulary

Classes: TypeAlias = "Vocabulary | Sequence[str] | None"

BACKGROUND = "background"
"""The no-object class: encoded like any other name, last in every classifier (official behaviour)."""

KEPT_CLASS_LISTS = 32  # embeddings of so many class lists stay on a model, the oldest go first
SPARE = 4  # queries looked at for every candidate asked for; some answer with the same mask
TEXT_BATCH = 512  # phrases encoded together, which bounds memory
OBJECTS_TOGETHER = 64  # objects answered in one pass, which bounds memory
MOST_CLASSES = 16  # of a panoptic answer by phrases
NEVER = -1e4  # logit of what is no answer
MEANING_STRIDE = 4  # network pixels of a place of the map of meaning
AREAS_TOGETHER = 8  # the same where objects share the pixels that become tokens and any is more than a click


class Model:
    """A network with its tokenizer: `seem.load` makes one.

    `precision` says which arithmetic runs: "float32" or "bfloat16".
    """

    def __init__(self, loaded: LoadedNetwork, device: torch.device, precision: Precision) -> None:
        self.name = loaded.name
        self.sha256 = loaded.sha256
        self.device = device
        self.precision: Precision = precision
        self.network: Segmenter = loaded.network
        self._vocabulary_source = loaded.tokenizer
        self._tokenizer: BytePairTokenizer | None = None
        self._classifiers: dict[str, Tensor] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"<Model {self.name}: {parameters / 1e6:.1f} M parameters, {self.device}, {self.precision}>"

    def encode(self, image: PhotoLike, size: int | None = None, *, max_pixels: int = MAX_PIXELS) -> EncodedImage:
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
        photo = read_photo(image, max_pixels)
        images = prepare(photo, self.network.config.image, size).to(self.device)
        with arithmetic(self.device, self.precision):
            memory = self.network.encode_image(images)
        return EncodedImage(self, photo, images, memory, time.perf_counter() - started)

    def encode_phrases(self, phrases: Sequence[str]) -> TextFeatures:
        """Encode phrases to vectors, not normalised; longer ones than the model's context lose their tail."""
        tokens = self.tokenizer(list(phrases))
        with arithmetic(self.device, self.precision):
            return self.network.encode_text(tokens.ids.to(self.device), tokens.valid.to(self.device))

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
        seen = read_seen(Path(path))
        if (seen.model, seen.sha256) != (self.name, self.sha256):
            raise SeemError(
                f"{path} was seen by {seen.model} (sha256 {seen.sha256[:12]}), this model is {self.name} "
                f"({self.sha256[:12]}); load that one, or encode the picture again."
            )
        tensors = {name: tensor.to(self.device) for name, tensor in tensors_of(seen.memory).items()}
        if self.precision == "float32":
            tensors = {name: tensor.float() for name, tensor in tensors.items()}
        return EncodedImage(self, seen.photo, seen.images.to(self.device), memory_of(tensors), seen.seconds)

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

    def classifier(self, vocabulary: Vocabulary) -> Float[Tensor, "k1 d"]:
        """Return the normalised embedding of every class, the background last; kept for the next call.

        The published rule: every name in every template, the mean of the normalised vectors, normalised. The templates
        are the vocabulary's own, or else the model's.
        """
        with self._lock:
            known = self._classifiers.get(vocabulary.key)
            if known is None:
                known = self._encode_classes([*vocabulary.phrases, BACKGROUND], vocabulary.templates)
                while len(self._classifiers) >= KEPT_CLASS_LISTS:
                    self._classifiers.pop(next(iter(self._classifiers)))
                self._classifiers[vocabulary.key] = known
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

    def _encode_classes(self, names: Sequence[str], templates: Sequence[str] | None) -> Float[Tensor, "k1 d"]:
        if templates is None:
            templates = TEMPLATES if self.network.config.text.templates == "all" else (BARE.removesuffix("."),)
        together = max(1, TEXT_BATCH // len(templates))  # names
        rows = []
        for start in range(0, len(names), together):
            phrases = class_phrases(names[start : start + together], templates)
            vectors = unit(self.encode_phrases(phrases).phrases.float())
            rows.append(torch.unflatten(vectors, 0, (-1, len(templates))).mean(dim=1))
        means = torch.cat(rows)
        length: Tensor = means.norm(dim=-1, keepdim=True)
        return means / length


@dataclass(frozen=True, slots=True)
class Ranked:
    """A photo of a list, by its place in it, and how well it fits (-1 to 1)."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class ObjectQueries:
    """What the object queries found, once per photo: class vectors and mask logits at stride 4, unpadded frame kept."""

    class_vectors: Float[Tensor, "q d"]
    mask_logits: Float[Tensor, "q h w"]


@dataclass(slots=True, eq=False)
class EncodedImage:
    """A photo that a model has looked at; ask it anything. Owns everything that was computed from its pixels."""

    model: Model
    photo: Photo
    images: ImageBatch
    memory: ImageMemory
    encode_seconds: float
    _objects: ObjectQueries | None = None
    _zoomed: tuple[Window, EncodedImage] | None = None
    _whole: EncodedImage | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

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
        seen = SeenFile(model.name, model.sha256, self.photo, self.images, self.memory, self.encode_seconds)
        write_seen(Path(path), seen, overwrite)

    def to(self, device: str | torch.device) -> EncodedImage:
        """Return the photo on another device: away from the model to make room, and back before it is asked again.

        Raises `ValueError` for a device that is not there.
        """
        try:
            place = torch.device(device)
            tensors = {name: tensor.to(place) for name, tensor in tensors_of(self.memory).items()}
            images = self.images.to(place)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"The photo cannot go to {str(device)!r} ({in_short(error)}); try 'cpu'.") from None
        return replace(
            self,
            images=images,
            memory=memory_of(tensors),
            _objects=None,
            _zoomed=None,
            _whole=None,
            _lock=threading.Lock(),
        )

    # --- Every thing and every region --------------------------------------------------------------------------------

    def panoptic(self, classes: Classes = None, threshold: float | None = None) -> Results:
        """Segment every thing and stuff region; masks do not overlap.

        The published models ask their object queries. nano asks its places which classes are there, then for each of
        those (`MOST_CLASSES` at most) as for a phrase; the islands of a thing are its instances.

        Args:
            classes: names, a `Vocabulary`, or "ade20k"; None = the 133 COCO panoptic categories.
            threshold: class score (0-1) that a region needs; None = the model's own (published: 0.8).
        """
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        config = self.model.network.config
        limit = checked_share(config.panoptic_threshold if threshold is None else threshold, "threshold")
        is_thing = torch.tensor(vocabulary.is_thing)
        if config.mask_refiner is not None:
            sure, logits = self._classes_there(vocabulary, limit)
            masks = each_to_photo(logits, self._frame)
            merged = panoptic.merge_confident(sure, masks, self.hw, is_thing, panoptic.PHRASE_OVERLAP)
            merged, kind = panoptic.divide_things(merged), "phrases"
            vectors = self.model.classifier(vocabulary)[[segment.category for segment in merged.segments]]
        else:
            found, class_logits = self._classified(vocabulary)
            sure, kind = panoptic.confident(class_logits, limit), "object queries"
            masks = each_to_photo(found.mask_logits[sure.queries], self._frame)
            merged = panoptic.merge_confident(sure, masks, self.hw, is_thing)
            vectors = found.class_vectors[[segment.query for segment in merged.segments]]
        ids = merged.ids.cpu().numpy()
        return self._results(
            "panoptic",
            (ids == segment.id for segment in merged.segments),
            [segment.score for segment in merged.segments],
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(
                tuple(vocabulary[s.category].name for s in merged.segments), tuple(s.score for s in merged.segments)
            ),
            kind=kind,
            embeddings=vectors,
        )

    def _classes_there(self, vocabulary: Vocabulary, limit: float) -> tuple[Confident, Float[Tensor, "m h w"]]:
        """Ask places which classes are in the photo, and the dense head where: mask logits in the padded frame."""
        there = self._presence(self.model.classifier(vocabulary)[: len(vocabulary)], among=vocabulary)
        order = there.argsort(descending=True, stable=True)[:MOST_CLASSES]
        order = order[there[order] >= limit]
        answers = self._ask([Asked.of([Text(vocabulary.phrases[row])]) for row in order.tolist()])
        logits = [answers[place][0].logits for place in range(len(order))]
        sure = Confident(torch.arange(len(order)), there[order], order)
        return sure, torch.stack(logits) if logits else there.new_zeros(0, 1, 1)

    def instances(self, classes: Classes = None, threshold: float | None = None, top: int = 100) -> Results:
        """Segment every countable thing, best first; masks may overlap.

        The published rule: the `top` pairs of query and class, scored by class score times mean mask probability
        (taken at network size here). `threshold` (0-1; None = the model's own, 0.05, of nano 0.3) drops what scores
        lower; `classes` as in `panoptic`.
        """
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        own = self.model.network.config.instance_threshold
        limit = checked_share(own if threshold is None else threshold, "threshold")
        top = checked_count(top, "top")
        found, logits = self._classified(vocabulary)
        best = instance.candidates(logits, torch.tensor(vocabulary.is_thing), top)
        small = to_input(found.mask_logits, self._frame)
        sure = torch.stack([instance.foreground_probability(mask) for mask in small])
        scores = best.scores * sure[best.queries]
        order = [i for i in scores.argsort(descending=True).tolist() if scores[i] >= limit]
        queries = best.queries[order].tolist()
        full = {query: self._packed(to_output(small[query][None], self._frame)[0]) for query in set(queries)}
        kept = [(i, query) for i, query in zip(order, queries, strict=True) if full[query].area]
        return self._results(
            "instance",
            (full[query] for _, query in kept),
            [float(scores[i]) for i, _ in kept],
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(
                tuple(vocabulary[int(best.classes[i])].name for i, _ in kept),
                tuple(float(best.scores[i]) for i, _ in kept),
            ),
            kind="object queries",
            embeddings=found.class_vectors[[query for _, query in kept]],
        )

    def semantic(self, classes: Classes = None) -> Results:
        """Give every pixel a class; one mask for each class that is there. `classes` as in `panoptic`.

        With `Vocabulary.of(..., background=True)` a pixel may be none of the classes. `kind` of the result says who
        answered: the "object queries" (published rule), or the "places" of a model that knows what each of them means
        (nano).
        """
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        answer, kind = self._class_of_pixels(vocabulary)
        winners = answer.classes.cpu().numpy()
        present = [k for k in np.unique(winners).tolist() if k < len(vocabulary)]
        scores = [float(answer.scores[answer.classes == k].mean().clamp(0, 1)) for k in present]
        return self._results(
            "semantic",
            (winners == k for k in present),
            scores,
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(tuple(vocabulary[k].name for k in present), tuple(scores)),
            kind=kind,
            embeddings=self.model.classifier(vocabulary)[present],
        )

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
        if dense:
            return self._find_places(vocabulary, limit, against, started)
        found, logits = self._classified(vocabulary)
        rivals = self._rivals(vocabulary, against)
        with torch.no_grad():
            others = self.model.network.class_logits(found.class_vectors[None], rivals)[0]
        small = to_input(found.mask_logits, self._frame)
        fitting = everything_that_fits(with_rivals(logits, others), small, limit)
        queries = fitting.queries.tolist()
        masks = [self._packed(to_output(small[query][None], self._frame)[0]) for query in queries]
        return self._results(
            "find",
            masks,
            fitting.scores.tolist(),
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(
                tuple(vocabulary[k].name for k in fitting.phrases.tolist()), tuple(fitting.phrase_scores.tolist())
            ),
            kind="object queries",
            prompts=tuple((Text(phrase),) for phrase in vocabulary.names),
            embeddings=found.class_vectors[queries],
        )

    def _find_places(self, vocabulary: Vocabulary, limit: float, against: Classes, started: float) -> Results:
        """Ask a dense head for each phrase that is in the photo, and divide its mask into objects."""
        said = tuple((Text(phrase),) for phrase in vocabulary.names)
        sure = self._presence(self.model.classifier(vocabulary)[: len(said)], against)
        there = [row for row in sure.argsort(descending=True, stable=True).tolist() if sure[row] >= limit]
        answers = self._ask([Asked.of(said[row]) for row in there])
        found = [(row, part) for place, row in enumerate(there) for part in divide(answers[place][0].logits)]
        shares = torch.stack([part for _, part in found] or [sure.new_zeros(1, 1)])[: len(found)] > 0
        own = self._presence(self.model.classifier(vocabulary)[[row for row, _ in found]], against, regions=shares)
        likely = own >= limit
        best = {row: place for place, (row, _) in reversed([*enumerate(found)])}  # the largest part of what is there
        likely[[*best.values()]] = True
        order = [place for place in own.argsort(descending=True, stable=True).tolist() if likely[place]]
        once = distinct(shares[order], SAME_OBJECT)
        order = [order[place] for place in once]
        rows, parts = [found[place][0] for place in order], [found[place][1] for place in order]
        scores = own[order].tolist()
        return self._results(
            "find",
            [self._packed(to_photo(part[None], self._frame)[0]) for part in parts],
            scores,
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(tuple(vocabulary[row].name for row in rows), tuple(scores)),
            kind="phrase, its islands",
            prompts=said,
            embeddings=self.model.classifier(vocabulary)[rows] if rows else None,
        )

    # --- One object, or several --------------------------------------------------------------------------------------

    def segment(
        self,
        *prompts: Prompt,
        text_threshold: float | None = None,
        candidates: int = 1,
        second_look: bool = False,
    ) -> Results:
        """Segment the one object that all prompts together describe.

        Who answers: visual prompts, which also hear the phrases and see the reference; else the phrases; else the
        reference. `kind` of the result says it.

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

        Rows come in the order asked, phrases that are not found left out. Where the objects of a pass share the prompt
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
            nothing = Labels((), ())
            vocabulary = Vocabulary.coco_panoptic()
            return self._results("interactive", (), [], vocabulary, seconds=0.0, labels=nothing, kind="visual")
        return hand_over(self._answer([Asked.of([box]) for box in detected.boxes]), detected)

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
                the model's own, 0.7, of nano 0.5.
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
        settings = Settings(
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
        findings = find_everything(self._views(settings), self.hw, settings)
        masks = tuple(finding.mask for finding in findings)
        whole = bool(findings) and crop_n_layers == 0  # logits go back in only in the frame of the whole photo
        results = self._results(
            "everything",
            masks,
            [finding.proposal.predicted_iou for finding in findings],
            Vocabulary.coco_panoptic(),
            seconds=time.perf_counter() - started,
            labels=lambda: self._label(seen_small(masks, self._frame).to(self.model.device)),
            kind="object queries" if self.model.network.decoder.policy.visual is None else "object queries, visual",
            rules=(settings.rule,),
            logits=torch.stack([finding.logits for finding in findings]).cpu().numpy() if whole else None,
            embeddings=torch.stack([finding.vector for finding in findings]) if findings else None,
        )
        return replace(results, proposals=tuple(finding.proposal for finding in findings))

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
        at_own_size = self.images.input_hw[0] == working_size(self.hw, config.image)
        if config.whole_side is None or not at_own_size:
            return self
        with self._lock:
            if self._whole is None:
                self._whole = self.model.encode(self.picture, config.whole_side, max_pixels=self.hw[0] * self.hw[1])
            return self._whole

    def caption(self, region: VisualPrompt | None = None) -> str:
        """Describe the photo in a sentence, or the region that a visual prompt marks (X-Decoder models).

        Greedy, at most 50 word pieces, up to the first full stop (official behaviour). Raises `ValueError` for a model
        without captions.
        """
        network = self.model.network
        check_writes(self.model.name, network)
        there, hidden = self.whole, None
        if region is not None:
            region.check_inside(self.hw)
            drawn = np.ones(there.images.padded_hw, dtype=np.bool_)
            height, width = there._drawing.network_hw
            drawn[:height, :width] = ~region.rasterise(there._drawing)
            hidden = torch.from_numpy(drawn)[None].to(self.model.device)
        tokenizer = self.model.tokenizer
        with arithmetic(self.model.device, self.model.precision):
            words = write_caption(network, there._at_hand, tokenizer.begin, tokenizer.end, hidden)
        return first_sentence(tokenizer.decode(words))

    def similarity(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Score how well the whole photo fits each phrase, (N,) in -1 to 1 (X-Decoder models).

        The mean of two cosines, as in the official retrieval. Raises `ValueError` for a model that has no vector of
        whole photos.
        """
        network = self.model.network
        self.model._check_compares()
        if isinstance(phrases, str) or not phrases:
            raise ValueError(f"similarity takes a list of phrases, at least one; got {phrases!r}.")
        features = self.model.encode_phrases([Text(phrase).phrase for phrase in phrases])
        with arithmetic(self.model.device, self.model.precision):
            scores = fit_scores(image_vectors(network, self.whole._at_hand), features.phrases)[0]
        return scores.float().cpu().numpy()

    # --- How ---------------------------------------------------------------------------------------------------------

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
        for asked in objects:
            check_taken(asked, self.model.name, self.model.network)
            for prompt in asked.visual:
                prompt.check_inside(self.hw)
        default = self.model.network.config.text_threshold
        limit = checked_share(default if text_threshold is None else text_threshold, "text_threshold")
        started = time.perf_counter()
        answers = self._ask(objects, previous, 1 if candidates == 1 else SPARE * candidates)
        about = [
            (asked, answer)
            for row, asked in enumerate(objects)
            for answer in best_distinct(answers[row], candidates)
            if asked.visual or (answer.score >= limit and answer.is_somewhere)
        ]
        kept = [answer for _, answer in about]
        masks, small = self._masks(kept)
        if second_look:
            for row, (asked, answer) in enumerate(about):
                again = self._look_again(asked, answer)
                if again is not None and small is not None:
                    kept[row] = replace(answer, score=again.score)
                    masks[row] = self._packed(again.logits)
                    small[row] = as_previous(again.logits, self.images.input_hw[0], self.images.padded_hw)
        said, scores = [asked.said for asked, _ in about], [min(max(answer.score, 0.0), 1.0) for answer in kept]
        seconds = time.perf_counter() - started
        rules = {rasterisation_rule(p, self._drawing.polygon_rule) for asked in objects for p in asked.visual}
        kinds = dict.fromkeys(answer.kind for answer in kept) or {asked.kind_under(self.model.network): None}
        alone = candidates > 1 and len(answers[0]) == 1
        return self._results(
            "interactive",
            masks,
            scores,
            Vocabulary.coco_panoptic(),
            seconds=seconds,
            labels=(lambda: self._label(small).or_else(said, scores)) if small is not None else Labels((), ()),
            kind=", ".join(kinds),
            prompts=tuple(asked.prompts for asked in objects),
            rules=tuple(sorted(rules)),
            notes=(f"{self.model.name} has one query an object: no further candidates",) if alone else (),
            logits=None if small is None else small.cpu().numpy(),
            embeddings=torch.stack([answer.vector for answer in kept]) if kept else None,
        )

    def _masks(self, answers: Sequence[OneAnswer]) -> tuple[list[PackedMask], Float[Tensor, "n h4 w4"] | None]:
        """Bring answers to the photo's size, as masks, and to the size in which logits go in and out."""
        if not answers:
            return [], None
        logits = torch.stack([answer.logits for answer in answers]).float()
        masks = [self._packed(resized) for resized in each_to_photo(logits, self._frame)]
        return masks, coarse_logits(logits, self.images.padded_hw)

    def _packed(self, logits: Float[Tensor, "H W"]) -> PackedMask:
        """Keep what is inside, of mask logits at the photo's size."""
        return PackedMask.pack((logits > 0).cpu().numpy(), self.hw)

    def _look_again(self, asked: Asked, answer: OneAnswer) -> OneAnswer | None:
        """Zoom in on an answer to visual prompts: logits at the photo's size; None where nothing is to be gained."""
        if not asked.visual or not answer.is_somewhere:
            return None
        height, width = self.images.input_hw[0]
        drawn = self._draw([asked])
        marks = (drawn.inside | drawn.negative)[0, 0, :height, :width]
        seen = to_input(answer.logits[None], self._frame)[0] > 0
        window = window_around((seen | marks).cpu().numpy(), self.hw)
        if window is None:
            return None
        window, closer = self._closer(window)
        marks_there = prompts_in(window, asked.drawn)
        if not marks_there:
            return None
        first = to_photo(answer.logits[None], self._frame)[0]
        previous = previous_in(window, first, closer.images.input_hw[0], closer.images.padded_hw)
        second = closer._ask([replace(asked, prompts=marks_there, visual=marks_there)], previous)[0][0]
        return replace(second, logits=blend(first, window, to_photo(second.logits[None], closer._frame)[0]))

    def _closer(self, window: Window) -> tuple[Window, EncodedImage]:
        """Encode a window of the photo; the last one is kept, for the next click is about the same object."""
        with self._lock:
            if self._zoomed is None or not self._zoomed[0].serves(window):
                self._zoomed = (window, self.model.encode(self.picture.crop(window.box)))
            return self._zoomed

    def _ask(
        self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None = None, top: int = 1
    ) -> dict[int, list[OneAnswer]]:
        """Answer every object, in as few passes as may be: for each row the answers, best first."""
        answers: dict[int, list[OneAnswer]] = {}
        with arithmetic(self.model.device, self.model.precision):
            for rows in self._passes(objects):
                given = self._one_pass([objects[row] for row in rows], previous, top)
                answers.update(zip(rows, given, strict=True))
        return answers

    def _views(self, settings: Settings) -> Iterator[View]:
        """Look at the photo, then at its crops, one after the other."""
        height, width = self.hw
        yield self._view((0, 0, width, height), 0)
        for layer, box in crop_boxes(self.hw, settings.crop_n_layers, settings.crop_overlap_ratio):
            crop = self.model.encode(self.picture.crop(box), max_pixels=height * width)
            yield crop._view(box, layer)

    def _view(self, crop_box: Bounds, layer: int) -> View:
        """Run the object queries, and be ready for clicks where the model takes any."""
        found, logits = self._classified(Vocabulary.coco_panoptic())
        regions = rather_something(logits, found.mask_logits, found.class_vectors, self._frame)
        takes_clicks = self.model.network.decoder.policy.visual is not None
        return View(crop_box, layer, self._frame, regions, self._click_each if takes_clicks else None)

    def _click_each(self, points: NDArray[np.float64]) -> Masks:
        """Click at positions (N, 2): one object a click."""
        answers = self._ask([Asked.of([Point(float(x), float(y))]) for x, y in points])
        best = [answers[row][0] for row in range(len(points))]
        logits, vectors = torch.stack([one.logits for one in best]), torch.stack([one.vector for one in best])
        return Masks(logits, torch.tensor([one.score for one in best], device=logits.device), vectors)

    def _passes(self, objects: Sequence[Asked]) -> Iterator[list[int]]:
        """Group the objects that one decoder pass can answer, no more than leave each enough memory and tokens.

        Memory is for all objects of a pass or for none. Where a policy shares phrase rows between objects, every object
        with a phrase has a pass of its own; where prompts steer the object queries themselves, every object has.
        """
        policy = self.model.network.decoder.policy
        together: dict[bool, list[int]] = {False: [], True: []}
        for row, asked in enumerate(objects):
            if not policy.takes_many or (asked.words and policy.shares_phrases):
                yield [row]
            else:
                together[asked.previous is not None].append(row)
        for rows in together.values():
            only_clicks = all(isinstance(prompt, Point) for row in rows for prompt in objects[row].visual)
            most = OBJECTS_TOGETHER if policy.objects_apart or only_clicks else AREAS_TOGETHER
            yield from (rows[start : start + most] for start in range(0, len(rows), most))

    def _one_pass(
        self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None, top: int = 1
    ) -> list[list[OneAnswer]]:
        """Answer objects that share a pass: for each the answers of at most `top` queries, best first."""
        network = self.model.network
        references = {row: self._shown(asked.reference) for row, asked in enumerate(objects) if asked.reference}
        if network.decoder.policy.phrase is Kind.PHRASE and not objects[0].visual and not references:
            features = self.model.encode_phrases([phrase for phrase, _ in objects[0].phrases()])
            answer = answer_phrases(network, self._at_hand, features, FairDraws(), top)
            return [self._read(answer, objects[0], 0, 1)]
        words = self._words(objects)
        said = with_meanings(words.meant, references, len(objects))
        answer = segment_objects(
            network,
            self._at_hand,
            self._draw(objects),
            FairDraws(),
            phrases=words.written,
            previous=self._previous(objects, previous),
            reference=lay_out(references, len(objects)) if references else None,
            meant=said,
            audio=words.spoken,
            top=top,
        )
        if answer.quality is not None and self.memory.meaning is not None and said is not None:
            marked = torch.tensor([bool(asked.visual) for asked in objects], device=said.device)
            there = self._presence(unit(said[0].float()))
            answer = replace(answer, quality=torch.where(marked, answer.quality[0].float(), there)[None])
        return [self._read(answer, asked, row, len(objects)) for row, asked in enumerate(objects)]

    def _presence(
        self,
        vectors: Float[Tensor, "n d"],
        against: Classes = None,
        among: Vocabulary | None = None,
        regions: Bool[Tensor, "n h2 w2"] | None = None,
    ) -> Float[Tensor, " n"]:
        """Score how surely what vectors of the text space mean is in the photo, and not what has another name.

        With a region (padded frame, any stride) for each vector: is there, rather than in the photo. The names are
        `against`, None = COCO's, and all names of a vocabulary whose classes the vectors are.
        """
        meaning = self._at_hand.meaning
        assert meaning is not None
        height, width = (-(-side // MEANING_STRIDE) for side in self.images.input_hw[0])
        places = meaning[0, :, :height, :width]
        names = Vocabulary.coco_panoptic() if against is None or nobody(against) else Vocabulary.coerce(against)
        named = self.model.classifier(names)[-1 if nobody(against) else 0 :]  # the background speaks against anything
        if among is not None:
            fresh = [row for row, phrase in enumerate(among.phrases) if phrase not in set(names.phrases)]
            named = torch.cat((named, self.model.classifier(among)[fresh]))
        with torch.no_grad():
            network = self.model.network
            scale, even = float(network.text.logit_scale.exp()), network.config.even_presence
            if regions is None:
                return presence(places, vectors, named, scale, even)
            size = (meaning.shape[-2], meaning.shape[-1])
            shares = F.adaptive_avg_pool2d(regions.float(), size)[:, :height, :width]
            return presence_within(places, vectors, named, scale, even, shares)

    def _read(self, answer: ObjectMasks, asked: Asked, row: int, num_objects: int) -> list[OneAnswer]:
        """Read the answers about one object of a pass, best first."""
        each = answer.logits.shape[1] // num_objects
        kind = asked.kind_under(self.model.network)
        read = []
        for place in range(row * each, (row + 1) * each):
            logits = answer.logits[0, place].float()
            score = self._sureness(logits) if answer.quality is None else answer.quality[0, place]
            read.append(OneAnswer(logits, float(score), kind, answer.class_vectors[0, place].float()))
        return read

    def _sureness(self, logits: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
        """Score a mask of a model that predicts no quality: the mean probability inside it, at network size."""
        return instance.foreground_probability(to_input(logits[None].float(), self._frame)[0])

    def _words(self, objects: Sequence[Asked]) -> Words:
        """Encode all phrases of a pass. Spoken ones are told apart where the policy has rows for them (the demo)."""
        said = [(row, *phrase) for row, asked in enumerate(objects) for phrase in asked.phrases()]
        if not said:
            return Words()
        features = self.model.encode_phrases([phrase for _, phrase, _ in said])
        apart = self.model.network.decoder.policy.group(Kind.AUDIO_TOKENS) is not None
        owner = torch.tensor([row for row, _, _ in said], device=features.tokens.device)
        spoken = torch.tensor([heard and apart for _, _, heard in said], device=features.tokens.device)
        return words_of(features, owner, spoken, len(objects))

    def _shown(self, reference: Reference) -> Shown:
        """Look at what a reference means in its own photo; once for a model."""
        return reference.kept(self.model, lambda: self._look_there(reference))

    def _look_there(self, reference: Reference) -> Shown:
        given = reference.photo
        if isinstance(given, EncodedImage) and given.model is self.model:
            there = given if given._is_at_hand else given.to(self.model.device)
        else:
            there = self.model.encode(cast("PhotoLike", given.picture if isinstance(given, SeenPhoto) else given))
        try:
            region = there._region(reference)
        except ValueError as error:
            raise ValueError(f"In the reference, {there.name or 'a photo'}: {error}") from None
        return look_at(self.model.network, there.memory, region, FairDraws())

    def _region(self, reference: Reference) -> Bool[Tensor, "1 1 h w"]:
        """Draw the region that a reference means in this photo, at the network's padded resolution."""
        frame = replace(self._drawing, polygon_rule="filled")
        region = np.zeros(self.images.padded_hw, dtype=np.bool_)
        inside = region[: frame.network_hw[0], : frame.network_hw[1]]
        marks = reference.prompts
        if not reference.marks_region:
            found = self._answer([Asked.of(marks)], text_threshold=0.0)  # the user says that it is there
            marks = tuple(Mask(mask) for mask in found.iter_masks() if mask.any())
        for sign in (True, False):
            for mark in marks:
                if isinstance(mark, VisualPrompt) and mark.positive is sign:
                    inside[mark.rasterise(frame)] = sign
        if not region.any():
            raise ValueError("its prompts mean nothing there; mark a region with a Box or a Mask.")
        return torch.from_numpy(region)[None, None].to(self.model.device)

    def _draw(self, objects: Sequence[Asked]) -> VisualPrompts:
        """Rasterise the visual prompts of every object at network resolution."""
        maps = np.zeros((3, len(objects), *self.images.padded_hw), dtype=np.bool_)
        height, width = self._drawing.network_hw
        for row, asked in enumerate(objects):
            for prompt in asked.drawn:
                layer = 2 if isinstance(prompt, Box) else 0 if prompt.positive else 1
                maps[layer, row, :height, :width] |= prompt.rasterise(self._drawing)
        positive, negative, bounds = torch.from_numpy(maps)[:, None].to(self.model.device)
        return VisualPrompts(positive, negative, bounds)

    def _previous(
        self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None
    ) -> Float[Tensor, "1 n h w"] | None:
        """Return the previous masks: a session's, or logits that were handed in."""
        handed = [asked.previous for asked in objects if asked.previous is not None]
        if previous is not None:
            return previous.to(self.model.device)
        if not handed:
            return None
        height, width = (side // 4 for side in self.images.padded_hw)
        for logits in handed:
            if logits.shape[-2:] != (height, width):
                raise ValueError(
                    f"The mask logits are {logits.shape[-1]} x {logits.shape[-2]}, this photo's {width} x {height}; "
                    "hand in logits of the same photo, encoded at the same size."
                )
        stacked = np.stack([logits.reshape(height, width) for logits in handed])
        return torch.from_numpy(stacked)[None].to(self.model.device)

    def _label(self, small: Float[Tensor, "n h w"]) -> Labels:
        """Name masks by what their places mean, or else by the object queries that cover the same pixels.

        Those run if nobody has asked for them yet.
        """
        vocabulary = Vocabulary.coco_panoptic()
        if self.memory.meaning is not None:
            classifier = self.model.classifier(vocabulary)
            with torch.no_grad():
                vectors = meant(self._at_hand, small)
                named = label_places(self.model.network.class_logits(vectors[None], classifier)[0])
        else:
            found, logits = self._classified(vocabulary)
            height, width = (-(-side // 4) for side in self.images.input_hw[0])  # padding is nobody's
            named = label_masks(small[:, :height, :width], found.mask_logits[:, :height, :width], logits)
        return Labels(
            tuple(None if category is None else vocabulary[category].name for category in named.categories),
            named.scores,
        )

    def _classified(self, vocabulary: Vocabulary) -> tuple[ObjectQueries, Float[Tensor, "q k1"]]:
        found = self._object_queries()
        classifier = self.model.classifier(vocabulary)
        with torch.no_grad():
            logits = self.model.network.class_logits(found.class_vectors[None], classifier)[0]
        if self.model.network.mask_refiner is not None:
            logits[:, -1] = NEVER  # an answer to a click is something; what of it has no name is nobody's class
        return found, logits

    def _class_of_pixels(self, vocabulary: Vocabulary) -> tuple[BestClasses, str]:
        """Ask every pixel for its class; returns who answered, too."""
        meaning = self._at_hand.meaning
        if meaning is None:
            found, logits = self._classified(vocabulary)
            return semantic.best_classes(
                logits, found.mask_logits, self._frame, vocabulary.background
            ), "object queries"
        places = meaning[0].float()
        with torch.no_grad():
            said = self.model.network.class_logits(places.flatten(1).T[None], self.model.classifier(vocabulary))
        logits = torch.unflatten(said[0].T, 1, places.shape[1:])
        return semantic.nearest_names(logits, self._frame, vocabulary.background), "places"

    def _rivals(self, vocabulary: Vocabulary, against: Classes) -> Float[Tensor, "r d"]:
        """Return the embeddings of the names that compete with what is looked for."""
        looked_for = self.model.classifier(vocabulary)[:-1]
        if against is None:
            names = Vocabulary.coco_panoptic()
            table = self.model.classifier(names)[:-1]
            return table[competing(vocabulary.phrases, looked_for, names.phrases, table)]
        if nobody(against):
            return looked_for[:0]
        names = Vocabulary.coerce(against)
        said = {phrase.casefold() for phrase in vocabulary.phrases}
        kept = [row for row, phrase in enumerate(names.phrases) if phrase.casefold() not in said]
        return self.model.classifier(names)[kept]

    def _object_queries(self) -> ObjectQueries:
        """Run the object queries, at most once per photo."""
        with self._lock:
            if self._objects is None:
                with arithmetic(self.model.device, self.model.precision):
                    self._objects = self._find_objects()
            return self._objects

    def _find_objects(self) -> ObjectQueries:
        network = self.model.network
        if network.mask_refiner is not None:
            found = propose(network, self._at_hand, self.images.input_hw[0], FairDraws())
            return ObjectQueries(found.class_vectors, found.mask_logits)
        regions = network.decode(self._at_hand, Question(), network.decoder.policy.found).regions
        masks = dot(regions.mask_embeddings, self.memory.pixels.mask_features)
        return ObjectQueries(regions.class_vectors[0].float(), masks[0].float())

    @property
    def _is_at_hand(self) -> bool:
        here, model = self.memory.pixels.mask_features.device, self.model.device
        return here.type == model.type and model.index in (None, here.index)

    @property
    def _at_hand(self) -> ImageMemory:
        """What the image network made of the photo, if it is where the model is."""
        if not self._is_at_hand:
            here, model = self.memory.pixels.mask_features.device, self.model.device
            raise ValueError(f"The photo is on {here}, its model on {model}; ask photo.to('{model}').")
        return self.memory

    @property
    def _frame(self) -> PhotoFrame:
        resampling = self.model.network.decoder.policy.resampling
        return PhotoFrame(self.images.padded_hw, self.images.input_hw[0], self.hw, resampling)

    @property
    def _drawing(self) -> Frame:
        return Frame(self.hw, self.images.input_hw[0], self.model.network.config.polygon_rule)

    def _results(
        self,
        task: str,
        masks: Iterable[NDArray[np.bool_] | PackedMask],
        scores: Sequence[float],
        vocabulary: Vocabulary,
        *,
        seconds: float,
        labels: Labels | Callable[[], Labels],
        kind: str,
        prompts: tuple[tuple[Prompt, ...], ...] = (),
        rules: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        logits: NDArray[np.float32] | None = None,
        embeddings: Float[Tensor, "n d"] | None = None,
    ) -> Results:
        provenance = Provenance(
            task=task,
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.model.precision,
            prompts=prompts,
            seconds={"encode": self.encode_seconds, task: seconds},
            rules=rules,
            notes=(*self.photo.notes, *notes),
            photo_name=self.photo.name,
            orientation=self.photo.orientation,
        )
        return Results.of(
            self.photo.picture,
            masks,
            [min(max(score, 0.0), 1.0) for score in scores],
            vocabulary=vocabulary,
            kind=kind,
            provenance=provenance,
            labels=labels,
            logits=logits,
            embeddings=None if embeddings is None else unit(embeddings.float()).cpu().numpy(),
        )


def nobody(against: Classes) -> bool:
    """Whether a list of names is there and empty."""
    return against is not None and not isinstance(against, (str, Vocabulary)) and not against
