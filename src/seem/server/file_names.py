"""Names that clients give to files: they are shown and written into annotations, and never opened."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 120
SEPARATORS = re.compile(r"[/\\:]")


def plain_name(name: str, default: str = "image") -> str:
    """Return the last part of a path as a plain name: no separators, no control characters, not hidden, not long."""
    last = SEPARATORS.split(name)[-1]
    letters = [letter for letter in last if unicodedata.category(letter)[0] != "C"]
    plain = "".join(letters).strip(" .")
    if len(plain) > MAX_CHARACTERS:
        stem, dot, suffix = plain.rpartition(".")
        ending = dot + suffix if stem and len(suffix) < 8 else ""
        plain = plain[: MAX_CHARACTERS - len(ending)] + ending
    return plain or default
