"""References: what one photo shows, found in another.

**Pairs** (photos). For every photo and every countable class that it shows: another photo that shows it, drawn by the
seed from all that do. The reference is the largest single instance there, as a mask; truth is the union of the class in
the first photo, crowds and groups too; the answer that of `segment(Reference(...))`. A class is shown by an object of
at least 0.5% of the photo, neither crowd nor group.

**In context** (videos; SEEM's zero-shot in-context prompting). The first frame shows each object by its mask; every
other annotated frame is segmented from that alone, and nothing is remembered from frame to frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from seem.data.dataset import Dataset, objects_by_name
from seem.data.records import ImageRecord, ObjectRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.interfaces import region
from seem.evaluation.metrics.in_context import InContextScores
from seem.evaluation.metrics.overlap import Overlap, OverlapScores
from seem.evaluation.protocols.phrases import SHOWN, union
from seem.evaluation.protocols.videos import Track, Videos
from seem.prompts import Mask, Reference

PAIRS = "reference: pairs"
IN_CONTEXT = "reference: in context"


# --- Pairs of photos --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """One question: what is called so in a photo, as another photo shows it."""

    name: str
    truth: tuple[ObjectRecord, ...]
    other: ImageRecord
    shown: ObjectRecord


def pairs(dataset: Dataset, seed: int = 0) -> Measure:
    """Look in every photo for what another one shows."""
    drawn = _Pairs(dataset, seed)
    shown, truth = "reference: the largest instance in the other photo", "truth: all of the class"
    rules = (shown, truth, SHOWN, f"pairs by seed {seed}")
    return Measure(PAIRS, (Line(PAIRS, "model", OverlapScores, rules),), drawn.of, _ask_pairs)


@dataclass
class _Pairs:
    dataset: Dataset
    seed: int

    def of(self, photo: ImageRecord) -> list[Pair]:
        """List the questions about a photo, by the class's name."""
        found = []
        for name, records in objects_by_name(self.dataset, photo).items():
            others = [pair for pair in self._instances.get(name, ()) if pair[0].id != photo.id]
            if others:
                other, shown = min(others, key=lambda pair: self._lot(name, photo, pair[0]))
                found.append(Pair(name, tuple(records), other, shown))
        return found

    @cached_property
    def _instances(self) -> dict[str, list[tuple[ImageRecord, ObjectRecord]]]:
        """List for every class the photos that have it, each with its largest single instance."""
        found: dict[str, list[tuple[ImageRecord, ObjectRecord]]] = {}
        for photo in self.dataset.images:
            for name, records in objects_by_name(self.dataset, photo).items():
                single = [record for record in records if not record.is_group]
                largest = max(single, key=lambda record: (record.area, -record.id))
                found.setdefault(name, []).append((photo, largest))
        return found

    def _lot(self, name: str, photo: ImageRecord, other: ImageRecord) -> bytes:
        return hashlib.sha256(f"{self.seed}:{name}:{photo.id}:{other.id}".encode()).digest()


def _ask_pairs(look: Look, asked: Sequence[Pair], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    for pair in asked:
        there = look.encode_other(pair.other, tally)
        seen = look.seen
        with look.asking(tally, "reference"):
            predicted = region(seen.segment(Reference(there, Mask(pair.shown.mask()))))
        truth = union(pair.truth)
        overlap = Overlap.of(predicted, truth)
        tally.metric.update(overlap)
        what = f"{pair.name} as in {pair.other.id}/{pair.shown.id}"
        tally.note(look.place, look.photo, what)
        tally.show(look.place, look.photo, what, overlap.iou, predicted, truth, what)


# --- In context: videos -----------------------------------------------------------------------------------------------


def in_context(dataset: Dataset) -> Measure:
    """Segment every frame of a video from the masks in its first one."""
    videos = Videos(dataset)
    rules = ("reference: the first frame", "all other annotated frames count", "each frame by itself")
    return Measure(IN_CONTEXT, (Line(IN_CONTEXT, "model", InContextScores, rules),), videos.of, _ask_frames)


def _ask_frames(look: Look, asked: Sequence[tuple[Track, ...]], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    (tracks,) = asked
    videos = Videos(look.dataset)
    shown = {track.number: Reference(look.seen, Mask(track.first)) for track in tracks}
    for number, frame in enumerate(videos.frames(look.photo)):
        if number == 0 or not videos.is_annotated(frame):
            continue
        there = look.encode_other(frame, tally)
        for track in tracks:
            with look.asking(tally, "reference"):
                predicted = region(there.segment(shown[track.number]))
            truth = videos.mask(frame, track.number)
            void = look.dataset.void(frame)
            predicted = predicted if void is None else predicted & ~void
            tally.metric.update(look.photo.sequence, track.number, number, predicted, truth, reference=0)
            tally.note(look.place, look.photo, f"{look.photo.sequence}/{frame.id}/{track.number}")
