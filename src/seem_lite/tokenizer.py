"""Phrases to token ids, by the byte pairs of `tokenizer.json`."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np

WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def byte_characters() -> list[str]:
    """Return the character that stands for each of the 256 bytes: itself if it prints, else one from U+0100 on."""
    characters, borrowed = [], 256
    for byte in range(256):
        if chr(byte).isprintable() and chr(byte) != " ":
            characters.append(chr(byte))
        else:
            characters.append(chr(borrowed))
            borrowed += 1
    return characters


class Tokenizer:
    """The vocabulary of a folder."""

    def __init__(self, model: dict[str, Any], begin: int, end: int, context: int) -> None:
        self.ids: dict[str, int] = model["vocab"]
        self.ranks = {tuple(merge.split()): rank for rank, merge in enumerate(model["merges"])}
        self.begin, self.end, self.context = begin, end, context
        self.characters = byte_characters()

    def __call__(self, phrases: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (phrases, tokens), padded with the end token, and which of them are the phrase."""
        rows = []
        for phrase in phrases:
            tokens = []
            for word in WORDS.findall(unicodedata.normalize("NFC", phrase).lower()):
                tokens += self.split(word)
            rows.append([self.begin, *tokens[: self.context - 2], self.end])
        width = max(3, *map(len, rows))
        ids = np.full((len(rows), width), self.end, dtype=np.int64)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = row
        lengths = np.array([len(row) for row in rows])
        return ids, np.arange(width) < lengths[:, None]

    def split(self, word: str) -> list[int]:
        """Join the bytes of a word, the best pair first, until no pair is left; return the ids of its parts."""
        parts = [self.characters[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while True:
            pairs = [
                (self.ranks.get(pair, len(self.ranks)), i) for i, pair in enumerate(pairwise(parts))
            ]
            rank, i = min(pairs, default=(len(self.ranks), 0))
            if rank == len(self.ranks):
                return [self.ids[part] for part in parts]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
