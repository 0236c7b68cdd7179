"""nano's exported graphs behind the questions of the command line, without PyTorch: `seem_lite` answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

import seem_lite
from seem.errors import SeemError
from seem.images import MAX_PIXELS, ImageLike, InputImage, read_image
from seem.inference.object_prompts import ObjectPrompts
from seem.models.decoder.policy import NANO
from seem.prompts import (
    Box,
    Point,
    Polygon,
    Prompt,
    Scribble,
    Stroke,
    Text,
    VisualPrompt,
    rasterization_rule,
)
from seem.prompts.arguments import checked_points
from seem.results import Labels, Provenance, Results
from seem.results.notes import absence_note, ignored_phrase_note, quoted
from seem.vocabulary import Classes, Vocabulary

RECORD = "preprocess.json"  # every exported folder has one
PACKAGED = "nano_graphs"  # folder of nano's graphs in the package's assets
DEVICE, PRECISION = "cpu", "float32"
Returned = TypeVar("Returned")

TAKEN_PROMPTS = (Point, Stroke, Scribble, Box, Polygon, Text)


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Tell a folder of exported graphs from other paths, and from names."""
    return (Path(path) / RECORD).is_file()


def packaged_graphs() -> Path | None:
    """Return the folder of nano's graphs in the package; None where there is none, or nothing that runs them."""
    folder = Path(str(files("seem"))) / "assets" / PACKAGED
    if is_exported(folder) and is_installed("onnxruntime"):
        return folder
    return None


def has_pytorch() -> bool:
    """Tell whether PyTorch is installed, without importing it."""
    return is_installed("torch")


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # somebody forbids it
        return False


def unsupported_prompt(prompts: Sequence[Prompt]) -> Prompt | None:
    """Return the first prompt that exported graphs do not answer; None if they answer all."""
    for prompt in prompts:
        if not isinstance(prompt, TAKEN_PROMPTS):
            return prompt
    return None


class ExportedModel:
    """A folder that `seem export` has written for nano: encodes images, in float32 on the CPU."""

    def __init__(self, folder: str | os.PathLike[str], threads: int = 0) -> None:
        """Read what the folder says; `SeemError` for one that cannot be used."""
        self.lite = explained_folder(partial(seem_lite.load, folder, threads))
        record = self.lite.record
        self.name = str(record["model"])
        self.sha256 = str(record.get("weights_sha256", ""))
        self.device, self.precision = DEVICE, PRECISION

    def vocabulary(self, classes: Classes = None) -> Vocabulary:
        """Read a `classes` argument: None are those that the model was fine-tuned on, or else COCO's 133."""
        own = self.lite.record["classes"].get("own")
        if classes is not None or own is None:
            return Vocabulary.coerce(classes)
        names = [each["name"] for each in own["classes"]]
        stuff = [each["name"] for each in own["classes"] if not each["is_thing"]]
        return Vocabulary.of(names, stuff)

    def encode(
        self, image: ImageLike, size: int | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> ExportedImage:
        """Run the image graph; arguments and errors as in `Model.encode`, of `size` only None."""
        if size is not None:
            raise ValueError(f"size is {size}; exported graphs see photos at the model's own size.")
        started = time.perf_counter()
        source = read_image(image, max_pixels)
        photo = explained_folder(partial(self.lite.encode, source.rgb))
        return ExportedImage(self, source, photo, time.perf_counter() - started)


@dataclass(frozen=True, slots=True, eq=False)
class ExportedImage:
    """An image that an exported model has encoded: the questions that can be asked about it."""

    model: ExportedModel
    source: InputImage
    photo: seem_lite.Photo
    encode_seconds: float

    def segment_many(
        self, objects: Sequence[Sequence[Prompt]], *, text_threshold: float | None = None
    ) -> Results:
        """Segment several objects, as `EncodedImage.segment_many` does; `ValueError` for prompts that graphs lack."""
        started = time.perf_counter()
        notes: list[str] = []
        answers: dict[int, seem_lite.Answer] = {}
        rows: list[ObjectPrompts] = []
        sorted_objects = [ObjectPrompts.of(prompts) for prompts in objects]
        for index, prompts in enumerate(sorted_objects):
            check_prompts(prompts, self.source.hw)
            answer = self._answer(prompts, text_threshold)
            if answer is None:
                notes.append(missing_note(prompts, index, len(sorted_objects)))
                continue
            if not answer.used_phrases:
                notes.insert(0, ignored_phrase_note(str(prompts.label)))
                prompts = ObjectPrompts.of(prompts.visual)
            answers[index] = answer
            rows.append(prompts)
        kinds = dict.fromkeys(each.answering_rule(NANO) for each in (rows or sorted_objects[:1]))
        logits = [answer.logits for answer in answers.values()]
        scores = [answer.score for answer in answers.values()]
        return Results.of(
            self.source.rgb,
            (answer.mask for answer in answers.values()),
            scores,
            vocabulary=self.model.vocabulary(),
            kind=", ".join(kinds),
            provenance=self._provenance("interactive", started, notes, sorted_objects),
            labels=partial(self._labels, rows, scores, logits),
            ids=[index + 1 for index in answers],
            logits=np.stack(logits) if logits else None,
        )

    def _answer(
        self, prompts: ObjectPrompts, text_threshold: float | None
    ) -> seem_lite.Answer | None:
        """Ask the graphs for one object."""
        visual = prompts.visual
        return explained_folder(
            partial(
                self.photo.segment,
                points=positions(visual, positive=True),
                not_points=positions(visual, positive=False),
                strokes=strokes(visual, positive=True),
                not_strokes=strokes(visual, positive=False),
                width=stroke_width(visual),
                boxes=[(box.x0, box.y0, box.x1, box.y1) for box in visual if isinstance(box, Box)],
                polygons=[
                    checked_points(mark.points) for mark in visual if isinstance(mark, Polygon)
                ],
                phrases=prompts.phrases,
                threshold=text_threshold,
            )
        )

    def _labels(
        self,
        rows: Sequence[ObjectPrompts],
        scores: Sequence[float],
        logits: Sequence[NDArray[np.float32]],
    ) -> Labels:
        """Label rows by their phrases, those without by their text map."""
        names, label_scores = [], []
        for prompts, score, mask_logits in zip(rows, scores, logits, strict=True):
            name, label_score = prompts.label, score
            if name is None:
                name, label_score = self.photo.name(mask_logits)
            names.append(name)
            label_scores.append(label_score)
        return Labels(tuple(names), tuple(label_scores))

    def panoptic(self, classes: Classes = None, threshold: float | None = None) -> Results:
        """Segment every thing and stuff region, as `EncodedImage.panoptic` does."""
        started = time.perf_counter()
        vocabulary = self.model.vocabulary(classes)
        if threshold is None:
            threshold = self.model.lite.record["thresholds"]["panoptic"]
        names, stuff = self._listed_or_own(vocabulary)
        answer = explained_folder(partial(self.photo.panoptic, names, threshold, stuff))
        spelled = dict(zip(vocabulary.phrases, vocabulary.names, strict=True))
        labels = [spelled.get(segment.name, segment.name) for segment in answer.segments]
        scores = [segment.score for segment in answer.segments]
        notes = [] if answer.segments else [absence_note(vocabulary, threshold)]
        return Results.of(
            self.source.rgb,
            (answer.ids == segment.id for segment in answer.segments),
            scores,
            vocabulary=vocabulary,
            kind="phrases, connected components",
            provenance=self._provenance("panoptic", started, notes),
            labels=Labels(tuple(labels), tuple(scores)),
        )

    def _listed_or_own(self, vocabulary: Vocabulary) -> tuple[str | Sequence[str], Sequence[str]]:
        """Return the list of the folder that a vocabulary is, or else its phrases and which of them are stuff."""
        for name, listed in self.model.lite.record["classes"].items():
            if tuple(each["phrase"] for each in listed["classes"]) == vocabulary.phrases:
                return name, ()
        stuff = [category.phrase for category in vocabulary if not category.is_thing]
        return vocabulary.phrases, stuff

    def _provenance(
        self,
        task: str,
        started: float,
        notes: Sequence[str],
        objects: Sequence[ObjectPrompts] = (),
    ) -> Provenance:
        rules = set()
        for prompts in objects:
            for mark in prompts.visual:
                is_outline = isinstance(mark, Polygon)
                rules.add(rasterization_rule(mark, "filled", is_outline=is_outline))
        return Provenance(
            task=task,
            model=self.model.name,
            model_sha256=self.model.sha256,
            precision=PRECISION,
            prompts=tuple(prompts.prompts for prompts in objects),
            seconds={"encode": self.encode_seconds, task: time.perf_counter() - started},
            rules=tuple(sorted(rules)),
            notes=(*self.source.notes, *notes),
            image_name=self.source.name,
            orientation=self.source.orientation,
        )


# --- Prompts as `seem_lite` takes them --------------------------------------------------------------------------------


def check_prompts(prompts: ObjectPrompts, image_hw: tuple[int, int]) -> None:
    """Raise `ValueError` for a prompt that graphs do not take, and for marks outside the image."""
    unsupported = unsupported_prompt(prompts.prompts)
    if unsupported is not None:
        raise ValueError(
            f"Exported graphs take no {type(unsupported).__name__} here; load the model itself for it."
        )
    for mark in prompts.visual:
        mark.check_inside(image_hw)
    stroke_width(prompts.visual)


def positions(marks: Sequence[VisualPrompt], *, positive: bool) -> list[tuple[float, float]]:
    """Return the clicks of one sign."""
    clicks = []
    for mark in marks:
        if isinstance(mark, Point) and mark.positive is positive:
            clicks.append((mark.x, mark.y))
    return clicks


def strokes(marks: Sequence[VisualPrompt], *, positive: bool) -> list[Sequence[Sequence[float]]]:
    """Return the lines of strokes and scribbles of one sign."""
    lines: list[Sequence[Sequence[float]]] = []
    for mark in marks:
        if isinstance(mark, Stroke) and mark.positive is positive:
            lines.append(checked_points(mark.points))
        elif isinstance(mark, Scribble) and mark.positive is positive:
            lines += map(checked_points, mark.strokes)
    return lines


def stroke_width(marks: Sequence[VisualPrompt]) -> float:
    """Return the width of the strokes of an object, which is one here; `ValueError` for several."""
    widths = {mark.width for mark in marks if isinstance(mark, (Stroke, Scribble))}
    if len(widths) > 1:
        raise ValueError(
            f"The strokes of an object are {' and '.join(f'{width:g}' for width in sorted(widths))} pixels wide; "
            "exported graphs take one width for all."
        )
    return widths.pop() if widths else 1.0


def missing_note(prompts: ObjectPrompts, index: int, num_objects: int) -> str:
    """Say that an object was not found."""
    what = quoted(str(prompts.label))
    subject = f"object {index + 1}, {what}," if num_objects > 1 else what
    return f"{subject} was not found"


def explained_folder(call: Callable[[], Returned]) -> Returned:
    """Call what reads an exported folder; its errors become `SeemError`."""
    try:
        return call()
    except seem_lite.FolderError as error:
        raise SeemError(str(error)) from None
