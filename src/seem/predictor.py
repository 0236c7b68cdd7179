"""What a network answers about one encoded photo: a question becomes passes of the decoder, their answers become masks.

`EncodedImage` is the door to it, and says what each question means. The file reads in this order: what goes out, one
object or several, how a pass is put together, a closer look, what another photo shows, what is there, words for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.asking import Asked, check_taken
from seem.images import MAX_PIXELS, InputImage
from seem.mask_codec import PackedMask
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import outline_logits
from seem.models.ops.masks import dot
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import DecoderQuery, ImageBatch, TextFeatures, VisualPrompts
from seem.models.text.tokenizer import BytePairTokenizer
from seem.prompts import Box, Mask, Point, Reference, VisualPrompt
from seem.rasterize import PixelBox, RasterFrame
from seem.results import Labels
from seem.tasks import instance
from seem.tasks.caption import write_caption
from seem.tasks.interactive import ObjectMasks, OneAnswer, best_distinct, coarse_logits, outlined, segment_objects
from seem.tasks.labels import label_masks, label_places
from seem.tasks.phrase import Words, answer_phrases, words_of
from seem.tasks.postprocess import ImageFrame, each_to_image_size, to_image_size, to_input_size
from seem.tasks.presence import SAME_CLASS, SAME_MEANING, likelihoods, presence, presence_within
from seem.tasks.proposals import meant, propose
from seem.tasks.reference import Shown, lay_out, look_at, with_meanings
from seem.tasks.retrieval import fit_scores, image_vectors
from seem.tasks.second_look import Window, as_previous, blend, previous_in, prompts_in, window_around
from seem.vocabulary import Classes, Vocabulary

SPARE = 4  # queries looked at for every candidate asked for; some answer with the same mask
OBJECTS_TOGETHER = 64  # objects answered in one pass, which bounds memory
AREAS_TOGETHER = 8  # the same where objects share the pixels that become tokens and any is more than a click
NEVER = -1e4  # logit of what is no answer
MEANING_STRIDE = 4  # network pixels of a place of the map of meaning
QUOTED = 60  # characters of a phrase that a note quotes


class Encoding(Protocol):
    """A model as a predictor needs it: `Model` is one."""

    name: str
    device: torch.device
    precision: Precision
    network: Segmenter
    classes: Vocabulary | None

    @property
    def tokenizer(self) -> BytePairTokenizer:
        """What turns phrases into token ids."""
        ...

    def vocabulary(self, classes: Classes = None) -> Vocabulary:
        """Read a `classes` argument: None are the model's own, or else COCO's 133."""
        ...

    def encode_phrases(self, phrases: Sequence[str]) -> TextFeatures:
        """Encode phrases to vectors, not normalised."""
        ...

    def classifier(self, vocabulary: Vocabulary) -> Float[Tensor, "k1 d"]:
        """Return the normalised embedding of every class, the background last."""
        ...

    def _look_at(self, photo: object, max_pixels: int = MAX_PIXELS) -> Predictor:
        """Encode another photo, or part of one; what is encoded already stays."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The rows of a result: masks and scores, what they are called, who answered, and class vectors of any length.

    `logits` are those of the masks at stride 4 in the padded network frame, where they may go in again; `ids` tell rows
    of which object they are, None = 1, 2, 3, ...; `notes` say what a reader must know.
    """

    masks: Sequence[PackedMask]
    scores: Sequence[float]
    labels: Labels | Callable[[], Labels]
    kind: str
    vectors: Float[Tensor, "n d"] | None = None
    logits: Float[Tensor, "n h4 w4"] | None = None
    notes: tuple[str, ...] = ()
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ObjectQueries:
    """What the object queries found: class vectors, and mask logits at stride 4, unpadded frame kept."""

    class_vectors: Float[Tensor, "q d"]
    mask_logits: Float[Tensor, "q h w"]


@dataclass(slots=True, eq=False)
class Predictor:
    """A photo as a network has seen it, ready to be asked; keeps what the questions share.

    That is the answer of the object queries, and the part of the photo that was looked at last. Safe to use from
    several threads. Every question raises `ValueError` while the photo is on another device than its model.
    """

    model: Encoding
    photo: InputImage
    images: ImageBatch
    _memory: ImageEncoding
    frame: ImageFrame = field(init=False)
    drawing: RasterFrame = field(init=False)
    _objects: ObjectQueries | None = field(init=False, default=None)
    _zoomed: tuple[Window, Predictor] | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        config, policy = self.model.network.config, self.model.network.decoder.policy
        padded_hw, input_hw = self.images.padded_hw, self.images.input_hw[0]
        self.frame = ImageFrame(padded_hw, input_hw, self.photo.hw, policy.resampling)
        self.drawing = RasterFrame(self.photo.hw, input_hw, config.polygon_rule)

    @property
    def is_at_hand(self) -> bool:
        """Whether the photo is where its model is."""
        here, model = self._memory.pixels.mask_features.device, self.model.device
        return here.type == model.type and model.index in (None, here.index)

    @property
    def memory(self) -> ImageEncoding:
        """What the image network made of the photo; `ValueError` where that is not at hand."""
        if not self.is_at_hand:
            here, model = self._memory.pixels.mask_features.device, self.model.device
            raise ValueError(f"The photo is on {here}, its model on {model}; ask photo.to('{model}').")
        return self._memory

    # --- One object, or several --------------------------------------------------------------------------------------

    def check(self, objects: Sequence[Asked]) -> None:
        """Raise `ValueError` for prompts that the model was not made for, and for marks outside the photo."""
        for asked in objects:
            check_taken(asked, self.model.name, self.model.network)
            for prompt in asked.visual:
                prompt.check_inside(self.photo.hw)

    def segment(
        self,
        objects: Sequence[Asked],
        text_threshold: float,
        previous: Float[Tensor, "1 n h w"] | None = None,
        candidates: int = 1,
        second_look: bool = False,
    ) -> Found:
        """Segment objects in the order asked; what was only said or shown, and scores below the threshold, is left out.

        Of several, a note says what was; ids are the numbers of the objects asked, from 1 on. `previous` are the mask
        logits of the round before. With several candidates, `objects` is one, and they are numbered.
        """
        heard = [asked.heard_by(self.model.network) for asked in objects]
        notes = [*self._cut_phrases(objects)]
        for row in self._said_of_nothing(heard, text_threshold):
            notes.append(f"{shortened(str(heard[row].said))!r} was not found: the marks answer alone")
            heard[row] = Asked.of(heard[row].visual)
        answers = self.ask(heard, previous, 1 if candidates == 1 else SPARE * candidates)
        rows, about = [], []
        for row, asked in enumerate(heard):
            for answer in best_distinct(answers[row], candidates):
                if asked.visual or (answer.score >= text_threshold and answer.is_somewhere):
                    rows.append(row)
                    about.append((asked, answer))
        kinds = dict.fromkeys(answer.kind for _, answer in about)
        kind = ", ".join(kinds) or objects[0].kind_under(self.model.network)
        if any(asked.reference and not left.reference for asked, left in zip(objects, heard, strict=True)):
            notes.append(f"{self.model.name} sees no reference beside marks: they answer without it")
        for row in sorted(set(range(len(objects))) - set(rows)):
            what = repr(shortened(said)) if (said := objects[row].said) else "what the reference shows"
            notes.append(f"object {row + 1}, {what}, was not found" if len(objects) > 1 else f"{what} was not found")
        if candidates > 1 and len(answers[0]) == 1:
            notes.append(f"{self.model.name} has one query an object: no further candidates")
        if not about:
            return Found((), (), Labels((), ()), kind, notes=tuple(notes))
        logits = torch.stack([answer.logits for _, answer in about]).float()
        masks = [self.pack(resized) for resized in each_to_image_size(logits, self.frame)]
        small = coarse_logits(logits, self.frame.padded_hw)
        scores = [answer.score for _, answer in about]
        closer = set()  # objects that were looked at again
        for row, (asked, answer) in enumerate(about) if second_look else ():
            again = self._look_again(asked, answer)
            if again is not None:
                closer.add(rows[row])
                scores[row] = again.score
                masks[row] = self.pack(again.logits)
                small[row] = as_previous(again.logits, self.frame.input_hw, self.frame.padded_hw)
        if second_look and (plain := [row for row in dict.fromkeys(rows) if row not in closer]):
            whose = f" at object {', '.join(str(row + 1) for row in plain)}" if closer else ""
            why = "nothing is marked, or what is marked is too large for a closer one"
            notes.append(f"there was no second look{whose}: {why}")
        names, sure = [asked.said for asked, _ in about], [min(max(score, 0.0), 1.0) for score in scores]
        return Found(
            masks,
            sure,
            Labels.said(names, sure) or (lambda: self.label(small).filled_by(names, sure)),
            kind,
            torch.stack([answer.vector for _, answer in about]),
            small,
            tuple(notes),
            tuple(row + 1 for row in rows) if candidates == 1 else None,
        )

    def _said_of_nothing(self, objects: Sequence[Asked], text_threshold: float) -> list[int]:
        """Say beside which marks stand words for something that the photo does not show (models that can tell).

        Heard all the same, they lead the mask away from its mark.
        """
        rows = [row for row, asked in enumerate(objects) if asked.words and any(mark.positive for mark in asked.visual)]
        if not rows or self._memory.text_map is None:
            return []
        meant = self._words([objects[row] for row in rows]).meant
        assert meant is not None
        there = self.presence(unit_vectors(meant[0].float())).tolist()
        return [row for row, sure in zip(rows, there, strict=True) if sure < text_threshold]

    def _cut_phrases(self, objects: Sequence[Asked]) -> Iterator[str]:
        """Say which phrases are longer than the text encoder can hold."""
        for phrase in dict.fromkeys(phrase for asked in objects for phrase, _ in asked.phrases()):
            tokenizer = self.model.tokenizer  # of a published model perhaps a download: not for clicks
            if tokenizer.is_too_long(phrase):
                yield f"{shortened(phrase)!r} is cut after {tokenizer.context} tokens"

    def ask(
        self, objects: Sequence[Asked], previous: Float[Tensor, "1 n h w"] | None = None, top: int = 1
    ) -> dict[int, list[OneAnswer]]:
        """Answer every object, in as few passes as may be: for each row the answers of `top` queries, best first."""
        answers: dict[int, list[OneAnswer]] = {}
        with arithmetic(self.model.device, self.model.precision):
            for rows in self._passes(objects):
                given = self._one_pass([objects[row] for row in rows], previous, top)
                answers.update(zip(rows, given, strict=True))
        return answers

    def pack(self, logits: Float[Tensor, "H W"]) -> PackedMask:
        """Keep what is inside, of mask logits at the photo's size."""
        return PackedMask.pack((logits > 0).cpu().numpy(), self.photo.hw)

    # --- One pass ----------------------------------------------------------------------------------------------------

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
                remembers = asked.previous is not None or bool(asked.outlined_for(self.model.network))
                together[remembers].append(row)
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
        if network.decoder.policy.phrase is RowKind.PHRASE and not objects[0].visual and not references:
            features = self.model.encode_phrases([phrase for phrase, _ in objects[0].phrases()])
            answer = answer_phrases(network, self.memory, features, FairDraws(), top)
            return [self._read(answer, objects[0], 0, 1)]
        words = self._words(objects)
        said = with_meanings(words.meant, references, len(objects))
        drawn, outlines = self._draw(objects)
        answer = segment_objects(
            network,
            self.memory,
            drawn,
            FairDraws(),
            phrases=words.written,
            previous=self._previous(objects, previous, outlines),
            reference=lay_out(references, len(objects)) if references else None,
            meant=said,
            audio=words.spoken,
            top=top,
        )
        if answer.quality is not None and self.memory.text_map is not None and said is not None:
            unmarked = [row for row, asked in enumerate(objects) if not asked.visual]
            if unmarked:
                quality = answer.quality[0].float().clone()
                quality[unmarked] = self.presence(unit_vectors(said[0, unmarked].float()))
                answer = replace(answer, quality=quality[None])
        return [self._read(answer, asked, row, len(objects)) for row, asked in enumerate(objects)]

    def _words(self, objects: Sequence[Asked]) -> Words:
        """Encode all phrases of a pass. Spoken ones are told apart where the policy has rows for them (the demo)."""
        said = [(row, *phrase) for row, asked in enumerate(objects) for phrase in asked.phrases()]
        if not said:
            return Words()
        features = self.model.encode_phrases([phrase for _, phrase, _ in said])
        apart = self.model.network.decoder.policy.group(RowKind.AUDIO_TOKENS) is not None
        owner = torch.tensor([row for row, _, _ in said], device=features.tokens.device)
        spoken = torch.tensor([heard and apart for _, _, heard in said], device=features.tokens.device)
        return words_of(features, owner, spoken, len(objects))

    def _draw(self, objects: Sequence[Asked]) -> tuple[VisualPrompts, Bool[Tensor, "1 n h w"]]:
        """Rasterise the visual prompts of every object at network resolution; also return the areas of outlines."""
        maps = np.zeros((4, len(objects), *self.frame.padded_hw), dtype=np.bool_)
        height, width = self.drawing.network_hw
        for row, asked in enumerate(objects):
            outlines = asked.outlined_for(self.model.network)
            for prompt in asked.drawn:
                kind = 3 if prompt in outlines else 2 if isinstance(prompt, Box) else 0 if prompt.positive else 1
                maps[kind, row, :height, :width] |= prompt.rasterize(self.drawing)
        positive, negative, bounds, areas = torch.from_numpy(maps)[:, None].to(self.model.device)
        return outlined(VisualPrompts(positive, negative, bounds), areas)

    def _previous(
        self,
        objects: Sequence[Asked],
        previous: Float[Tensor, "1 n h w"] | None,
        outlines: Bool[Tensor, "1 n h4 w4"],
    ) -> Float[Tensor, "1 n h w"] | None:
        """Return the previous masks: a session's, or what the prompts hand in, all objects of a pass or none."""
        if previous is not None:
            return previous.to(self.model.device)
        rows = (self._handed(asked, outlines[0, row]) for row, asked in enumerate(objects))
        handed = [logits for logits in rows if logits is not None]
        return torch.stack(handed)[None] if handed else None

    def _handed(self, asked: Asked, outline: Bool[Tensor, "h4 w4"]) -> Float[Tensor, "h w"] | None:
        """Return the mask that the prompts about an object hand in: mask logits, or the area of its outline."""
        height, width = (side // 4 for side in self.frame.padded_hw)
        if (logits := asked.previous) is not None:
            if logits.shape[-2:] != (height, width):
                raise ValueError(
                    f"The mask logits are {logits.shape[-1]} x {logits.shape[-2]}, this photo's {width} x {height}; "
                    "hand in logits of the same photo, encoded at the same size."
                )
            return torch.tensor(logits.reshape(height, width), device=outline.device)
        return outline_logits(outline[None, None])[0, 0] if asked.outlined_for(self.model.network) else None

    def _read(self, answer: ObjectMasks, asked: Asked, row: int, num_objects: int) -> list[OneAnswer]:
        """Read the answers about one object of a pass, best first."""
        each = answer.logits.shape[1] // num_objects
        kind = asked.kind_under(self.model.network)
        shown_alone = asked.reference is not None and not asked.visual and not asked.words
        share = self.model.network.config.reference_peak_ratio
        read = []
        for place in range(row * each, (row + 1) * each):
            logits = answer.logits[0, place].float()
            if shown_alone and share is not None:
                logits = logits - torch.logit(share * torch.sigmoid(to_input_size(logits[None], self.frame).max()))
            score = self._sureness(logits) if answer.quality is None else answer.quality[0, place]
            read.append(OneAnswer(logits, float(score), kind, answer.class_vectors[0, place].float()))
        return read

    def _sureness(self, logits: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
        """Score a mask of a model that predicts no quality: the mean probability inside it, at network size."""
        return instance.foreground_probability(to_input_size(logits[None].float(), self.frame)[0])

    # --- A closer look -----------------------------------------------------------------------------------------------

    def part(self, box: PixelBox) -> Predictor:
        """Encode part of the photo, as large as the network sees a photo."""
        height, width = self.photo.hw
        return self.model._look_at(self.photo.picture.crop(box), max_pixels=height * width)

    def _look_again(self, asked: Asked, answer: OneAnswer) -> OneAnswer | None:
        """Zoom in on an answer to visual prompts: logits at the photo's size; None where nothing is to be gained."""
        if not asked.visual or not answer.is_somewhere:
            return None
        height, width = self.frame.input_hw
        drawn, _ = self._draw([asked])
        marks = (drawn.inside | drawn.negative)[0, 0, :height, :width]
        seen = to_input_size(answer.logits[None], self.frame)[0] > 0
        window = window_around((seen | marks).cpu().numpy(), self.photo.hw)
        if window is None:
            return None
        window, closer = self._closer(window)
        marks_there = prompts_in(window, asked.drawn)
        if not marks_there:
            return None
        first = to_image_size(answer.logits[None], self.frame)[0]
        previous = previous_in(window, first, closer.frame.input_hw, closer.frame.padded_hw)
        second = closer.ask([replace(asked, prompts=marks_there, visual=marks_there)], previous)[0][0]
        return replace(second, logits=blend(first, window, to_image_size(second.logits[None], closer.frame)[0]))

    def _closer(self, window: Window) -> tuple[Window, Predictor]:
        """Encode a window of the photo; the last one is kept, for the next click is about the same object."""
        with self._lock:
            if self._zoomed is None or not self._zoomed[0].serves(window):
                self._zoomed = (window, self.part(window.box))
            return self._zoomed

    # --- What another photo shows ------------------------------------------------------------------------------------

    def _shown(self, reference: Reference) -> Shown:
        """Look at what a reference means in its own photo; once for a model."""
        return reference.cached(self.model, lambda: self._look_there(reference))

    def _look_there(self, reference: Reference) -> Shown:
        there = self.model._look_at(reference.image)
        try:
            region = there.region(reference)
        except ValueError as error:
            raise ValueError(f"In the reference, {there.photo.name or 'a photo'}: {error}") from None
        return look_at(self.model.network, there.memory, region, FairDraws())

    def region(self, reference: Reference) -> Bool[Tensor, "1 1 h w"]:
        """Draw the region that a reference means in this photo, at the network's padded resolution."""
        frame = replace(self.drawing, polygon_rule="filled")
        region = np.zeros(self.frame.padded_hw, dtype=np.bool_)
        inside = region[: frame.network_hw[0], : frame.network_hw[1]]
        marks = reference.prompts
        if not reference.marks_region:
            asked = [Asked.of(marks)]
            self.check(asked)
            found = self.segment(asked, text_threshold=0.0)  # the user says that it is there
            marks = tuple(Mask(mask.decode()) for mask in found.masks if mask.area)
        for sign in (True, False):
            for mark in marks:
                if isinstance(mark, VisualPrompt) and mark.positive is sign:
                    inside[mark.rasterize(frame)] = sign
        if not region.any():
            raise ValueError("its prompts mean nothing there; mark a region with a Box or a Mask.")
        return torch.from_numpy(region)[None, None].to(self.model.device)

    # --- What is there -----------------------------------------------------------------------------------------------

    def object_queries(self) -> ObjectQueries:
        """Run the object queries, at most once per photo."""
        with self._lock:
            if self._objects is None:
                with arithmetic(self.model.device, self.model.precision):
                    self._objects = self._find_objects()
            return self._objects

    def _find_objects(self) -> ObjectQueries:
        network = self.model.network
        if network.mask_refiner is not None:
            found = propose(network, self.memory, self.frame.input_hw, FairDraws())
            return ObjectQueries(found.class_vectors, found.mask_logits)
        regions = network.decode(self.memory, DecoderQuery(), network.decoder.policy.found).regions
        masks = dot(regions.mask_embeddings, self.memory.pixels.mask_features)
        return ObjectQueries(regions.class_vectors[0].float(), masks[0].float())

    def class_logits(self, vectors: Float[Tensor, "n d"], classifier: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
        """Compare vectors of the text space with class embeddings, at the model's temperature."""
        with torch.no_grad():
            return self.model.network.class_logits(vectors[None], classifier)[0]

    def classified(self, vocabulary: Vocabulary) -> tuple[ObjectQueries, Float[Tensor, "q k1"]]:
        """Return what the object queries found, and their logits of the classes, the background last."""
        found = self.object_queries()
        logits = self.class_logits(found.class_vectors, self.model.classifier(vocabulary))
        if self.model.network.mask_refiner is not None:
            logits[:, -1] = NEVER  # an answer to a click is something; what of it has no name is nobody's class
        return found, logits

    def presence(
        self,
        vectors: Float[Tensor, "n d"],
        against: Classes = None,
        among: Vocabulary | None = None,
        regions: Bool[Tensor, "n h2 w2"] | None = None,
    ) -> Float[Tensor, " n"]:
        """Score how surely what vectors of the text space mean is in the photo, and not what has another name.

        With a region (padded frame, any stride) for each vector: is there, rather than in the photo. The names are
        `against`, None = the model's own or else COCO's, and all names of a vocabulary whose classes the vectors are.
        For models with a map of meaning.
        """
        meaning = self.memory.text_map
        assert meaning is not None
        height, width = (-(-side // MEANING_STRIDE) for side in self.frame.input_hw)
        places = meaning[0, :, :height, :width]
        known = self.model.vocabulary()
        names = known if against is None or nobody(against) else Vocabulary.coerce(against)
        named = self.model.classifier(names)[-1 if nobody(against) else 0 :]  # the background speaks against anything
        if among is not None:
            fresh = [row for row, phrase in enumerate(among.phrases) if phrase not in set(names.phrases)]
            named = torch.cat((named, self.model.classifier(among)[fresh]))
        with torch.no_grad():
            network = self.model.network
            scale, even = float(network.text.logit_scale.exp()), network.config.presence_midpoint
            same = SAME_MEANING if self.model.classes is None else SAME_CLASS
            if regions is None:
                return presence(places, vectors, named, scale, even, same)
            size = (meaning.shape[-2], meaning.shape[-1])
            shares = F.adaptive_avg_pool2d(regions.float(), size)[:, :height, :width]
            return presence_within(places, vectors, named, scale, even, shares, same)

    def named_first(self, vectors: Float[Tensor, "k d"], count: int) -> Int[Tensor, " m"]:
        """Return the `count` classes (or all, if they are fewer) that the places of the photo are likeliest to show."""
        if len(vectors) <= count:
            return torch.arange(len(vectors), device=vectors.device)
        meaning = self.memory.text_map
        assert meaning is not None
        height, width = (-(-side // MEANING_STRIDE) for side in self.frame.input_hw)
        with torch.no_grad():
            likely = likelihoods(
                meaning[0, :, :height, :width], vectors, float(self.model.network.text.logit_scale.exp())
            )
            return likely.topk(count).indices

    def label(self, small: Float[Tensor, "n h w"]) -> Labels:
        """Name masks (logits at stride 4) by what their places mean, or else by the object queries that cover the same.

        Those run if nobody has asked for them yet.
        """
        vocabulary = self.model.vocabulary()
        if self._memory.text_map is not None:
            classifier = self.model.classifier(vocabulary)
            with torch.no_grad():
                vectors = meant(self.memory, small)
            named = label_places(self.class_logits(vectors, classifier))
        else:
            found, logits = self.classified(vocabulary)
            height, width = (-(-side // 4) for side in self.frame.input_hw)  # padding is nobody's
            named = label_masks(small[:, :height, :width], found.mask_logits[:, :height, :width], logits)
        return Labels(
            tuple(None if category is None else vocabulary[category].name for category in named.categories),
            named.scores,
        )

    # --- Words for the whole ------------------------------------------------------------------------------------------

    def write(self, begin: int, end: int, region: VisualPrompt | None = None) -> list[int]:
        """Write a caption of the photo, or of the region that a visual prompt marks: its word pieces."""
        hidden = None
        if region is not None:
            drawn = np.ones(self.frame.padded_hw, dtype=np.bool_)
            height, width = self.drawing.network_hw
            drawn[:height, :width] = ~region.rasterize(self.drawing)
            hidden = torch.from_numpy(drawn)[None].to(self.model.device)
        with arithmetic(self.model.device, self.model.precision):
            return write_caption(self.model.network, self.memory, begin, end, hidden)

    def fit(self, phrases: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Score the whole photo against every phrase vector, -1 to 1."""
        with arithmetic(self.model.device, self.model.precision):
            return fit_scores(image_vectors(self.model.network, self.memory), phrases)[0]


def shortened(phrase: str) -> str:
    """Return a phrase as a note may quote it."""
    return phrase if len(phrase) <= QUOTED else f"{phrase[: QUOTED - 3]}..."


def nobody(against: Classes) -> bool:
    """Whether a list of names is there and empty."""
    return against is not None and not isinstance(against, (str, Vocabulary)) and not against
