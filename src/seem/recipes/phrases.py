"""Phrases about nouns with the directions that they should have: what the phrase tower of nano is trained on.

A phrase has the direction of its head noun, turned a little by a quality (a red car) or by a second noun (a car behind
a tree); all other words leave it as it is.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seem.data.classes import prompt_name
from seem.recipes.directions import Nouns, plural_of, spread
from seem.training.nouns import nouns_of
from seem.training.vocabulary import OTHER_WORDS, SHIPPABLE_GROUPS, SHIPPABLE_SETS, train_images

QUALITIES = (
    "left", "right", "upper", "lower", "middle", "front", "back", "bigger", "smaller", "red", "blue", "green", "yellow",
    "white", "black", "brown", "orange", "pink", "grey", "purple", "old", "young", "wooden", "striped", "round", "open",
)  # fmt: skip
"""Words that turn a direction a little: a left door is a door."""

TEMPLATES = (
    "a {}", "the {}", "the {}", "this {}", "all {}", "some {}", "every {}", "one {}", "two {}", "my {}",
    "a photo of a {}.", "a photo of the {}.", "a picture of {}", "there is a {}", "the {} in the photo",
    "the {} in the background",
    "an image of a {}", "a close-up of a {}", "a cropped photo of a {}.", "a {} in a scene", "the {} at the back",
)  # fmt: skip
"""Sentences around a noun that do not change what is meant."""

JOINS = (
    " with a ",
    " on a ",
    " next to a ",
    " in front of the ",
    " holding a ",
    " near the ",
    " and a ",
    " riding a ",
)
"""What stands between a name and another one that only says where or how."""

SAME_QUALITY: Mapping[str, Sequence[str]] = {
    "left": ("leftmost",), "right": ("rightmost",), "upper": ("top",), "lower": ("bottom",),
    "middle": ("center", "centre", "central"), "bigger": ("big", "large", "biggest", "largest"),
    "smaller": ("small", "little", "tiny", "smallest"), "grey": ("gray",), "back": ("rear", "far"),
    "front": ("near", "nearest", "closest"),
}  # fmt: skip
"""Further words for qualities."""

ASIDE = ("on the {}", "at the {}", "in the {}", "to the {}")  # where places stand behind a noun
POSITIONS = ("left", "right", "middle", "front", "back", "top", "bottom", "center", "corner")
NEUTRAL = tuple(word for word in OTHER_WORDS.split() if len(word) > 3)

HELD_OUT = 25  # one word of so many is kept for validation


@dataclass(frozen=True, slots=True)
class PhraseMix:
    """How often phrases are of which kind; the rest are bare words."""

    template: float = 0.22
    compound: float = 0.1
    caption: float = 0.1
    quality: float = 0.3
    """Of templates and compounds: how many have a quality in front of the noun or behind it."""
    beside: float = 0.25
    """Of templates and compounds: how many name a second noun."""
    plural: float = 0.15


@dataclass(frozen=True, slots=True)
class PhraseShares:
    """Squared lengths of what is added to the direction of a noun."""

    quality: float = 0.15
    beside: float = 0.08
    modifier: float = 0.08


@dataclass(frozen=True, slots=True)
class Caption:
    """A phrase that somebody said about an object of class `name`."""

    text: str
    name: str


class PhraseSampler:
    """Draws phrases with directions.

    Args:
        nouns: all words.
        captions: phrases about objects of known classes.
        validation: words that are never drawn.
    """

    def __init__(
        self,
        nouns: Nouns,
        captions: Sequence[Caption] = (),
        validation: frozenset[str] = frozenset(),
        mix: PhraseMix = PhraseMix(),
        shares: PhraseShares = PhraseShares(),
    ) -> None:
        self.nouns = nouns
        self.mix = mix
        self.shares = shares
        self.captions = [(caption.text, self.caption_direction(caption)) for caption in captions]
        drawn = [word not in validation for word in nouns.words]
        self.weights = np.where(drawn, nouns.weights, 0.0)
        self.cumulative = np.cumsum(self.weights / self.weights.sum())

    def caption_direction(self, caption: Caption) -> Float[Tensor, " d"]:
        """Return the direction of the first noun of a caption that its class agrees with, turned by its qualities."""
        head = self._head_direction(caption)
        return self.turned(head, caption.text.lower().replace(",", " ").split())

    def _head_direction(self, caption: Caption) -> Float[Tensor, " d"]:
        name = self.nouns[caption.name]
        for noun in nouns_of(caption.text):
            if noun in self.nouns and float(self.nouns[noun] @ name) > 0.5:
                return self.nouns[noun]
        return name

    def turned(self, vector: Float[Tensor, " d"], words: Sequence[str]) -> Float[Tensor, " d"]:
        """Turn a direction by the qualities among some words."""
        table = quality_directions(vector.shape[0])
        for word in words:
            if word in table:
                vector = vector + math.sqrt(self.shares.quality) * table[word]
        return F.normalize(vector, dim=0)

    def draw_row(self, rng: np.random.Generator) -> int:
        """Draw a word by its weight; return its row."""
        return min(int(np.searchsorted(self.cumulative, rng.random())), len(self.cumulative) - 1)

    def draw(self, rng: np.random.Generator) -> tuple[str, Float[Tensor, " d"]]:
        """Draw a phrase with its direction."""
        dice = rng.random()
        mix = self.mix
        if dice < mix.caption and self.captions:
            return self.captions[int(rng.integers(len(self.captions)))]
        row = self.draw_row(rng)
        word, vector = self.nouns.words[row], self.nouns.vectors[row]
        text = self.plural(word) if rng.random() < mix.plural else word
        if dice > mix.caption + mix.template + mix.compound:
            return text, vector
        if dice < mix.caption + mix.compound:
            modifier = self.draw_row(rng)
            text = f"{self.nouns.words[modifier]} {text}"
            if text in self.nouns:  # a compound that the dictionary lists
                return text, self.nouns[text]
            vector = vector + math.sqrt(self.shares.modifier) * self.nouns.vectors[modifier]
        return self.fill_template(text, vector, rng)

    def fill_template(
        self, text: str, vector: Float[Tensor, " d"], rng: np.random.Generator
    ) -> tuple[str, Float[Tensor, " d"]]:
        """Put a noun into a sentence, with or without a quality and another noun."""
        if rng.random() < self.mix.quality:
            table = quality_directions(vector.shape[0])
            qualities = list(table)
            quality = qualities[int(rng.integers(len(qualities)))]
            aside = quality in POSITIONS and rng.random() < 0.5
            position = ASIDE[int(rng.integers(len(ASIDE)))].format(quality)
            text = f"{text} {position}" if aside else f"{quality} {text}"
            vector = vector + math.sqrt(self.shares.quality) * table[quality]
        elif rng.random() < 0.3:
            text = f"{NEUTRAL[int(rng.integers(len(NEUTRAL)))]} {text}"
        text = TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(text)
        if rng.random() < self.mix.beside:
            other = self.draw_row(rng)
            text = text.rstrip(".") + JOINS[int(rng.integers(len(JOINS)))] + self.nouns.words[other]
            vector = vector + math.sqrt(self.shares.beside) * self.nouns.vectors[other]
        return text, F.normalize(vector, dim=0)

    def plural(self, word: str) -> str:
        """Return the plural of a word."""
        return plural_of(word, self.nouns.plurals)


_QUALITIES: dict[int, dict[str, Tensor]] = {}


def quality_directions(dim: int) -> dict[str, Float[Tensor, " d"]]:
    """Return a direction for every quality and its other words."""
    if dim not in _QUALITIES:
        rows = spread(len(QUALITIES), dim, seed=1)
        table = dict(zip(QUALITIES, rows, strict=True))
        for quality, others in SAME_QUALITY.items():
            table |= dict.fromkeys(others, table[quality])
        _QUALITIES[dim] = table
    return _QUALITIES[dim]


def held_out(nouns: Nouns, minimum: float = 0.5) -> frozenset[str]:
    """Return the words that are kept for validation: one visible word in `HELD_OUT`, by its checksum, no class name."""
    classes = set(nouns.classes)
    held_out_words = []
    for word, weight in zip(nouns.words, nouns.weights, strict=True):
        is_chosen = zlib.crc32(word.encode()) % HELD_OUT == 0
        if is_chosen and weight >= minimum and word not in classes:
            held_out_words.append(word)
    return frozenset(held_out_words)


def read_captions(data: Path, nouns: Nouns) -> list[Caption]:
    """Read what is said about objects of train photos that may go into shipped weights, where their class is known."""
    captions: dict[Caption, None] = {}
    for name in SHIPPABLE_SETS:
        content = json.loads((data / name / "annotations.json").read_text(encoding="utf-8"))
        images = train_images(content, SHIPPABLE_GROUPS.get(name))
        names = {row["id"]: prompt_name(row["name"]) for row in content["categories"]}
        for annotation in content["annotations"]:
            class_name = names[annotation["category_id"]]
            if annotation["image_id"] in images and class_name in nouns:
                for text in annotation.get("phrases", ()):
                    captions[Caption(text, class_name)] = None
    return list(captions)


def stack(
    drawn: Sequence[tuple[str, Float[Tensor, " d"]]],
) -> tuple[list[str], Float[Tensor, "n d"]]:
    """Turn pairs into a list of phrases and a matrix of directions."""
    return [text for text, _ in drawn], torch.stack([vector for _, vector in drawn])
