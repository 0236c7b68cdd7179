"""The texts of a step of the published objective, encoded together: class names, phrases, nouns, captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.data.training_sample import TrainingSample
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import PhraseTokens, TextFeatures
from seem.models.text.templates import BARE, TEMPLATES
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.batches import TrainingBatch
from seem.training.captions import CaptionTargets, NounTargets
from seem.training.criterion import ImageTargets, ObjectTargets, PhraseTargets, VisualTargets
from seem.training.nouns import noun_stem, nouns_of
from seem.training.phrases import PhraseTokenizer
from seem.training.targets import class_mask, complete_names_of, complete_objects

BACKGROUND = "background"
MAX_CLASS_NAMES = 256  # compared in one step


class TemplatedTokenizer:
    """A phrase tokenizer that also puts class names into one of the published templates at random, if `templated`."""

    def __init__(self, tokenizer: BytePairTokenizer, templated: bool) -> None:
        self.tokenizer = PhraseTokenizer(tokenizer)
        self.templated = templated

    def fill_template(self, name: str, rng: np.random.Generator) -> str:
        """Return a class name inside a template: "a photo of a dog."; without templates the bare name."""
        template = BARE.rstrip(".")
        if self.templated:
            template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        return template.replace("{}", name)


@dataclass(frozen=True, slots=True)
class ImagePhrases:
    """The phrases of one image and their masks.

    `names` are equal for phrases that mean the same: the phrase itself, or the class name inside its template.
    `weight` is that of `PhraseTargets`.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]
    masks: Bool[np.ndarray, "n s s"]
    weight: float


@dataclass(frozen=True, slots=True)
class PublishedTexts:
    """The texts of a step.

    Attributes:
        class_names: those that objects are compared with, background last.
        phrases: of each image.
        nouns: those of each image's caption; empty if they are not trained.
        captions: one of each image, "" without one; empty if captions are not trained.
    """

    class_names: tuple[str, ...]
    phrases: tuple[ImagePhrases, ...]
    nouns: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...]

    @classmethod
    def draw(
        cls,
        samples: Sequence[TrainingSample],
        tokenizer: TemplatedTokenizer,
        rng: np.random.Generator,
        *,
        max_phrases: int,
        phrase_weight: float,
        name_weight: float,
        with_captions: bool,
        with_nouns: bool,
    ) -> PublishedTexts:
        """Choose the texts of a step at random from what the images are annotated with."""
        class_names = choose_compared_names(samples, rng)
        phrases = []
        for sample in samples:
            phrases.append(
                choose_phrases(sample, tokenizer, rng, max_phrases, phrase_weight, name_weight)
            )
        captions: list[str] = []
        if with_captions:
            captions = [choose_caption(sample, rng) for sample in samples]
        nouns: list[tuple[str, ...]] = []
        if with_nouns:
            nouns = list(map(nouns_of, captions))
        return cls(class_names, tuple(phrases), tuple(nouns), tuple(captions))

    def phrase_rows(self) -> list[range]:
        """Return the rows of each image's phrases among the encoded texts."""
        rows = []
        first = len(self.class_names)
        for image in self.phrases:
            rows.append(range(first, first + len(image.texts)))
            first += len(image.texts)
        return rows

    def encode(
        self, model: Segmenter, tokenizer: TemplatedTokenizer, rng: np.random.Generator
    ) -> EncodedTexts:
        """Encode all texts: class names, phrases, nouns and captions, in this order."""
        texts = [tokenizer.fill_template(name, rng) for name in self.class_names]
        for image in self.phrases:
            texts += image.texts
        for nouns in self.nouns:
            texts += [tokenizer.fill_template(noun, rng) for noun in nouns]
        texts += self.captions
        return EncodedTexts(tokenizer.tokenizer.encode(model, texts), len(self.class_names))


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """The encoded texts of a step, in the order of `PublishedTexts.encode`."""

    features: TextFeatures
    num_class_names: int

    @property
    def class_names(self) -> Float[Tensor, "k d"]:
        """Features of the class names."""
        return self.features.phrases[: self.num_class_names]


# --- Choosing texts ---------------------------------------------------------------------------------------------------


def choose_compared_names(
    samples: Sequence[TrainingSample], rng: np.random.Generator
) -> tuple[str, ...]:
    """Return the class names of a step: all that the images are annotated for, those present first, background last.

    At most `MAX_CLASS_NAMES` and the background, unless more are present.
    """
    present_names: set[str] = set()
    for sample in samples:
        present_names |= sample.complete_names & set(sample.names)
    present = sorted(present_names)
    absent = sorted(complete_names_of(samples) - present_names)
    num_absent = max(0, MAX_CLASS_NAMES - len(present))
    if len(absent) > num_absent:
        rows = sorted(rng.choice(len(absent), num_absent, replace=False).tolist())
        absent = [absent[i] for i in rows]
    return (*present, *absent, BACKGROUND)


def choose_phrases(
    sample: TrainingSample,
    tokenizer: TemplatedTokenizer,
    rng: np.random.Generator,
    max_phrases: int,
    phrase_weight: float,
    name_weight: float,
) -> ImagePhrases:
    """Choose up to `max_phrases` phrases of an image: referring expressions if it has any, else its class names."""
    has_phrase = np.array([len(phrases) > 0 for phrases in sample.phrases], dtype=bool)
    if has_phrase.any():
        rows = rng.permutation(np.flatnonzero(has_phrase))[:max_phrases]
        texts = tuple(_choose(sample.phrases[i], rng) for i in rows.tolist())
        return ImagePhrases(texts, texts, sample.masks[rows], phrase_weight)
    return _choose_names(sample, tokenizer, rng, max_phrases, name_weight)


def _choose_names(
    sample: TrainingSample,
    tokenizer: TemplatedTokenizer,
    rng: np.random.Generator,
    max_phrases: int,
    weight: float,
) -> ImagePhrases:
    """Choose up to `max_phrases` of the class names that are annotated completely."""
    candidates = sorted(set(sample.names) & sample.complete_names - {""})
    order = rng.permutation(len(candidates)).tolist()
    num_names = int(rng.integers(1, max_phrases + 1))
    names, texts, masks = [], [], [sample.masks[:0]]
    for i in order[:num_names]:
        name = candidates[i]
        names.append(name)
        texts.append(tokenizer.fill_template(name, rng))
        masks.append(class_mask(sample, name)[None])
    return ImagePhrases(tuple(texts), tuple(names), np.concatenate(masks), weight)


def _choose(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def choose_caption(sample: TrainingSample, rng: np.random.Generator) -> str:
    """Choose one caption of an image; "" if it has none."""
    return _choose(sample.captions, rng) if sample.captions else ""


# --- Inputs and targets from texts ------------------------------------------------------------------------------------


def phrase_tokens(encoded: EncodedTexts, texts: PublishedTexts) -> PhraseTokens:
    """Lay out the tokens of each image's phrases one after the other, as decoder rows of no particular object."""
    features = encoded.features
    tokens = []
    owners = []
    for rows in texts.phrase_rows():
        phrases = slice(rows.start, rows.stop)
        valid_tokens = features.tokens[phrases][features.valid[phrases]]
        tokens.append(valid_tokens)
        owners.append(torch.zeros(len(valid_tokens), dtype=torch.long, device=valid_tokens.device))
    return PhraseTokens(
        torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True),
        torch.nn.utils.rnn.pad_sequence(owners, batch_first=True, padding_value=-1),
    )


def image_targets(
    batch: TrainingBatch,
    b: int,
    texts: PublishedTexts,
    encoded: EncodedTexts,
    kinds: frozenset[RowKind],
) -> ImageTargets:
    """Return the truth about image `b`, for the query groups that are trained."""
    targets = ImageTargets()
    if RowKind.OBJECT in kinds:
        targets = replace(targets, objects=_object_targets(batch, b, texts.class_names))
    if RowKind.PHRASE in kinds:
        targets = replace(targets, phrases=_phrase_targets(batch, b, texts, encoded))
    if RowKind.VISUAL in kinds:
        targets = replace(targets, visual=_visual_targets(batch, b))
    return targets


def _object_targets(batch: TrainingBatch, b: int, class_names: Sequence[str]) -> ObjectTargets:
    sample, device = batch.samples[b], batch.truth.device
    index = {name: k for k, name in enumerate(class_names)}
    rows = complete_objects(sample)
    classes = [index[sample.names[i]] for i in rows]
    return ObjectTargets(
        classes=torch.tensor(classes, dtype=torch.long, device=device),
        masks=torch.from_numpy(sample.masks[rows]).to(device),
    )


def _phrase_targets(
    batch: TrainingBatch, b: int, texts: PublishedTexts, encoded: EncodedTexts
) -> PhraseTargets:
    device = batch.truth.device
    phrases = texts.phrases[b]
    rows = texts.phrase_rows()[b]
    return PhraseTargets(
        vectors=encoded.features.phrases[rows.start : rows.stop],
        masks=torch.from_numpy(phrases.masks).to(device),
        hashes=number_texts(phrases.names).to(device),
        weight=phrases.weight,
    )


def number_texts(texts: Sequence[str]) -> Int[Tensor, " n"]:
    """Give each text a number, in the order in which they first appear; equal texts have equal numbers."""
    numbers: dict[str, int] = {}
    of_texts = [numbers.setdefault(text, len(numbers)) for text in texts]
    return torch.tensor(of_texts, dtype=torch.long)


def _visual_targets(batch: TrainingBatch, b: int) -> VisualTargets:
    """Return the masks of prompted objects; empty for those without a mark."""
    has_mark = (batch.positive[b] | batch.bounds[b]).flatten(1).any(-1)
    return VisualTargets(batch.truth[b] & has_mark[:, None, None])


def caption_targets(
    model: Segmenter,
    image: ImageEncoding,
    encoded: EncodedTexts,
    captions: Sequence[str],
    tokenizer: TemplatedTokenizer,
) -> CaptionTargets:
    """Lay out the captions, the last of the encoded texts, one an image."""
    features = encoded.features
    device = features.tokens.device
    ids, valid = tokenizer.tokenizer(captions)
    has_caption = torch.tensor([bool(text) for text in captions], device=device)
    return CaptionTargets(
        ids=ids.to(device),
        valid=valid.to(device) & has_caption[:, None],
        tokens=features.tokens[-len(captions) :, : ids.shape[1]],
        vectors=features.phrases[-len(captions) :],
        table=model.text.tokens.weight,
        scale=model.text.logit_scale.exp().clamp(max=100),
        backbone=image.summary,
    )


def noun_targets(
    encoded: EncodedTexts, texts: PublishedTexts, targets: Sequence[ImageTargets]
) -> NounTargets:
    """Return which of the encoded texts name which image's regions.

    `targets` number the class names of objects. Texts of equal noun stem mean the same.
    """
    named = list(texts.class_names)
    for image in texts.phrases:
        named += image.names
    first_noun = len(named)
    for nouns in texts.nouns:
        named += nouns
    first_caption = len(named)
    named += texts.captions
    device = encoded.features.phrases.device
    by_caption = []
    for b, (image_nouns, caption) in enumerate(zip(texts.nouns, texts.captions, strict=True)):
        rows = list(range(first_noun, first_noun + len(image_nouns)))
        first_noun += len(image_nouns)
        if caption:
            rows.append(first_caption + b)
        by_caption.append(torch.tensor(rows, dtype=torch.long, device=device))
    by_object = [truth.objects.classes for truth in targets if truth.objects is not None]
    return NounTargets(
        vectors=encoded.features.phrases,
        stems=number_texts([noun_stem(text) for text in named]).to(device),
        by_caption=tuple(by_caption),
        by_object=tuple(by_object),
    )
