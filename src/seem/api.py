"""The door: a model, a photo that it has looked at, and a conversation about one object.

A `Model` (`seem.load` makes one) encodes a photo once; ask the `EncodedImage` any number of questions; a `Session`
keeps rounds. A model is safe to use from several threads: a call stores nothing on it but class embeddings, which are
kept by content.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from seem.checkpoints.network import LoadedNetwork
from seem.config import ImageConfig
from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import Kind
from seem.models.ops.masks import dot
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter, unit
from seem.models.structures import ImageBatch, PhraseTokens, Question, TextFeatures, VisualPrompts
from seem.models.text.templates import BARE, TEMPLATES, class_phrases
from seem.models.text.tokenizer import BytePairTokenizer
from seem.photos import MAX_PIXELS, Photo, PhotoLike, read_photo
from seem.prompts import Frame, Mask, Prompt, Text, VisualPrompt, rasterisation_rule
from seem.results import Labels, Provenance, Results
from seem.tasks import instance, panoptic, semantic
from seem.tasks.caption import first_sentence, write_caption
from seem.tasks.interactive import ObjectMasks, segment_objects
from seem.tasks.labels import label_masks
from seem.tasks.phrase import segment_phrases
from seem.tasks.postprocess import PhotoFrame, to_input, to_output, to_photo, to_photo_masks
from seem.tasks.retrieval import fit_scores, image_vectors
from seem.vocabulary import Vocabulary

Classes: TypeAlias = "Vocabulary | Sequence[str] | None"

BACKGROUND = "background"
"""The no-object class: encoded like any other name, last in every classifier (official behaviour)."""

KEPT_CLASS_LISTS = 32  # embeddings of so many class lists stay on a model, the oldest go first
TEXT_BATCH = 512  # phrases encoded together, which bounds memory


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
        `EncodedImage.similarity` does.
        """
        scores = [float(photo.similarity([phrase])[0]) for photo in photos]
        order = sorted(range(len(photos)), key=lambda row: -scores[row])
        return tuple(Ranked(row, scores[row]) for row in order)

    def classifier(self, vocabulary: Vocabulary) -> Float[Tensor, "k1 d"]:
        """Return the normalised embedding of every class, the background last; kept for the next call.

        The published rule: every name in every template, the mean of the normalised vectors, normalised.
        """
        with self._lock:
            known = self._classifiers.get(vocabulary.key)
            if known is None:
                known = self._encode_classes([*vocabulary.phrases, BACKGROUND])
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

    def _encode_classes(self, names: Sequence[str]) -> Float[Tensor, "k1 d"]:
        templates = TEMPLATES if self.network.config.text.templates == "all" else (BARE.removesuffix("."),)
        phrases = class_phrases(names, templates)
        vectors = torch.cat([
            unit(self.encode_phrases(phrases[start : start + TEXT_BATCH]).phrases.float())
            for start in range(0, len(phrases), TEXT_BATCH)
        ])  # fmt: skip
        means: Tensor = torch.unflatten(vectors, 0, (len(names), len(templates))).mean(dim=1)
        length: Tensor = means.norm(dim=-1, keepdim=True)
        return means / length


@dataclass(frozen=True, slots=True)
class Ranked:
    """A photo of a list, by its place in it, and how well it fits (-1 to 1)."""

    index: int
    score: float


def prepare(photo: Photo, config: ImageConfig, size: int | None = None) -> ImageBatch:
    """Resize (antialiased bicubic), normalise and pad a photo."""
    if size is not None and not (isinstance(size, Integral) and size >= config.divisor):
        raise ValueError(f"size is {size!r}; the short side is a whole number of pixels, at least {config.divisor}.")
    height, width = working_size(photo.hw, config, size)
    resized = photo.picture.resize((width, height), Image.Resampling.BICUBIC)
    return normalise(np.asarray(resized), config)


def working_size(hw: tuple[int, int], config: ImageConfig, size: int | None = None) -> tuple[int, int]:
    """Return the network size of a photo: short side as configured unless the long side would pass its limit."""
    short = size or config.short_side
    long = config.long_side * short / config.short_side
    scale = min(short / min(hw), long / max(hw))
    return max(1, int(hw[0] * scale + 0.5)), max(1, int(hw[1] * scale + 0.5))


def normalise(pixels: NDArray[np.uint8], config: ImageConfig) -> ImageBatch:
    """Normalise an H x W x 3 picture that has its network size, and pad it with zeros."""
    raw = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    height, width = pixels.shape[:2]
    padding = (0, -width % config.divisor, 0, -height % config.divisor)
    return ImageBatch(F.pad((raw - mean) / std, padding), ((height, width),))


@dataclass(frozen=True, slots=True)
class ObjectQueries:
    """What the object queries found, once per photo: class vectors and mask logits at stride 4, unpadded frame kept."""

    class_vectors: Float[Tensor, "q d"]
    mask_logits: Float[Tensor, "q h w"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts about one object, sorted by kind."""

    prompts: tuple[Prompt, ...]
    visual: tuple[VisualPrompt, ...]
    phrases: tuple[str, ...]

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Asked:
        """Sort and check what is asked about one object."""
        prompts = tuple(prompts)
        if not prompts:
            raise ValueError("There is no prompt; pass a Point, Box, Stroke, Scribble, Polygon, Mask or Text.")
        for prompt in prompts:
            if not isinstance(prompt, Prompt):
                raise ValueError(not_a_prompt(prompt))
        visual = tuple(p for p in prompts if not isinstance(p, Text))
        phrases = tuple(p.phrase for p in prompts if isinstance(p, Text))
        if visual and not phrases and not any(p.positive for p in visual):
            raise ValueError("All prompts are negative; add at least one that says what is meant.")
        return cls(prompts, visual, phrases)

    @property
    def previous(self) -> NDArray[np.float32] | None:
        """Mask logits that were handed in; they count as the previous round's answer."""
        given = [p.logits for p in self.visual if isinstance(p, Mask) and p.logits is not None]
        return given[-1] if given else None

    @property
    def drawn(self) -> tuple[VisualPrompt, ...]:
        """The prompts that become marks: all, but mask logits only if nothing else says where the object is."""
        marks = tuple(p for p in self.visual if not (isinstance(p, Mask) and p.logits is not None))
        return marks if any(p.positive for p in marks) else self.visual


@dataclass(slots=True, eq=False)
class EncodedImage:
    """A photo that a model has looked at; ask it anything. Owns everything that was computed from its pixels."""

    model: Model
    photo: Photo
    images: ImageBatch
    memory: ImageMemory
    encode_seconds: float
    _objects: ObjectQueries | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __repr__(self) -> str:
        height, width = self.photo.hw
        return f"<EncodedImage {self.photo.name or 'photo'}, {width} x {height} pixels, by {self.model.name}>"

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the photo as shown, in pixels: the frame of prompts and masks."""
        return self.photo.hw

    # --- Every thing and every region --------------------------------------------------------------------------------

    def panoptic(self, classes: Classes = None, threshold: float | None = None) -> Results:
        """Segment every thing and stuff region; masks do not overlap.

        Args:
            classes: names or a `Vocabulary`; None = the 133 COCO panoptic categories.
            threshold: class score (0-1) that a region needs; None = the model's own (published: 0.8).
        """
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        config = self.model.network.config
        limit = checked_share(config.panoptic_threshold if threshold is None else threshold, "threshold")
        found, logits = self._classified(vocabulary)
        sure = panoptic.confident(logits, limit)
        masks = to_photo(found.mask_logits[sure.queries], self._frame)
        merged = panoptic.merge_confident(sure, masks, torch.tensor(vocabulary.is_thing))
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
            kind="object queries",
        )

    def instances(self, classes: Classes = None, threshold: float | None = None, top: int = 100) -> Results:
        """Segment every countable thing, best first; masks may overlap.

        The published rule: the `top` pairs of query and class, scored by class score times mean mask probability
        (taken at network size here). `threshold` (0-1, default 0.05) drops what scores lower; `classes` as in
        `panoptic`.
        """
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        limit = checked_share(0.05 if threshold is None else threshold, "threshold")
        if top < 1:
            raise ValueError(f"top is {top}; it must be at least 1.")
        found, logits = self._classified(vocabulary)
        best = instance.candidates(logits, torch.tensor(vocabulary.is_thing), top)
        small = to_input(found.mask_logits, self._frame)
        sure = torch.stack([instance.foreground_probability(mask) for mask in small])
        scores = best.scores * sure[best.queries]
        order = [i for i in scores.argsort(descending=True).tolist() if scores[i] >= limit]
        queries = best.queries[order].tolist()
        full = {query: (to_output(small[query][None], self._frame)[0] > 0).cpu().numpy() for query in set(queries)}
        kept = [(i, query) for i, query in zip(order, queries, strict=True) if full[query].any()]
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
        )

    def semantic(self, classes: Classes = None) -> Results:
        """Give every pixel a class; one mask for each class that is there. `classes` as in `panoptic`."""
        started = time.perf_counter()
        vocabulary = Vocabulary.coerce(classes)
        found, logits = self._classified(vocabulary)
        answer = semantic.best_classes(logits, found.mask_logits, self._frame)
        winners = answer.classes.cpu().numpy()
        present = np.unique(winners).tolist()
        scores = [float(answer.scores[answer.classes == k].mean().clamp(0, 1)) for k in present]
        return self._results(
            "semantic",
            (winners == k for k in present),
            scores,
            vocabulary,
            seconds=time.perf_counter() - started,
            labels=Labels(tuple(vocabulary[k].name for k in present), tuple(scores)),
            kind="object queries",
        )

    # --- One object, or several --------------------------------------------------------------------------------------

    def segment(self, *prompts: Prompt, text_threshold: float | None = None) -> Results:
        """Segment the one object that all prompts together describe.

        A visual prompt answers and also hears the phrases; phrases alone answer by themselves. The result has one
        object, or none when a phrase scores below `text_threshold` (0-1; None = the model's own).

        Raises `ValueError` for no prompt, negative prompts alone, and prompts outside the photo.
        """
        return self.segment_many([prompts], text_threshold=text_threshold)

    def segment_many(self, objects: Sequence[Sequence[Prompt]], *, text_threshold: float | None = None) -> Results:
        """Segment several objects, each described by its own prompts; in one pass wherever the model allows.

        Rows come in the order asked, phrases that are not found left out. Errors as in `segment`.
        """
        check_lists(objects)
        return self._answer([Asked.of(prompts) for prompts in objects], text_threshold)

    def session(self) -> Session:
        """Begin a conversation about one object: rounds with memory, and undo."""
        return Session(self)

    # --- Words for the whole ------------------------------------------------------------------------------------------

    def caption(self, region: VisualPrompt | None = None) -> str:
        """Describe the photo in a sentence, or the region that a visual prompt marks (X-Decoder models).

        Greedy, at most 50 word pieces, up to the first full stop (official behaviour). Raises `ValueError` for a model
        without captions.
        """
        network = self.model.network
        if network.decoder.captions is None:
            raise ValueError(f"{self.model.name} writes no captions; load an X-Decoder, for example xdecoder-focal-t.")
        hidden = None
        if region is not None:
            region.check_inside(self.hw)
            drawn = np.ones(self.images.padded_hw, dtype=np.bool_)
            height, width = self._drawing.network_hw
            drawn[:height, :width] = ~region.rasterise(self._drawing)
            hidden = torch.from_numpy(drawn)[None].to(self.model.device)
        tokenizer = self.model.tokenizer
        with arithmetic(self.model.device, self.model.precision):
            words = write_caption(network, self.memory, tokenizer.begin, tokenizer.end, hidden)
        return first_sentence(tokenizer.decode(words))

    def similarity(self, phrases: Sequence[str]) -> NDArray[np.float32]:
        """Score how well the whole photo fits each phrase, (N,) in -1 to 1 (X-Decoder models).

        The mean of two cosines, as in the official retrieval. Raises `ValueError` for a model that has no vector of
        whole photos.
        """
        network = self.model.network
        if self.memory.summary is None:
            raise ValueError(f"{self.model.name} compares no whole photos; load an X-Decoder, e.g. xdecoder-focal-t.")
        features = self.model.encode_phrases([Text(phrase).phrase for phrase in phrases])
        with arithmetic(self.model.device, self.model.precision):
            scores = fit_scores(image_vectors(network, self.memory), features.phrases)[0]
        return scores.float().cpu().numpy()

    # --- How ---------------------------------------------------------------------------------------------------------

    def _answer(
        self,
        objects: Sequence[Asked],
        text_threshold: float | None = None,
        previous: Float[Tensor, "1 n h w"] | None = None,
    ) -> Results:
        if not objects:
            raise ValueError("There is no object to segment; pass at least one list of prompts.")
        for asked in objects:
            for prompt in asked.visual:
                prompt.check_inside(self.hw)
        default = self.model.network.config.text_threshold
        limit = checked_share(default if text_threshold is None else text_threshold, "text_threshold")
        started = time.perf_counter()
        answers: dict[int, OneAnswer] = {}
        with arithmetic(self.model.device, self.model.precision):
            for rows in self._passes(objects):
                group = [objects[row] for row in rows]
                answers.update(zip(rows, self._one_pass(group, previous), strict=True))
        ordered = [answers[row] for row in range(len(objects))]
        kept = [
            row
            for row, answer in enumerate(ordered)
            if objects[row].visual or (answer.score >= limit and answer.is_somewhere)
        ]
        logits = torch.stack([ordered[row].logits for row in kept]) if kept else None
        nothing = np.zeros((0, *self.hw), dtype=np.bool_)
        masks = nothing if logits is None else to_photo_masks(logits.float(), self._frame).cpu().numpy()
        small = coarse_logits(logits, self.images.padded_hw) if logits is not None else None
        seconds = time.perf_counter() - started
        rules = {rasterisation_rule(p, self._drawing.polygon_rule) for asked in objects for p in asked.visual}
        kinds = dict.fromkeys(ordered[row].kind for row in kept) or {"phrase": None}
        return self._results(
            "interactive",
            masks,
            [ordered[row].score for row in kept],
            Vocabulary.coco_panoptic(),
            seconds=seconds,
            labels=(lambda: self._label(small)) if small is not None else Labels((), ()),
            kind=", ".join(kinds),
            prompts=tuple(asked.prompts for asked in objects),
            rules=tuple(sorted(rules)),
            logits=None if small is None else small.cpu().numpy(),
        )

    def _passes(self, objects: Sequence[Asked]) -> Iterator[list[int]]:
        """Group the objects that one decoder pass can answer.

        Memory is for all objects of a pass or for none. Where a policy shares phrase rows between objects, every object
        with a phrase has a pass of its own; where prompts steer the object queries themselves, every object has.
        """
        policy = self.model.network.decoder.policy
        together: dict[bool, list[int]] = {False: [], True: []}
        for row, asked in enumerate(objects):
            if not policy.takes_many or (asked.phrases and policy.shares_phrases):
                yield [row]
            else:
                together[asked.previous is not None].append(row)
        yield from (rows for rows in together.values() if rows)

    def _one_pass(self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None) -> list[OneAnswer]:
        network = self.model.network
        policy = network.decoder.policy
        phrases = self._phrase_rows(objects)
        if not objects[0].visual and policy.phrase is not Kind.VISUAL:
            features = self.model.encode_phrases(objects[0].phrases)
            logits = segment_phrases(network, self.memory, features, FairDraws())
            return [OneAnswer(logits, float(self._sureness(logits)), "phrase")]
        prompts = self._draw(objects)
        answer = segment_objects(network, self.memory, prompts, FairDraws(), phrases, self._previous(objects, previous))
        return [self._read(answer, n, asked) for n, asked in enumerate(objects)]

    def _read(self, answer: ObjectMasks, row: int, asked: Asked) -> OneAnswer:
        logits = answer.logits[0, row].float()
        score = self._sureness(logits) if answer.quality is None else answer.quality[0, row]
        kind = "phrase" if not asked.visual else "visual, hearing the phrase" if asked.phrases else "visual"
        return OneAnswer(logits, float(score), kind)

    def _sureness(self, logits: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
        """Score a mask of a model that predicts no quality: the mean probability inside it, at network size."""
        return instance.foreground_probability(to_input(logits[None].float(), self._frame)[0])

    def _phrase_rows(self, objects: Sequence[Asked]) -> PhraseTokens | None:
        """Encode all phrases of a pass as decoder rows that belong to their objects."""
        spoken = [(owner, phrase) for owner, asked in enumerate(objects) for phrase in asked.phrases]
        if not spoken:
            return None
        features = self.model.encode_phrases([phrase for _, phrase in spoken])
        owner = torch.tensor([owner for owner, _ in spoken], device=features.tokens.device)
        owners = owner[:, None].expand_as(features.valid)[features.valid]
        return PhraseTokens(features.tokens[features.valid][None], owners[None])

    def _draw(self, objects: Sequence[Asked]) -> VisualPrompts:
        """Rasterise the visual prompts of every object at network resolution."""
        maps = {sign: np.zeros((len(objects), *self.images.padded_hw), dtype=np.bool_) for sign in (True, False)}
        height, width = self._drawing.network_hw
        for row, asked in enumerate(objects):
            for prompt in asked.drawn:
                maps[prompt.positive][row, :height, :width] |= prompt.rasterise(self._drawing)
        positive, negative = (torch.from_numpy(maps[sign])[None].to(self.model.device) for sign in (True, False))
        return VisualPrompts(positive, negative)

    def _previous(
        self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None
    ) -> Float[Tensor, "1 n h w"] | None:
        """Return the previous masks: a session's, or logits that were handed in."""
        handed = [asked.previous for asked in objects if asked.previous is not None]
        if previous is not None or not handed:
            return previous
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
        """Name masks by the object queries that cover the same pixels; runs them if nobody has yet."""
        vocabulary = Vocabulary.coco_panoptic()
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
            return found, self.model.network.class_logits(found.class_vectors[None], classifier)[0]

    def _object_queries(self) -> ObjectQueries:
        """Run the object queries, at most once per photo."""
        with self._lock:
            if self._objects is None:
                with arithmetic(self.model.device, self.model.precision):
                    network = self.model.network
                    regions = network.decode(self.memory, Question(), network.decoder.policy.found).regions
                    masks = dot(regions.mask_embeddings, self.memory.pixels.mask_features)
                self._objects = ObjectQueries(regions.class_vectors[0].float(), masks[0].float())
            return self._objects

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
        masks: Iterator[NDArray[np.bool_]] | Sequence[NDArray[np.bool_]] | NDArray[np.bool_],
        scores: Sequence[float],
        vocabulary: Vocabulary,
        *,
        seconds: float,
        labels: Labels | Callable[[], Labels],
        kind: str,
        prompts: tuple[tuple[Prompt, ...], ...] = (),
        rules: tuple[str, ...] = (),
        logits: NDArray[np.float32] | None = None,
    ) -> Results:
        provenance = Provenance(
            task=task,
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.model.precision,
            prompts=prompts,
            seconds={"encode": self.encode_seconds, task: seconds},
            rules=rules,
            notes=self.photo.notes,
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
        )


@dataclass(frozen=True, slots=True)
class OneAnswer:
    """The mask of one object: logits in the padded network frame, score, and which rule answered."""

    logits: Float[Tensor, "h w"]
    score: float
    kind: str

    @property
    def is_somewhere(self) -> bool:
        """Whether any pixel is inside."""
        return bool((self.logits > 0).any())


class Session:
    """Rounds about one object: every answer becomes the memory of the next round.

    `add` returns the new result; `undo` takes the last `add` back, memory and all. Not for several threads at once.
    """

    def __init__(self, photo: EncodedImage) -> None:
        self.photo = photo
        self._rounds: list[Round] = []

    def __repr__(self) -> str:
        return (
            f"<Session on {self.photo.photo.name or 'photo'}: {len(self._rounds)} rounds, {len(self.prompts)} prompts>"
        )

    def add(self, *prompts: Prompt) -> Results:
        """Add prompts to those so far and answer again, remembering the previous mask.

        `Mask(logits=...)` takes the place of the previous mask in this round.
        Raises `ValueError` as `EncodedImage.segment` does; the session is then as it was before.
        """
        said = Asked.of((*self.prompts, *prompts))
        if not prompts:
            raise ValueError("add() needs at least one prompt; read the last answer from .result.")
        handed_in = any(isinstance(prompt, Mask) and prompt.logits is not None for prompt in prompts)
        previous = self._rounds[-1].logits if self._rounds and not handed_in else None
        result = self.photo._answer([said], text_threshold=0.0, previous=previous)
        logits = None
        if result.logits is not None and len(result):
            logits = torch.from_numpy(np.array(result.logits))[None].to(self.photo.model.device)
        self._rounds.append(Round(said.prompts, logits, result))
        return result

    def undo(self) -> Results | None:
        """Forget the last `add`; returns the result before it, None at the beginning."""
        if not self._rounds:
            raise ValueError("There is nothing to undo.")
        self._rounds.pop()
        return self.result

    def reset(self) -> None:
        """Forget everything; the photo stays encoded."""
        self._rounds.clear()

    @property
    def result(self) -> Results | None:
        """The latest answer, None before the first prompt."""
        return self._rounds[-1].result if self._rounds else None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Everything said so far, in order."""
        return self._rounds[-1].prompts if self._rounds else ()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a session: all prompts so far, and what they gave."""

    prompts: tuple[Prompt, ...]
    logits: Float[Tensor, "1 1 h w"] | None
    result: Results


def coarse_logits(logits: Float[Tensor, "n h w"], padded_hw: tuple[int, int]) -> Float[Tensor, "n h4 w4"]:
    """Bring mask logits to stride 4, the size in which they go in and out."""
    hw = (padded_hw[0] // 4, padded_hw[1] // 4)
    return logits.float() if logits.shape[-2:] == hw else F.adaptive_avg_pool2d(logits.float(), hw)


def check_lists(objects: Sequence[object] | Prompt) -> None:
    """Raise `ValueError` unless several objects come as a list of lists."""
    for prompts in (objects,) if isinstance(objects, Prompt) else objects:
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise ValueError(
                f"segment_many takes a list of lists of prompts, one list for each object; got {prompts!r}."
            )


def not_a_prompt(given: object) -> str:
    """Say what may have been meant by something that is no prompt."""
    if isinstance(given, (list, tuple)) and all(isinstance(part, Prompt) for part in given):
        return f"A {type(given).__name__} is no prompt; pass the prompts one by one, segment(*prompts)."
    what = type(given).__name__ if isinstance(given, (np.ndarray, Tensor)) else repr(given)
    return (
        f"{what} is no prompt; pass seem.Point(x, y), seem.Box(...), seem.Mask(array), seem.Text(phrase) or the like."
    )


def checked_share(value: float, name: str) -> float:
    """Return a threshold that lies in 0-1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; it must be between 0 and 1.")
    return float(value)
