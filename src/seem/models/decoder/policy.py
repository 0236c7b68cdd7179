"""Which rows attend to which: the attention policies of the model versions, as data.

A decoder pass holds rows of several kinds. The policy says, for every kind, which kinds its rows attend to in
self-attention, whether they read the image, and whether they belong to one object. Of the rows that belong to objects,
such a row attends only to those of its own object. Everything else about a version that the decoder needs to know
stands in the same table, so a new version is a new row, not a new class.

Sources: the official configuration files (ATTENTION_ARCH) and `data_struct_seemv1.py` for the object rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal


class RowKind(str, Enum):
    """The kinds of decoder rows."""

    OBJECT = "object"  # learned queries that find every thing and stuff region
    IMAGE = "image"  # one query for the full image
    PHRASE = "phrase"  # queries that answer phrases
    VISUAL = "visual"  # queries that answer the prompts of one object
    CAPTION = "caption"  # the words of a caption so far
    MEMORY = "memory"  # slots that read the previous round's mask
    PHRASE_TOKENS = "phrase_tokens"  # encoded words
    AUDIO_TOKENS = "audio_tokens"  # encoded words that were spoken
    REFERENCE_TOKENS = "reference_tokens"  # features of a region of another image
    VISUAL_TOKENS = "visual_tokens"  # features of prompted pixels


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of rows and the kinds that those rows attend to."""

    kind: RowKind
    attends_to: frozenset[RowKind]
    reads_image: bool = True
    """Takes part in masked cross-attention."""
    answers: bool = True
    """The heads are evaluated for these rows."""
    owned: bool = False
    """Every row belongs to one object and ignores the rows of others."""
    causal: bool = False
    """Within the group, a row attends to itself and those before it."""
    pools: RowKind | None = None
    """Answers with a mean of that group's rows, weighted by likeness, instead of its own row."""
    changes_with_level: bool = False
    """Rows are features of a level: every layer reads those of its own level, and what it makes of them is dropped."""
    unmasked: int = 0
    """How many rows, from the first, read the full image instead of their own mask's foreground."""

    @property
    def depends_on(self) -> frozenset[RowKind]:
        """The groups that change the answers of this one: those that it attends to, and the one that it pools."""
        return self.attends_to if self.pools is None else self.attends_to | {self.pools}


@dataclass(frozen=True, slots=True)
class Policy:
    """The attention table of one model version, and what else distinguishes it.

    Groups stand in the order of their rows; those that read the image come first, tokens that change from level to
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
    always_composed: bool = False
    """The queries of an object attend to prompts of all kinds in every call (`composed`)."""
    independent_objects: bool = False
    """Objects of a pass share nothing: each has `max_points` of its own and all memory slots."""
    max_points: int = 512
    """Prompt pixels that become tokens, for positive and negative pixels each."""
    no_points: float = -1.0
    """Every component of an object's prompt vector when nothing was marked."""
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    """How mask logits are resized: bilinear, or antialiased bicubic."""

    def group(self, kind: RowKind) -> Group | None:
        """Return the row of `kind`, or None where the version has none."""
        for group in self.groups:
            if group.kind is kind:
                return group
        return None

    @property
    def takes_many(self) -> bool:
        """Whether one pass can answer several objects."""
        return self.visual is not None and self._is_owned(self.visual)

    @property
    def shares_phrases(self) -> bool:
        """Whether the queries of all objects of a pass attend to the tokens of one phrase."""
        return not self._is_owned(RowKind.PHRASE_TOKENS)

    def _is_owned(self, kind: RowKind) -> bool:
        group = self.group(kind)
        return group is not None and group.owned

    @property
    def region_kinds(self) -> frozenset[RowKind]:
        """The groups whose answers are the regions of the image."""
        return frozenset({RowKind.OBJECT, RowKind.IMAGE}) & {group.kind for group in self.groups}

    def needed(self, wanted: frozenset[RowKind], present: frozenset[RowKind]) -> tuple[Group, ...]:
        """Return the groups that the wanted ones depend on, in row order.

        Rows that are not wanted and that no wanted row attends to change nothing and are never computed.
        """
        needed = wanted & present
        while True:
            groups = tuple(group for group in self.groups if group.kind in needed)
            grown = needed
            for group in groups:
                grown |= group.depends_on & present
            if grown == needed:
                return groups
            needed = grown

    def composed(self) -> Policy:
        """Return the table for calls that hold a visual prompt *and* a phrase about one object.

        The published composition: visual queries also attend to the phrase's tokens (official `hook_opt`).
        """
        if self.always_composed:
            return self
        groups = []
        for group in self.groups:
            if group.kind is RowKind.VISUAL:
                group = replace(group, attends_to=group.attends_to | {RowKind.PHRASE_TOKENS})
            groups.append(group)
        return replace(self, groups=tuple(groups))


def _kinds(*kinds: RowKind) -> frozenset[RowKind]:
    return frozenset(kinds)


def _tokens(kind: RowKind, *attends_to: RowKind, owned: bool = False) -> Group:
    return Group(
        kind,
        _kinds(*attends_to),
        reads_image=False,
        answers=False,
        owned=owned,
        changes_with_level=kind in (RowKind.REFERENCE_TOKENS, RowKind.VISUAL_TOKENS),
    )


_SEEM = (
    Group(RowKind.OBJECT, _kinds(RowKind.OBJECT)),
    Group(RowKind.PHRASE, _kinds(RowKind.PHRASE, RowKind.PHRASE_TOKENS)),
    Group(
        RowKind.VISUAL, _kinds(RowKind.VISUAL, RowKind.VISUAL_TOKENS, RowKind.MEMORY), owned=True
    ),
    Group(RowKind.MEMORY, _kinds(RowKind.MEMORY), answers=False, owned=True),
    _tokens(RowKind.PHRASE_TOKENS, RowKind.PHRASE, RowKind.PHRASE_TOKENS),
    _tokens(RowKind.VISUAL_TOKENS, RowKind.VISUAL_TOKENS, owned=True),
)

SEEM_V1 = Policy(_SEEM, visual=RowKind.VISUAL, visual_queries=3)
"""Three visual queries an object, objects side by side."""

SEEM_V0 = Policy(
    _SEEM,
    visual=RowKind.VISUAL,
    reference=RowKind.VISUAL_TOKENS,
    independent_objects=True,
    no_points=0.0,
)
"""A copy of all object queries for every object (in the official code objects are the batch)."""

SEEM_DEMO = Policy(
    groups=(
        Group(
            RowKind.OBJECT,
            _kinds(
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
    always_composed=True,
    independent_objects=True,
    no_points=0.0,
)
"""No queries of their own for prompts: every prompt steers the object queries."""

XDECODER = Policy(
    groups=(
        Group(RowKind.OBJECT, _kinds(RowKind.OBJECT)),
        Group(RowKind.IMAGE, _kinds(RowKind.IMAGE), pools=RowKind.OBJECT),
        Group(RowKind.PHRASE, _kinds(RowKind.PHRASE, RowKind.PHRASE_TOKENS), unmasked=1),
        Group(RowKind.CAPTION, _kinds(RowKind.OBJECT, RowKind.IMAGE, RowKind.CAPTION), causal=True),
        _tokens(RowKind.PHRASE_TOKENS, RowKind.PHRASE, RowKind.PHRASE_TOKENS),
    ),
    resampling="bicubic",
)
"""X-Decoder: no visual prompts; captions and full images.

The first phrase query reads everything: an index that is off by one in the official code (xdecoder.py:455), kept.
"""

NANO = Policy(
    groups=(
        Group(RowKind.OBJECT, _kinds(RowKind.OBJECT)),
        Group(
            RowKind.VISUAL,
            _kinds(
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
    always_composed=True,
    independent_objects=True,
    max_points=24,
)
"""The queries of an object attend to all of its prompts, and answer them together."""

POLICIES: dict[str, Policy] = {
    "seem-v1": SEEM_V1,
    "seem-v0": SEEM_V0,
    "seem-demo": SEEM_DEMO,
    "xdecoder": XDECODER,
    "nano": NANO,
}
