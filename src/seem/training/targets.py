"""From photos to what a training step asks and expects: objects, prompts about them, phrases.

The invented user speaks here: for a few objects of every photo a prompt kind is drawn, then the prompt itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.config import ImageConfig
from seem.data.transforms import TrainingSample, choose_objects
from seem.models.structures import ImageBatch, PhraseTokens, TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.strokes import DEFAULT_STROKES, PromptKind, StrokeDistribution, draw_negative_points, sample_prompt

if TYPE_CHECKING:
    from seem.models.segmenter import Segmenter

Marks: TypeAlias = "Bool[np.ndarray, 's s']"


@dataclass(frozen=True, slots=True)
class PromptMix:
    """How often an object is asked about in which way; the rest is a visual prompt alone."""

    text: float = 0.45
    text_and_visual: float = 0.08
    absent: float = 0.3
    """Of the phrases alone: how many name a class that is not in the photo."""
    negative: float = 0.25
    """Of the visual prompts: how many come with negative marks."""
    habits: StrokeDistribution = DEFAULT_STROKES
    """How visual prompts are drawn."""
    again: bool = True
    """Whether a photo of few objects is asked about them again, by other visual prompts."""
    reference: float = 0.2
    """How often a region of the partner photo says what is meant."""
    reference_absent: float = 0.2
    """Of the references: how many show something that is not there."""


@dataclass(frozen=True, slots=True)
class Request:
    """One object that a step asks about. An absent thing has an empty truth; `phrase` is empty without text.

    `bounds` is a filled box, or the area of a polygon, which is `positive` too. `reference` is a region of the partner
    photo, empty without one.
    """

    truth: Bool[np.ndarray, "s s"]
    positive: Bool[np.ndarray, "s s"]
    negative: Bool[np.ndarray, "s s"]
    bounds: Bool[np.ndarray, "s s"]
    reference: Bool[np.ndarray, "s s"]
    phrase: str = ""
    name: str = ""

    @classmethod
    def of(cls, truth: Bool[np.ndarray, "s s"], phrase: str = "", name: str = "", **drawn: Marks) -> Request:
        """Fill in empty maps for what is not drawn."""
        empty = np.zeros_like(truth)
        maps = {key: drawn.get(key, empty) for key in ("positive", "negative", "bounds", "reference")}
        return cls(truth, **maps, phrase=phrase, name=name)


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """What one step asks: B photos with N requests each (empty ones about a photo that shows no object).

    Photos come in pairs, 0 and 1, 2 and 3, ...: the partner of a photo is where its references are. `ignore` are pixels
    that no mask is judged on.
    """

    samples: tuple[TrainingSample, ...]
    images: ImageBatch
    requests: tuple[tuple[Request, ...], ...]
    truth: Bool[Tensor, "b n s s"]
    positive: Bool[Tensor, "b n s s"]
    negative: Bool[Tensor, "b n s s"]
    bounds: Bool[Tensor, "b n s s"]
    reference: Bool[Tensor, "b n s s"]
    ignore: Bool[Tensor, "b s s"]

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch with its tensors on another device."""
        maps = ("truth", "positive", "negative", "bounds", "reference", "ignore")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in maps}
        return replace(self, images=self.images.to(device), **moved)

    @property
    def outlines(self) -> Bool[Tensor, "b n s s"]:
        """The areas of polygons: what marks an object and bounds it at once (a box is never beside other marks)."""
        return self.positive & self.bounds

    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Return the phrase of every request."""
        return tuple(tuple(request.phrase for request in photo) for photo in self.requests)


def make_batch(
    samples: Sequence[TrainingSample], image: ImageConfig, num_requests: int, mix: PromptMix, rng: np.random.Generator
) -> TrainingBatch:
    """Draw requests for every sample and stack everything."""
    requests = tuple(
        draw_requests(sample, num_requests, mix, rng, samples[b ^ 1] if b ^ 1 < len(samples) else None)
        for b, sample in enumerate(samples)
    )

    def stack(name: str) -> Bool[Tensor, "b n s s"]:
        return torch.from_numpy(np.stack([np.stack([getattr(r, name) for r in photo]) for photo in requests]))

    return TrainingBatch(
        samples=tuple(samples),
        images=normalised(samples, image),
        requests=requests,
        truth=stack("truth"),
        positive=stack("positive"),
        negative=stack("negative"),
        bounds=stack("bounds"),
        reference=stack("reference"),
        ignore=torch.from_numpy(np.stack([sample.ignore for sample in samples])),
    )


def normalised(samples: Sequence[TrainingSample], config: ImageConfig) -> ImageBatch:
    """Turn uint8 canvases into a network input; padding becomes (nearly) zero."""
    raw = torch.from_numpy(np.stack([sample.image for sample in samples])).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    pixels = ((raw - mean) / std).contiguous(memory_format=torch.channels_last)
    return ImageBatch(pixels, tuple(sample.valid_hw for sample in samples))


def draw_requests(
    sample: TrainingSample, count: int, mix: PromptMix, rng: np.random.Generator, partner: TrainingSample | None = None
) -> tuple[Request, ...]:
    """Choose objects, and for each how it is asked about.

    A photo with fewer objects than that is asked about them again, by other visual prompts, or gets empty requests, as
    one without any does.
    """
    requests = []
    chosen = choose_objects(sample, count, rng).tolist()
    absent = sorted(sample.absent_names)
    for index in chosen:
        dice = rng.random()
        shown = None
        if partner is not None and rng.random() < mix.reference:
            shown = reference_request(sample, partner, mix, rng)
        if shown is not None:
            requests.append(shown)
        elif dice < mix.text and absent and rng.random() < mix.absent:
            requests.append(absent_request(sample, absent[int(rng.integers(len(absent)))]))
        elif dice < mix.text and (phrase := phrase_request(sample, index, rng)) is not None:
            requests.append(phrase)
        else:
            with_text = dice < mix.text + mix.text_and_visual
            requests.append(visual_request(sample, index, with_text, mix, rng))
    empty = np.zeros(sample.image.shape[1:], dtype=bool)
    for _ in range(count - len(requests)):
        again = chosen[int(rng.integers(len(chosen)))] if chosen and mix.again else None
        requests.append(Request.of(empty) if again is None else visual_request(sample, again, False, mix, rng))
    return tuple(requests)


def absent_request(sample: TrainingSample, name: str) -> Request:
    """Ask for a class that is not there."""
    return Request.of(np.zeros(sample.image.shape[1:], dtype=bool), name)


def every(sample: TrainingSample, name: str) -> Bool[np.ndarray, "s s"]:
    """Return all objects of a class together."""
    return np.asarray(sample.masks[[other == name for other in sample.names]].any(axis=0))


def phrase_request(sample: TrainingSample, index: int, rng: np.random.Generator) -> Request | None:
    """Ask by text alone: a phrase means its object, a bare class name every object of the class.

    None where an object has neither: no phrase, and a class that is not annotated completely.
    """
    name, phrases = sample.names[index], sample.phrases[index]
    complete = name in sample.complete_names
    if phrases and (not complete or rng.random() < 0.4):
        return Request.of(sample.masks[index], phrases[int(rng.integers(len(phrases)))], name)
    return Request.of(every(sample, name), name, name) if complete else None


def reference_request(
    sample: TrainingSample, partner: TrainingSample, mix: PromptMix, rng: np.random.Generator
) -> Request | None:
    """Ask for what an object of the partner photo is; None if the two photos say nothing about each other."""
    large = shown_by(partner)
    here = [i for i in large if partner.names[i] in sample.complete_names & set(sample.names)]
    gone = [i for i in large if partner.names[i] in sample.absent_names]
    rows = gone if gone and rng.random() < mix.reference_absent else here
    if not rows:
        return None
    index = rows[int(rng.integers(len(rows)))]
    return Request.of(every(sample, partner.names[index]), reference=partner.masks[index])


def shown_by(partner: TrainingSample) -> list[int]:
    """Return which objects of a photo can show what is meant: those with a class, and not too small beside the rest."""
    return [i for i in np.flatnonzero(partner.areas >= 0.005 * partner.areas.sum()).tolist() if partner.names[i]]


def visual_request(
    sample: TrainingSample, index: int, with_text: bool, mix: PromptMix, rng: np.random.Generator
) -> Request:
    """Ask by a drawn prompt, sometimes with marks of what is not meant, sometimes with the name beside it."""
    truth = sample.masks[index]
    photo = np.zeros_like(truth)
    photo[: sample.valid_hw[0], : sample.valid_hw[1]] = True
    drawn = sample_prompt(truth, rng, mix.habits)
    outline = drawn.kind is PromptKind.POLYGON and mix.habits.polygon_rule == "filled"
    places = ("bounds",) if drawn.kind is PromptKind.BOX else ("positive", "bounds") if outline else ("positive",)
    marks = dict.fromkeys(places, drawn.mask & photo)
    if rng.random() < mix.negative and (wrong := draw_negative_points(truth, rng, allowed=photo)) is not None:
        marks["negative"] = wrong.mask & photo
    name = sample.names[index]
    return Request.of(truth, name if with_text else "", name, **marks)


def phrase_rows(texts: Sequence[Sequence[str]], encoded: TextFeatures, rows: dict[str, int]) -> PhraseTokens | None:
    """Lay out each photo's phrases as decoder rows owned by their objects; None without any phrase.

    `rows` tells where in `encoded` a phrase stands.
    """
    if not any(text for photo in texts for text in photo):
        return None
    tokens, owners = [], []
    for photo in texts:
        mine = [(owner, rows[text]) for owner, text in enumerate(photo) if text]
        vectors = [encoded.tokens[row, encoded.valid[row]] for _, row in mine]
        owner = [torch.full((len(v),), o, dtype=torch.long) for (o, _), v in zip(mine, vectors, strict=True)]
        tokens.append(torch.cat(vectors) if vectors else encoded.tokens.new_zeros(0, encoded.tokens.shape[-1]))
        owners.append(torch.cat(owner) if owner else torch.zeros(0, dtype=torch.long))
    pad = torch.nn.utils.rnn.pad_sequence
    return PhraseTokens(
        pad(tokens, batch_first=True), pad(owners, batch_first=True, padding_value=-1).to(encoded.tokens.device)
    )


class PhraseBook:
    """Token ids of phrases, remembered: training meets the same few thousand again and again."""

    def __init__(self, tokenizer: BytePairTokenizer) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Bool[Tensor, "n t"]]:
        """Return ids padded with the end token, and which are real."""
        for text in texts:
            if text not in self.known:
                tokens = self.tokenizer([text])
                self.known[text] = tokens.ids[0, tokens.valid[0]]
        rows = [self.known[text] for text in texts]
        end = int(rows[0][-1])
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def encode(self, model: Segmenter, texts: Sequence[str]) -> TextFeatures:
        """Encode texts where the network is."""
        ids, valid = self(texts)
        device = model.text.logit_scale.device
        return model.encode_text(ids.to(device), valid.to(device))


def shrink(masks: Bool[Tensor, "b n h w"], factor: int) -> Float[Tensor, "b n h2 w2"]:
    """Return the share of each cell that a mask covers."""
    return torch.nn.functional.avg_pool2d(masks.float(), factor)
