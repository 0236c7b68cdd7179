"""Phrases about objects when their image is mirrored or cropped: which change, which may become untrue."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_RIGHT_OF_LEFT = {
    "left": "right",
    "leftmost": "rightmost",
    "lefthand": "righthand",
    "leftward": "rightward",
    "leftwards": "rightwards",
}
_OPPOSITE_SIDE = _RIGHT_OF_LEFT | {right: left for left, right in _RIGHT_OF_LEFT.items()}
_SIDE_WORD = re.compile(
    rf"\b({'|'.join(sorted(_OPPOSITE_SIDE, key=len, reverse=True))})\b", re.IGNORECASE
)
_RIGHT_BUT_NO_SIDE = re.compile(
    r"\b(right (?:before|after|now|away|next|behind|in front|beside|angle)|all right|upright)\b",
    re.IGNORECASE,
)
_RELATIVE_WORD = re.compile(
    r"\b(left\w*|right\w*|middle|cent(?:er|re)|upper|lower|top|bottom|bigger|biggest|larger|largest|smaller|smallest"
    r"|front|back|behind|nearest|closest|farthest|first|second|third|last|other|tallest|shortest)\b",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=65536)
def mirror_phrase(phrase: str) -> str:
    """Rewrite a phrase for the mirrored image: left becomes right and the reverse, keeping capitals.

    "right" that means no side ("right before") stays.
    """
    if _RIGHT_BUT_NO_SIDE.search(phrase):
        return phrase
    return _SIDE_WORD.sub(_swap_side, phrase)


def mirror_phrases(phrases: Iterable[str]) -> tuple[str, ...]:
    """Rewrite each phrase for the mirrored image."""
    return tuple(map(mirror_phrase, phrases))


@functools.lru_cache(maxsize=65536)
def is_relative_phrase(phrase: str) -> bool:
    """Whether a phrase compares the object with others or with the frame, so that a crop may make it untrue."""
    return _RELATIVE_WORD.search(phrase) is not None


def _swap_side(match: re.Match[str]) -> str:
    word = match.group()
    opposite = _OPPOSITE_SIDE[word.lower()]
    if word.isupper():
        return opposite.upper()
    if word[0].isupper():
        return opposite.capitalize()
    return opposite
