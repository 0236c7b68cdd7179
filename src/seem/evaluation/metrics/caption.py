"""How well captions agree with what people wrote: CIDEr-D (Vedantam et al., 2015).

The formula is that of the COCO caption evaluation. Its words come from a tokenizer of the Stanford parser, which needs
Java: pass its output with `Words.GIVEN` for scores that stand beside published ones. `Words.SPLIT` needs nothing and is
near, but not equal; the result says which words were counted.
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

LONGEST = 4  # words of an n-gram
SPREAD = 6.0  # of the penalty on differing lengths, in words
SCALE = 10.0  # of the published formula

NGram: TypeAlias = tuple[str, ...]

_ENDING = r"(?:n't|'(?:s|re|ve|ll|d|m))\b"
_STUCK = re.compile(rf"(?<=[^\W\d_])({_ENDING})")
_WORD = re.compile(rf"{_ENDING}|\d+(?:[.,:/]\d+)*|[^\W_]+(?:[-&][^\W_]+)*|[$%#@+=*&]")


class Words(str, enum.Enum):
    """Where words end: at spaces, in text that a tokenizer has seen; or by a rule of our own, punctuation dropped."""

    GIVEN = "as given, split at spaces"
    SPLIT = "split by seem, not by the Stanford tokenizer of published scores"


@dataclass(frozen=True, slots=True)
class CaptionResult:
    """CIDEr-D over `photos` photos, times 100 as it is usually printed (it may pass 100); `words` were compared."""

    photos: int
    cider_d: float
    words: Words


class CiderD:
    """Collects captions and what people wrote about the same photos.

    Rare runs of one to four words weigh more: how rare, is learned from all the references together, so that a score
    over part of a set is another than the set's.
    """

    def __init__(self, words: Words = Words.SPLIT) -> None:
        self.words = words
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._told: list[str] = []
        self._references: list[tuple[str, ...]] = []

    def update(self, caption: str, references: Sequence[str]) -> None:
        """Add a photo's caption and its references, at least one."""
        if isinstance(references, str) or not references:
            raise ValueError(f"A caption is compared with a list of at least one reference, got {references!r}.")
        split = str.split if self.words is Words.GIVEN else words_of
        self._told.append(" ".join(split(caption)))
        self._references.append(tuple(" ".join(split(reference)) for reference in references))

    def merge(self, other: CiderD) -> None:
        """Add what another process collected."""
        if other.words is not self.words:
            raise ValueError(f"Words {self.words.value} do not go with words {other.words.value}.")
        self._told += other._told
        self._references += other._references

    def compute(self) -> CaptionResult:
        """Score all captions so far; their order does not matter. One photo alone scores 0: nothing is rare."""
        references = [[_ngrams(text) for text in texts] for texts in self._references]
        photos_with = Counter(ngram for photo in references for ngram in set().union(*photo))
        rarity = _Rarity(photos_with, len(references))
        scores = [
            math.fsum(_likeness(_ngrams(told), reference, rarity) for reference in photo) / len(photo)
            for told, photo in zip(self._told, references, strict=True)
        ]
        mean = math.fsum(scores) / len(scores) if scores else math.nan
        return CaptionResult(len(scores), 100 * SCALE * mean, self.words)

    def state(self) -> State:
        """Return what was collected."""
        return {"words": self.words.value, "told": [*self._told], "references": list(map(list, self._references))}

    @classmethod
    def from_state(cls, state: State) -> CiderD:
        """Go on from what was collected."""
        metric = cls(Words(state["words"]))
        metric._told = list(state["told"])
        metric._references = list(map(tuple, state["references"]))
        return metric


@dataclass(frozen=True, slots=True)
class _Rarity:
    """In how many photos' references an n-gram occurs."""

    photos_with: Mapping[NGram, int]
    photos: int

    def weighed(self, counts: Counter[NGram], length: int) -> dict[NGram, float]:
        """Weigh the n-grams of one length; those in no reference are as rare as those in one."""
        return {
            ngram: count * (math.log(self.photos) - math.log(max(1, self.photos_with.get(ngram, 0))))
            for ngram, count in counts.items()
            if len(ngram) == length
        }


def _likeness(told: Counter[NGram], reference: Counter[NGram], rarity: _Rarity) -> float:
    """Compare two captions, 0-1: the mean over lengths of clipped cosines, less the more the lengths differ.

    As in the reference, a caption's length is its number of word pairs.
    """
    cosines: list[float] = []
    for length in range(1, LONGEST + 1):
        mine, theirs = rarity.weighed(told, length), rarity.weighed(reference, length)
        product = math.fsum(min(mine[ngram], theirs[ngram]) * theirs[ngram] for ngram in mine.keys() & theirs.keys())
        norm = math.hypot(*mine.values()) * math.hypot(*theirs.values())
        cosines.append(product / norm if norm else 0.0)
    longer = _pairs(told) - _pairs(reference)
    return math.fsum(cosines) / LONGEST * math.exp(-(longer**2) / (2 * SPREAD**2))


def _pairs(counts: Counter[NGram]) -> int:
    return sum(count for ngram, count in counts.items() if len(ngram) == 2)


def _ngrams(text: str) -> Counter[NGram]:
    words = text.split()
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(words) - length + 1)
    )


def words_of(text: str) -> list[str]:
    """Split a caption into lower-case words: punctuation dropped, "isn't" and "dog's" in two, hyphens kept."""
    return _WORD.findall(_STUCK.sub(r" \1", text.lower().replace("’", "'")))
