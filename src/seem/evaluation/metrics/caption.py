"""CIDEr-D: how well captions agree with those that people wrote (Vedantam et al., 2015).

The formula is that of the COCO caption evaluation. Its words come from a tokenizer of the Stanford parser, which needs
Java: pass its output with `Tokenization.GIVEN` for scores that compare with published ones. `Tokenization.BUILT_IN`
needs nothing and is similar, but not equal; the result says which was used.
"""

from __future__ import annotations

import enum
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_or_nan

MAX_NGRAM_LENGTH = 4  # words
LENGTH_SIGMA = 6.0  # standard deviation of the length penalty, in words
SCALE = 10.0  # of the published formula

NGram: TypeAlias = tuple[str, ...]

_ENDING = r"(?:n't|'(?:s|re|ve|ll|d|m))\b"
_WORD_WITH_ENDING = re.compile(rf"(?<=[^\W\d_])({_ENDING})")
_WORD = re.compile(rf"{_ENDING}|\d+(?:[.,:/]\d+)*|[^\W_]+(?:[-&][^\W_]+)*|[$%#@+=*&]")


class Tokenization(str, enum.Enum):
    """How captions are split into words: at the spaces of tokenized text, or by a rule that drops punctuation."""

    GIVEN = "as given, split at spaces"
    BUILT_IN = "split by seem, not by the Stanford tokenizer of published scores"


@dataclass(frozen=True, slots=True)
class CaptionResult:
    """CIDEr-D over `photos` images, times 100 as usual (it may be greater than 100); `words` is the tokenization."""

    photos: int
    cider_d: float
    words: Tokenization


class CiderD:
    """Collects captions with the references of the same images.

    N-grams of one to four words are weighted by how rare they are in all references together, so that the score of a
    part of a data set differs from that of the full set.
    """

    def __init__(self, tokenization: Tokenization = Tokenization.BUILT_IN) -> None:
        self.tokenization = tokenization
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._captions: list[str] = []
        self._references: list[tuple[str, ...]] = []

    def update(self, caption: str, references: Sequence[str]) -> None:
        """Add the caption of an image and its references, at least one."""
        if isinstance(references, str) or not references:
            raise ValueError(
                f"A caption is compared with a list of at least one reference, got {references!r}."
            )
        self._captions.append(self._tokenized(caption))
        self._references.append(tuple(map(self._tokenized, references)))

    def _tokenized(self, text: str) -> str:
        """Return the words of a text, joined by spaces."""
        if self.tokenization is Tokenization.GIVEN:
            return " ".join(text.split())
        return " ".join(tokenize_caption(text))

    def merge(self, other: CiderD) -> None:
        """Add what another process collected."""
        if other.tokenization is not self.tokenization:
            raise ValueError(
                f"Words {self.tokenization.value} do not go with words {other.tokenization.value}."
            )
        self._captions += other._captions
        self._references += other._references

    def compute(self) -> CaptionResult:
        """Score all captions so far, in any order. The score of a single image is 0: no n-gram is rare."""
        references = [list(map(_count_ngrams, texts)) for texts in self._references]
        rarity = _Rarity.of(references)
        scores = []
        for caption, image_references in zip(self._captions, references, strict=True):
            ngrams = _count_ngrams(caption)
            scores.append(_mean_similarity(ngrams, image_references, rarity))
        return CaptionResult(len(scores), 100 * SCALE * mean_or_nan(scores), self.tokenization)

    def state(self) -> State:
        """Return what was collected."""
        return {
            "words": self.tokenization.value,
            "captions": list(self._captions),
            "references": list(map(list, self._references)),
        }

    @classmethod
    def from_state(cls, state: State) -> CiderD:
        """Restore the metric from its `state`."""
        metric = cls(Tokenization(state["words"]))
        metric._captions = list(state["captions"])
        metric._references = list(map(tuple, state["references"]))
        return metric


@dataclass(frozen=True, slots=True)
class _Rarity:
    """The number of images whose references have an n-gram, and of all images."""

    images_with: Mapping[NGram, int]
    images: int

    @classmethod
    def of(cls, references: Sequence[Sequence[Counter[NGram]]]) -> _Rarity:
        images_with: Counter[NGram] = Counter()
        for image_references in references:
            images_with.update(set[NGram]().union(*image_references))
        return cls(images_with, len(references))

    def weights(self, counts: Counter[NGram], length: int) -> dict[NGram, float]:
        """Weight the n-grams of one length; those in no reference are as rare as those in one."""
        weights = {}
        for ngram, count in counts.items():
            if len(ngram) == length:
                images_with = max(1, self.images_with.get(ngram, 0))
                weights[ngram] = count * (math.log(self.images) - math.log(images_with))
        return weights


def _mean_similarity(
    caption: Counter[NGram], references: Sequence[Counter[NGram]], rarity: _Rarity
) -> float:
    return mean_or_nan([_similarity(caption, reference, rarity) for reference in references])


def _similarity(caption: Counter[NGram], reference: Counter[NGram], rarity: _Rarity) -> float:
    """Return the similarity of two captions, 0-1: the mean over lengths of clipped cosines, times a length penalty.

    As in the reference code, the length of a caption is its number of word pairs.
    """
    cosines: list[float] = []
    for length in range(1, MAX_NGRAM_LENGTH + 1):
        mine = rarity.weights(caption, length)
        theirs = rarity.weights(reference, length)
        cosines.append(_clipped_cosine(mine, theirs))
    difference = _num_pairs(caption) - _num_pairs(reference)
    penalty = math.exp(-(difference**2) / (2 * LENGTH_SIGMA**2))
    return math.fsum(cosines) / MAX_NGRAM_LENGTH * penalty


def _clipped_cosine(caption: Mapping[NGram, float], reference: Mapping[NGram, float]) -> float:
    """Return the cosine of two weighted counts, those of the caption cut to those of the reference."""
    norm = math.hypot(*caption.values()) * math.hypot(*reference.values())
    if not norm:
        return 0.0
    products = []
    for ngram in caption.keys() & reference.keys():
        products.append(min(caption[ngram], reference[ngram]) * reference[ngram])
    return math.fsum(products) / norm


def _num_pairs(counts: Counter[NGram]) -> int:
    num_pairs = 0
    for ngram, count in counts.items():
        if len(ngram) == 2:
            num_pairs += count
    return num_pairs


def _count_ngrams(text: str) -> Counter[NGram]:
    words = text.split()
    counts: Counter[NGram] = Counter()
    for length in range(1, MAX_NGRAM_LENGTH + 1):
        for start in range(len(words) - length + 1):
            counts[tuple(words[start : start + length])] += 1
    return counts


def tokenize_caption(text: str) -> list[str]:
    """Split a caption into lower-case words: punctuation dropped, "isn't" and "dog's" in two, hyphens kept."""
    lower = text.lower().replace("’", "'")
    return _WORD.findall(_WORD_WITH_ENDING.sub(r" \1", lower))
