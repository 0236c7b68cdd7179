"""The thresholds that nano's answers are read with, chosen on one half of the validation photos.

    python -m benchmarks.nano_thresholds --data ../shared/data --model runs/nano2/large/nano.safetensors

Run from the repository's root when weights have changed. Photos with even numbers are the first half. For each
threshold it prints the value that is best on the first half, and what that value and today's give on the second; the
chosen values are then written into `seem.config`.

    presence_midpoint   names that a photo shows found, and one that it does not refused: the mean of the two shares
    likeness_midpoint   the same of references
    panoptic_threshold  panoptic quality
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

import seem
from seem.data.pack import Pack
from seem.data.records import ImageRecord
from seem.evaluation.metrics.panoptic import PanopticQuality
from seem.evaluation.protocols.full_image import predicted_segmentation, true_segmentation
from seem.evaluation.protocols.phrases import named_image
from seem.evaluation.protocols.references import reference_pair_benchmark
from seem.inference.dense_recognizer import LIKENESS_SLOPE
from seem.prompts import Mask, Reference, Text
from seem.vocabulary import Vocabulary

SETS = ("coco_full", "voc_animals", "voc_general")
PANOPTIC_SET = "coco_full"
PANOPTIC_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SMALLEST = 1e-6

Half: TypeAlias = int
"""0 to choose on, 1 to report on."""


@dataclass
class Decisions:
    """Raw scores of things that a photo shows and of things that it does not, by half."""

    present: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    absent: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def add(self, half: Half, is_present: bool, raw: float) -> None:
        """Add the raw score of one thing."""
        (self.present if is_present else self.absent)[half].append(raw)

    def shares(self, half: Half, midpoint: float) -> tuple[float, float]:
        """Return the percentage of what is present that is found, and of what is absent that is refused."""
        found = np.mean(np.array(self.present[half]) >= midpoint)
        refused = np.mean(np.array(self.absent[half]) < midpoint)
        return 100 * float(found), 100 * float(refused)

    def best_midpoint(self) -> float:
        """Return the midpoint with the largest sum of both shares on the first half."""
        values = np.unique(self.present[0] + self.absent[0])
        sums = [sum(self.shares(0, value)) for value in values]
        best = np.flatnonzero(np.isclose(sums, max(sums)))
        return float(values[best[len(best) // 2]])


def half_of(image: ImageRecord) -> Half:
    """Return which half of the validation photos an image belongs to."""
    return image.id % 2


def presence_of(score: float, midpoint: float) -> float:
    """Undo `presence_scores`: return the mean probability of the best cells."""
    return midpoint * score / max(1 - score, SMALLEST)


def cosine_of(score: float, midpoint: float) -> float:
    """Undo `DenseRecognizer.likeness`: return the cosine."""
    inside = min(max(score, SMALLEST), 1 - SMALLEST)
    return midpoint + float(np.log(inside / (1 - inside))) / LIKENESS_SLOPE


class ThresholdChooser:
    """Collects what thresholds decide about, on the validation photos of a pack."""

    def __init__(self, model: seem.Model) -> None:
        self.model = model
        self.config = model.network.config
        self.names = Decisions()
        self.references = Decisions()
        self.quality: dict[tuple[Half, float], PanopticQuality] = {}

    def read_set(self, pack: Pack) -> None:
        """Ask for the names and references of every photo of a set."""
        pairs = reference_pair_benchmark(pack)
        by_id = {image.id: image for image in pack.images}
        for image in pack.images:
            encoded = self.model.encode(pack.pixels(image))
            named = named_image(pack, image)
            for name, _ in named.present:
                self._read_name(encoded, image, name, is_present=True)
            if named.absent is not None:
                self._read_name(encoded, image, named.absent, is_present=False)
            for pair in pairs.items(image):
                other = self.model.encode(pack.pixels(by_id[pair.reference_image.id]))
                reference = Reference(other, Mask(pair.reference.mask()))
                score = self._score(encoded, reference)
                raw = cosine_of(score, self.config.likeness_midpoint)
                self.references.add(half_of(image), bool(pair.truth), raw)

    def _read_name(
        self, encoded: seem.EncodedImage, image: ImageRecord, name: str, *, is_present: bool
    ) -> None:
        raw = presence_of(self._score(encoded, Text(name)), self.config.presence_midpoint)
        self.names.add(half_of(image), is_present, raw)

    def _score(self, encoded: seem.EncodedImage, prompt: Text | Reference) -> float:
        """Return the score of the answer; 0 where it is empty whatever its score."""
        scores = encoded.segment(prompt, text_threshold=0.0).scores.tolist()
        return float(scores[0]) if scores else 0.0

    def read_panoptic(self, pack: Pack) -> None:
        """Segment every panoptic photo at every threshold."""
        vocabulary = Vocabulary.coco_panoptic()
        is_thing = dict(zip(vocabulary.ids, vocabulary.is_thing, strict=True))
        class_ids = {number: number for number in vocabulary.ids}
        for image in pack.images:
            stored = pack.panoptic(image)
            if stored is None or image.panoptic_path is None:
                continue
            truth = true_segmentation(stored, class_ids)
            encoded = self.model.encode(pack.pixels(image))
            for threshold in {*PANOPTIC_THRESHOLDS, self.config.panoptic_threshold}:
                predicted = predicted_segmentation(encoded.panoptic(threshold=threshold))
                key = (half_of(image), threshold)
                quality = self.quality.setdefault(key, PanopticQuality(is_thing))
                quality.update(predicted, truth)

    def panoptic_quality(self, half: Half, threshold: float) -> float:
        """Return PQ over all classes."""
        return self.quality[half, threshold].compute().all.pq

    def report(self) -> list[str]:
        """Say which values are best, and what they give."""
        lines = []
        rows = (
            ("presence_midpoint", self.names, self.config.presence_midpoint),
            ("likeness_midpoint", self.references, self.config.likeness_midpoint),
        )
        for name, decisions, today in rows:
            for title, value in (("chosen", decisions.best_midpoint()), ("today", today)):
                found, refused = decisions.shares(1, value)
                lines.append(
                    f"{name:19} {title:7} {value:.3f}: {found:.1f} found, {refused:.1f} refused"
                )
        best = max(PANOPTIC_THRESHOLDS, key=lambda value: self.panoptic_quality(0, value))
        for title, value in (("chosen", best), ("today", self.config.panoptic_threshold)):
            quality = self.panoptic_quality(1, value)
            lines.append(f"{'panoptic_threshold':19} {title:7} {value:.3f}: PQ {quality:.1f}")
        return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the validation photos, and print the table."""
    parser = argparse.ArgumentParser(
        description="Choose nano's thresholds on half of the validation photos."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the photo pack")
    parser.add_argument("--model", default="nano", help="model name or weights file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chooser = ThresholdChooser(seem.load(given.model, precision="exact"))
    for name in SETS:
        chooser.read_set(Pack.open(given.data / name, "val"))
    chooser.read_panoptic(Pack.open(given.data / PANOPTIC_SET, "val"))
    print("\n".join(chooser.report()))


if __name__ == "__main__":
    main()
