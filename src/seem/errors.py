"""What goes wrong although the call was right; a wrong call is a `ValueError`."""

from __future__ import annotations

LONGEST_REASON = 200  # characters


class SeemError(OSError):
    """Work that failed: a file, a download, a device. One line: what, which value, and the way out."""


def short_reason(error: BaseException) -> str:
    """Say in a few words what a library said in many: its first sentence, or the kind of error if that is no word."""
    lines = str(error).strip().splitlines() or [""]
    sentence = lines[0].split(". ")[0][:LONGEST_REASON].rstrip(".")
    if any(character.isalpha() for character in sentence):
        return sentence
    return f"{type(error).__name__} {sentence}".strip()
