"""Class names as phrases, `phrase-best`: what `segment(Text(name))` finds against all that bears the name.

For every (photo, countable class in it): truth = the union of its instances, crowds and groups too; prediction = the
best answer to the phrase. That answer is one object, so several instances can be found only as far as one mask covers
them; the protocol that asks for all of them (`find`) is another. For every photo of a set whose annotation is complete
also one class that is not in it, drawn with the photo's id as seed: right is an empty result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.data.pack import ObjectRecord, Pack, PhotoRecord
from seem.evaluation.metrics.overlap import Overlap, OverlapScores
from seem.evaluation.metrics.refusal import RefusalShare
from seem.evaluation.report import Entry, Stopwatch
from seem.evaluation.selection import Selection
from seem.evaluation.subject import Scored, region
from seem.prompts import Text

PRESENT = "phrases: class names, phrase-best"
REFUSED = "phrases: class names, phrase-best, refused although present"
ABSENT = "phrases: class names, phrase-best, refused because absent"


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """What a photo is asked: `present` names with their instances, and one that is `absent` (None: unknown)."""

    photo: PhotoRecord
    present: tuple[tuple[str, tuple[ObjectRecord, ...]], ...]
    absent: str | None


def score_phrases(
    model: Scored, pack: Pack, photos: Sequence[NamedPhoto], step: Callable[[], object] = lambda: None
) -> list[Entry]:
    """Ask every photo for its names; `step` is called after each photo."""
    overlaps, missed, refused, answering = OverlapScores(), RefusalShare(), RefusalShare(), Stopwatch()
    for named in photos:
        seen = model.encode(pack.image(named.photo))
        for name, instances in named.present:
            with answering.running():
                predicted = region(seen.segment(Text(name)))
            overlaps.update(Overlap.of(predicted, union(instances)))
            missed.update(not predicted.any())
        if named.absent is not None:
            refused.update(not region(seen.segment(Text(named.absent))).any())
        step()
    present = Selection.of(pack.name, pack.split, ((n.photo, name) for n in photos for name, _ in n.present))
    absent = Selection.of(pack.name, pack.split, ((n.photo, n.absent) for n in photos if n.absent is not None))
    timings = {"phrase": answering.read()}
    entries = [
        Entry(PRESENT, "model", present, overlaps.compute(), timings),
        Entry(REFUSED, "model", present, missed.compute(), {}),
    ]
    return entries + ([Entry(ABSENT, "model", absent, refused.compute(), {})] if absent.items else [])


def named_photos(pack: Pack) -> list[NamedPhoto]:
    """List what each photo of a split is asked; photos that hold no named class are asked for the absent one alone."""
    return [_named(pack, photo) for photo in pack.photos]


def _named(pack: Pack, photo: PhotoRecord) -> NamedPhoto:
    instances: dict[str, list[ObjectRecord]] = {}
    for record in pack.objects[photo.id]:
        if record.category.is_thing and record.category.text:
            instances.setdefault(record.category.text, []).append(record)
    countable = {category.text for category in pack.categories.values() if category.is_thing}
    known = sorted(pack.complete_names(photo) & countable - instances.keys())
    absent = known[int(np.random.default_rng(photo.id).integers(len(known)))] if known else None
    return NamedPhoto(photo, tuple((name, tuple(instances[name])) for name in sorted(instances)), absent)


def union(instances: Sequence[ObjectRecord]) -> Bool[np.ndarray, "h w"]:
    """Join the masks of one or more instances."""
    return np.asarray(np.logical_or.reduce([record.mask() for record in instances]))
