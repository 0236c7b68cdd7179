"""From photos to what a training step asks and expects: objects, prompts about them, phrases.

The invented user speaks here: for a few objects of every photo a prompt kind is drawn, then the prompt itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.config import ImageConfig
from seem.data.transforms import Sample, choose_objects
from seem.models.structures import ImageBatch, PhraseTokens, TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.strokes import draw_wrong_points, mixed


@dataclass(frozen=True, slots=True)
class PromptMix:
    """How often an object is asked about in which way; the rest is a visual prompt alone."""

    text: float = 0.3
    text_and_visual: float = 0.08
    absent: float = 0.3
    """Of the phrases alone: how many name a class that is not in the photo."""
    negative: float = 0.25
    """Of the visual prompts: how many come with negative marks."""


@dataclass(frozen=True, slots=True)
class Request:
    """One object that a step asks about. An absent thing has an empty truth; `phrase` is empty without text."""

    truth: Bool[np.ndarray, "s s"]
    positive: Bool[np.ndarray, "s s"]
    negative: Bool[np.ndarray, "s s"]
    phrase: str
    name: str


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """What one step asks: B photos with N requests each (empty requests fill up short photos)."""

    samples: tuple[Sample, ...]
    images: ImageBatch
    requests: tuple[tuple[Request, ...], ...]
    truth: Bool[Tensor, "b n s s"]
    positive: Bool[Tensor, "b n s s"]
    negative: Bool[Tensor, "b n s s"]

    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Return the phrase of every request."""
        return tuple(tuple(request.phrase for request in photo) for photo in self.requests)


def make_batch(
    samples: Sequence[Sample], image: ImageConfig, num_requests: int, mix: PromptMix, rng: np.random.Generator
) -> TrainingBatch:
    """Draw requests for every sample and stack everything."""
    requests = tuple(draw_requests(sample, num_requests, mix, rng) for sample in samples)

    def stack(name: str) -> Bool[Tensor, "b n s s"]:
        return torch.from_numpy(np.stack([np.stack([getattr(r, name) for r in photo]) for photo in requests]))

    return TrainingBatch(
        samples=tuple(samples),
        images=normalised(samples, image),
        requests=requests,
        truth=stack("truth"),
        positive=stack("positive"),
        negative=stack("negative"),
    )


def normalised(samples: Sequence[Sample], config: ImageConfig) -> ImageBatch:
    """Turn uint8 canvases into a network input; padding becomes (nearly) zero."""
    raw = torch.from_numpy(np.stack([sample.image for sample in samples])).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    pixels = ((raw - mean) / std).contiguous(memory_format=torch.channels_last)
    return ImageBatch(pixels, tuple(sample.valid_hw for sample in samples))


def draw_requests(sample: Sample, count: int, mix: PromptMix, rng: np.random.Generator) -> tuple[Request, ...]:
    """Choose objects, and for each how it is asked about."""
    requests = []
    absent = sorted(sample.absent_names)
    for index in choose_objects(sample, count, rng).tolist():
        dice = rng.random()
        if dice < mix.text and absent and rng.random() < mix.absent:
            requests.append(absent_request(sample, absent[int(rng.integers(len(absent)))]))
        elif dice < mix.text and sample.names[index]:
            requests.append(phrase_request(sample, index, rng))
        else:
            with_text = dice < mix.text + mix.text_and_visual
            requests.append(visual_request(sample, index, with_text, mix, rng))
    empty = np.zeros(sample.image.shape[1:], dtype=bool)
    requests += [Request(empty, empty, empty, "", "")] * (count - len(requests))
    return tuple(requests)


def absent_request(sample: Sample, name: str) -> Request:
    """Ask for a class that is not there."""
    empty = np.zeros(sample.image.shape[1:], dtype=bool)
    return Request(empty, empty, empty, name, "")


def phrase_request(sample: Sample, index: int, rng: np.random.Generator) -> Request:
    """Ask by text alone: a phrase means its object, a bare class name every object of the class."""
    empty = np.zeros(sample.image.shape[1:], dtype=bool)
    name = sample.names[index]
    if sample.phrases[index] and rng.random() < 0.4:
        phrases = sample.phrases[index]
        return Request(sample.masks[index], empty, empty, phrases[int(rng.integers(len(phrases)))], name)
    alike = [i for i, other in enumerate(sample.names) if other == name]
    union = np.logical_or.reduce(sample.masks[alike], axis=0)
    return Request(union, empty, empty, name, name)


def visual_request(sample: Sample, index: int, with_text: bool, mix: PromptMix, rng: np.random.Generator) -> Request:
    """Ask by a drawn prompt, sometimes with marks of what is not meant, sometimes with the name beside it."""
    truth = sample.masks[index]
    positive = mixed(truth, rng).mask
    negative = np.zeros_like(truth)
    if rng.random() < mix.negative:
        inside = np.zeros_like(truth)
        inside[: sample.valid_hw[0], : sample.valid_hw[1]] = True
        wrong = draw_wrong_points(truth, rng, allowed=inside)
        negative = negative if wrong is None else wrong.mask
    name = sample.names[index]
    return Request(truth, positive, negative, name if with_text else "", name)


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


def shrink(masks: Bool[Tensor, "b n h w"], factor: int) -> Float[Tensor, "b n h2 w2"]:
    """Return the share of each cell that a mask covers."""
    return torch.nn.functional.avg_pool2d(masks.float(), factor)
