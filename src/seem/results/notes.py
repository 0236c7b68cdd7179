"""The words of notes that results carry: what was looked for and is not there."""

from __future__ import annotations

from seem.vocabulary import Vocabulary

MAX_QUOTED_CHARACTERS = 60


def quoted(phrase: str) -> str:
    """Quote a phrase in a note, shortened to `MAX_QUOTED_CHARACTERS`."""
    if len(phrase) > MAX_QUOTED_CHARACTERS:
        phrase = f"{phrase[: MAX_QUOTED_CHARACTERS - 3]}..."
    return repr(phrase)


def ignored_phrase_note(label: str) -> str:
    """Say that phrases beside marks have no effect, because the image does not show them."""
    return f"{quoted(label)} was not found: only the visual prompts are used"


def absence_note(vocabulary: Vocabulary, threshold: float) -> str:
    """Say that no class of a vocabulary reaches a threshold, and what may help."""
    if len(vocabulary) == 1:
        subject = f"{quoted(vocabulary.names[0])} does not score"
    else:
        subject = f"none of the {len(vocabulary)} classes scores"
    return f"{subject} {threshold:g} or more; a lower threshold shows more"
