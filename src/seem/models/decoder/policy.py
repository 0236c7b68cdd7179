"""Who may look at whom: the attention policies of the model versions, as data.

A decoder pass holds rows of several kinds. The policy says, for every kind, which kinds its rows attend to in
self-attention, whether they read the picture, and whether they belong to one object. Rows that belong to an object see,
among rows that also belong to objects, only those of their own. Everything else about a version that the decoder needs
to know stands in the same table, so a new version is a new row, not a new class.

Sources: the official configuration files (ATTENTION_ARCH) and `data_struct_seemv1.py` for the object rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Kind(str, Enum):
    """The kinds of decoder rows."""

    OBJECT = "object"  # learned queries that find every thing and stuff region
    PHRASE = "phrase"  # queries that answer phrases
    VISUAL = "visual"  # queries that answer the prompts of one object
    MEMORY = "memory"  # slots that read the previous round's mask
    PHRASE_TOKENS = "phrase_tokens"  # encoded words
    VISUAL_TOKENS = "visual_tokens"  # features of prompted pixels


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of rows and what those rows may look at."""

    kind: Kind
    sees: frozenset[Kind]
    reads_image: bool = True
    """Takes part in masked cross-attention."""
    answers: bool = True
    """The heads are evaluated for these rows."""
    owned: bool = False
    """Every row belongs to one object and ignores the rows of others."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The attention table of one model version.

    Groups stand in the order of their rows; those that read the picture come first.
    """

    groups: tuple[Group, ...]
    visual_queries: int
    """Visual queries an object; each starts as a copy of one object query."""
    max_points: int = 512
    """Prompt pixels that become tokens, for positive and negative pixels each."""
    composes: bool = False
    """The plain table already lets prompts of different kinds of one object meet."""

    def group(self, kind: Kind) -> Group | None:
        """Return the row of `kind`, or None where the version has none."""
        return next((group for group in self.groups if group.kind is kind), None)

    def needed(self, asked: frozenset[Kind], present: frozenset[Kind]) -> tuple[Group, ...]:
        """Return the groups that the asked ones depend on, in row order.

        Rows that nobody asked for and that no asked row can see change nothing and are never computed.
        """
        wanted = asked & present
        while True:
            seen = frozenset(kind for group in self.groups if group.kind in wanted for kind in group.sees)
            grown = wanted | (seen & present)
            if grown == wanted:
                return tuple(group for group in self.groups if group.kind in wanted)
            wanted = grown

    def composed(self) -> Policy:
        """Return the table for calls that hold a visual prompt *and* a phrase about one object.

        The published composition: visual queries also see the phrase's tokens (official `hook_opt`).
        """
        if self.composes:
            return self
        groups = tuple(
            replace(group, sees=group.sees | {Kind.PHRASE_TOKENS}) if group.kind is Kind.VISUAL else group
            for group in self.groups
        )
        return replace(self, groups=groups)


def _see(*kinds: Kind) -> frozenset[Kind]:
    return frozenset(kinds)


SEEM_V1 = Policy(
    groups=(
        Group(Kind.OBJECT, _see(Kind.OBJECT)),
        Group(Kind.PHRASE, _see(Kind.PHRASE, Kind.PHRASE_TOKENS)),
        Group(Kind.VISUAL, _see(Kind.VISUAL, Kind.VISUAL_TOKENS, Kind.MEMORY), owned=True),
        Group(Kind.MEMORY, _see(Kind.MEMORY), answers=False, owned=True),
        Group(Kind.PHRASE_TOKENS, _see(Kind.PHRASE, Kind.PHRASE_TOKENS), reads_image=False, answers=False),
        Group(Kind.VISUAL_TOKENS, _see(Kind.VISUAL_TOKENS), reads_image=False, answers=False, owned=True),
    ),
    visual_queries=3,
)

NANO = Policy(
    groups=(
        Group(Kind.OBJECT, _see(Kind.OBJECT)),
        Group(Kind.VISUAL, _see(Kind.VISUAL, Kind.VISUAL_TOKENS, Kind.PHRASE_TOKENS), owned=True),
        Group(Kind.PHRASE_TOKENS, _see(Kind.PHRASE_TOKENS), reads_image=False, answers=False, owned=True),
        Group(Kind.VISUAL_TOKENS, _see(Kind.VISUAL_TOKENS), reads_image=False, answers=False, owned=True),
    ),
    visual_queries=1,
    max_points=48,
    composes=True,
)

POLICIES: dict[str, Policy] = {"seem-v1": SEEM_V1, "nano": NANO}
