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
from typing import Literal


class RowKind(str, Enum):
    """The kinds of decoder rows."""

    OBJECT = "object"  # learned queries that find every thing and stuff region
    IMAGE = "image"  # one query that speaks for the whole picture
    PHRASE = "phrase"  # queries that answer phrases
    VISUAL = "visual"  # queries that answer the prompts of one object
    CAPTION = "caption"  # the words of a caption so far
    MEMORY = "memory"  # slots that read the previous round's mask
    PHRASE_TOKENS = "phrase_tokens"  # encoded words
    AUDIO_TOKENS = "audio_tokens"  # encoded words that were spoken
    REFERENCE_TOKENS = "reference_tokens"  # features of a region of another picture
    VISUAL_TOKENS = "visual_tokens"  # features of prompted pixels


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of rows and what those rows may look at."""

    kind: RowKind
    sees: frozenset[RowKind]
    reads_image: bool = True
    """Takes part in masked cross-attention."""
    answers: bool = True
    """The heads are evaluated for these rows."""
    owned: bool = False
    """Every row belongs to one object and ignores the rows of others."""
    causal: bool = False
    """Within the group, a row sees itself and those before it."""
    pools: RowKind | None = None
    """Answers with a mean of that group's rows, weighted by likeness, instead of its own row."""
    unmasked: int = 0
    """How many rows, from the first, read the whole picture instead of their own mask's foreground."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The attention table of one model version, and what else distinguishes it.

    Groups stand in the order of their rows; those that read the picture come first, tokens that change from level to
    level last.
    """

    groups: tuple[Group, ...]
    visual_queries: int | None = None
    """Visual queries an object, each a copy of one object query; None = a copy of all."""
    visual: RowKind | None = None
    """The group that answers visual prompts; None = the version takes none."""
    phrase: RowKind = RowKind.PHRASE
    """The group that answers phrases."""
    reference: RowKind | None = None
    """The rows that a reference becomes: its own, or the visual tokens of the prompted image; None = none are taken.

    SEEM v1's published code cannot use references.
    """
    composes: bool = False
    """The plain table already lets prompts of different kinds of one object meet."""
    objects_apart: bool = False
    """Nothing is shared between objects: each has its own pixels' limit and all memory slots."""
    max_points: int = 512
    """Prompt pixels that become tokens, for positive and negative pixels each."""
    no_points: float = -1.0
    """Every component of an object's prompt vector when nothing was marked."""
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    """How mask logits are resized: bilinear, or antialiased bicubic."""

    def group(self, kind: RowKind) -> Group | None:
        """Return the row of `kind`, or None where the version has none."""
        return next((group for group in self.groups if group.kind is kind), None)

    @property
    def takes_many(self) -> bool:
        """Whether one pass can answer several objects."""
        return any(group.owned for group in self.groups if group.kind is self.visual)

    @property
    def shares_phrases(self) -> bool:
        """Whether the words of one phrase are heard by all objects of a pass."""
        return not any(group.owned for group in self.groups if group.kind is RowKind.PHRASE_TOKENS)

    @property
    def found(self) -> frozenset[RowKind]:
        """The groups whose answers are the regions of the picture."""
        return frozenset({RowKind.OBJECT, RowKind.IMAGE}) & {group.kind for group in self.groups}

    def needed(self, asked: frozenset[RowKind], present: frozenset[RowKind]) -> tuple[Group, ...]:
        """Return the groups that the asked ones depend on, in row order.

        Rows that nobody asked for and that no asked row can see change nothing and are never computed.
        """
        wanted = asked & present
        while True:
            chosen = [group for group in self.groups if group.kind in wanted]
            seen = frozenset(kind for group in chosen for kind in group.sees)
            pooled = frozenset(group.pools for group in chosen if group.pools is not None)
            grown = wanted | ((seen | pooled) & present)
            if grown == wanted:
                return tuple(chosen)
            wanted = grown

    def composed(self) -> Policy:
        """Return the table for calls that hold a visual prompt *and* a phrase about one object.

        The published composition: visual queries also see the phrase's tokens (official `hook_opt`).
        """
        if self.composes:
            return self
        groups = tuple(
            replace(group, sees=group.sees | {RowKind.PHRASE_TOKENS})
            if group.kind is RowKind.VISUAL
            else group
            for group in self.groups
        )
        return replace(self, groups=groups)


def _see(*kinds: RowKind) -> frozenset[RowKind]:
    return frozenset(kinds)


def _tokens(kind: RowKind, *sees: RowKind, owned: bool = False) -> Group:
    return Group(kind, _see(*sees), reads_image=False, answers=False, owned=owned)


_SEEM = (
    Group(RowKind.OBJECT, _see(RowKind.OBJECT)),
    Group(RowKind.PHRASE, _see(RowKind.PHRASE, RowKind.PHRASE_TOKENS)),
    Group(RowKind.VISUAL, _see(RowKind.VISUAL, RowKind.VISUAL_TOKENS, RowKind.MEMORY), owned=True),
    Group(RowKind.MEMORY, _see(RowKind.MEMORY), answers=False, owned=True),
    _tokens(RowKind.PHRASE_TOKENS, RowKind.PHRASE, RowKind.PHRASE_TOKENS),
    _tokens(RowKind.VISUAL_TOKENS, RowKind.VISUAL_TOKENS, owned=True),
)

SEEM_V1 = Policy(_SEEM, visual=RowKind.VISUAL, visual_queries=3)
"""Three visual queries an object, objects side by side."""

SEEM_V0 = Policy(
    _SEEM, visual=RowKind.VISUAL, reference=RowKind.VISUAL_TOKENS, objects_apart=True, no_points=0.0
)
"""A copy of all object queries for every object (in the official code objects are the batch)."""

SEEM_DEMO = Policy(
    groups=(
        Group(
            RowKind.OBJECT,
            _see(
                RowKind.OBJECT,
                RowKind.PHRASE_TOKENS,
                RowKind.AUDIO_TOKENS,
                RowKind.REFERENCE_TOKENS,
                RowKind.VISUAL_TOKENS,
            ),
        ),
        _tokens(RowKind.PHRASE_TOKENS, RowKind.OBJECT, RowKind.PHRASE_TOKENS),
        _tokens(RowKind.AUDIO_TOKENS, RowKind.OBJECT, RowKind.AUDIO_TOKENS),
        _tokens(RowKind.REFERENCE_TOKENS, RowKind.REFERENCE_TOKENS),
        _tokens(RowKind.VISUAL_TOKENS, RowKind.VISUAL_TOKENS),
    ),
    visual=RowKind.OBJECT,
    phrase=RowKind.OBJECT,
    reference=RowKind.REFERENCE_TOKENS,
    composes=True,
    objects_apart=True,
    no_points=0.0,
)
"""No queries of their own for prompts: every prompt steers the object queries."""

XDECODER = Policy(
    groups=(
        Group(RowKind.OBJECT, _see(RowKind.OBJECT)),
        Group(RowKind.IMAGE, _see(RowKind.IMAGE), pools=RowKind.OBJECT),
        Group(RowKind.PHRASE, _see(RowKind.PHRASE, RowKind.PHRASE_TOKENS), unmasked=1),
        Group(RowKind.CAPTION, _see(RowKind.OBJECT, RowKind.IMAGE, RowKind.CAPTION), causal=True),
        _tokens(RowKind.PHRASE_TOKENS, RowKind.PHRASE, RowKind.PHRASE_TOKENS),
    ),
    resampling="bicubic",
)
"""X-Decoder: no visual prompts; captions and whole pictures.

The first phrase query reads everything: an index that is off by one in the official code (xdecoder.py:455), kept.
"""

NANO = Policy(
    groups=(
        Group(RowKind.OBJECT, _see(RowKind.OBJECT)),
        Group(
            RowKind.VISUAL,
            _see(
                RowKind.VISUAL,
                RowKind.VISUAL_TOKENS,
                RowKind.REFERENCE_TOKENS,
                RowKind.PHRASE_TOKENS,
            ),
            owned=True,
        ),
        _tokens(RowKind.PHRASE_TOKENS, RowKind.PHRASE_TOKENS, owned=True),
        _tokens(RowKind.REFERENCE_TOKENS, RowKind.REFERENCE_TOKENS, owned=True),
        _tokens(RowKind.VISUAL_TOKENS, RowKind.VISUAL_TOKENS, owned=True),
    ),
    visual=RowKind.VISUAL,
    phrase=RowKind.VISUAL,
    reference=RowKind.REFERENCE_TOKENS,
    visual_queries=1,
    composes=True,
    objects_apart=True,
    max_points=24,
)
"""Every prompt of a call is seen by the queries of its object, which answer all of them."""

POLICIES: dict[str, Policy] = {
    "seem-v1": SEEM_V1,
    "seem-v0": SEEM_V0,
    "seem-demo": SEEM_DEMO,
    "xdecoder": XDECODER,
    "nano": NANO,
}
