"""What `seem segment` asks about every photo: its options, the checks that they fit together, and the answer."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from seem.cli.detections import DetectionFile, read_detections
from seem.cli.errors import print_error
from seem.cli.image_files import ImageSource
from seem.cli.options import BOX, FLAG, OBJECT_PANEL, OptionGroup, Values
from seem.cli.prompts import check_marks, check_objects_supported, read_box, read_option
from seem.exported_model import ExportedImage, ExportedModel, unsupported_prompt
from seem.inference.object_prompts import (
    ObjectPrompts,
    check_writes_captions,
    checked_count,
    checked_probability,
)
from seem.models.decoder.policy import Policy
from seem.prompts import Box, Prompt, Reference, Text, VisualPrompt
from seem.results import Results
from seem.vocabulary import BUILT_IN_VOCABULARIES, Vocabulary

if TYPE_CHECKING:
    from seem.encoded_image import EncodedImage, Refine
    from seem.model import Model
    from seem.results.segment_map import SegmentMap
    from seem.tiled_image import Progress, TiledImage

    EncodedOrExportedImage: TypeAlias = EncodedImage | ExportedImage
else:  # PyTorch is imported by whoever loads a model that needs it
    EncodedImage = EncodedOrExportedImage = Model = Any
    SegmentMap = Progress = TiledImage = Any

IMAGE_PANEL = "Everything in the photo (where there is no prompt)"
NO_CLASSES = "none"  # --against none

Objects = tuple[tuple[Prompt, ...], ...]  # the prompts of each object


class FullImageTask(str, Enum):
    """A segmentation of the full image."""

    PANOPTIC = "panoptic"
    INSTANCE = "instance"
    SEMANTIC = "semantic"


class Refinement(str, Enum):
    """How a first mask is improved."""

    ZOOM = "zoom"


# --- Options ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerOptions(OptionGroup):
    """How the object that prompts describe is answered."""

    candidates: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of alternative masks of one object, the best first (SEEM; nano has one).",
            rich_help_panel=OBJECT_PANEL,
        ),
    ] = 1
    refine: Annotated[
        Refinement | None,
        typer.Option(
            metavar="zoom",
            help="Refinement of the masks: zoom = segment again in a crop around the first mask.",
            rich_help_panel=OBJECT_PANEL,
        ),
    ] = None
    second_look: Annotated[bool, typer.Option("--second-look", metavar=FLAG, hidden=True)] = (
        False  # deprecated
    )

    @property
    def refines_by_zoom(self) -> bool:
        """Whether zoom-in refinement was asked for, by the new option or by the deprecated one."""
        return self.second_look or self.refine is Refinement.ZOOM

    def warn_deprecated(self) -> None:
        """Print a note to standard error if a deprecated option was given."""
        if self.second_look:
            print_error(
                "--second-look is now --refine zoom; the old option goes in the next version."
            )


def image_option(*flags: str, metavar: str, help_text: str) -> Any:
    """Describe an option about the full image."""
    return typer.Option(*flags, metavar=metavar, help=help_text, rich_help_panel=IMAGE_PANEL)


@dataclass(frozen=True, slots=True)
class FullImageOptions(OptionGroup):
    """What is asked about the full image."""

    task: Annotated[
        FullImageTask | None,
        image_option(
            metavar="panoptic|instance|semantic",
            help_text="Segmentation of the full photo. Default: panoptic.",
        ),
    ] = None
    find: Annotated[
        Values,
        image_option(
            metavar="PHRASE", help_text="Phrase: segment every object that fits it; repeatable."
        ),
    ] = None
    against: Annotated[
        str | None,
        image_option(
            metavar="NAME,...|none",
            help_text="Class names that compete with --find's phrases. Default: COCO's.",
        ),
    ] = None
    classes: Annotated[
        str | None,
        image_option(
            metavar="NAME,NAME,...|ade20k",
            help_text="Class names to segment. Default: the model's own, or COCO's 133.",
        ),
    ] = None
    template: Annotated[
        Values,
        image_option(
            metavar='"a {}"', help_text="Sentence into which class names are put; repeatable."
        ),
    ] = None
    background: Annotated[
        bool,
        image_option(
            "--background", metavar=FLAG, help_text="Semantic: allow pixels without a class."
        ),
    ] = False
    boxes: Annotated[
        Path | None,
        image_option(
            metavar="FILE",
            help_text="Boxes of a detector, COCO's format: segment the object in each.",
        ),
    ] = None
    everything: Annotated[
        bool,
        image_option(
            "--everything", metavar=FLAG, help_text="Segment everything, without classes."
        ),
    ] = False
    threshold: Annotated[
        float | None,
        image_option(
            metavar="0-1", help_text="Lowest score of a result; also for --text and --find."
        ),
    ] = None
    caption: Annotated[
        bool,
        image_option(
            "--caption", metavar=FLAG, help_text="Describe the photo in a sentence (X-Decoder)."
        ),
    ] = False
    caption_box: Annotated[
        str | None,
        image_option(
            metavar=BOX, help_text="Box: describe what is in it in a sentence (X-Decoder)."
        ),
    ] = None

    def targets(self) -> list[str]:
        """Return the options that say what to segment in the full image, as they were typed."""
        targets = []
        if self.find:
            targets.append(f"--find {self.find[0]}")
        if self.task:
            targets.append(f"--task {self.task.value}")
        if self.classes is not None:
            targets.append(f"--classes {self.classes}")
        if self.everything:
            targets.append("--everything")
        if self.boxes:
            targets.append(f"--boxes {self.boxes}")
        return targets


# --- Checks -----------------------------------------------------------------------------------------------------------


def check_options(objects: Objects, answer: AnswerOptions, image: FullImageOptions) -> None:
    """Raise `ValueError` for options that contradict each other or have no effect, whatever photo and model."""
    for prompts in objects:
        ObjectPrompts.of(prompts)
    checked_count(answer.candidates, "candidates")
    if image.threshold is not None:
        checked_probability(image.threshold, "threshold")
    check_targets(objects, image)
    check_class_options(objects, image)
    check_answer_options(objects, answer)
    check_threshold_has_effect(objects, image)


def check_targets(objects: Objects, image: FullImageOptions) -> None:
    """Raise `ValueError` if two options say what to segment."""
    targets = image.targets()
    if objects and targets:
        raise ValueError(
            f"{targets[0]} asks about the whole photo, a prompt about one object; leave one of them out."
        )
    if image.find and len(targets) > 1:
        raise ValueError(
            f"{targets[0]} names what to look for, and so does {targets[1]}; leave one of them out."
        )
    if image.boxes:
        check_alone(f"--boxes {image.boxes}", "says what to segment, all of it", image)
    if image.everything:
        check_alone("--everything", "asks for neither classes nor scores", image)


def check_alone(option: str, reason: str, image: FullImageOptions) -> None:
    """Raise `ValueError` if another option than this one says what to segment, or there is a threshold."""
    others = [target for target in image.targets() if target != option]
    if image.threshold is not None:
        others.append(f"--threshold {image.threshold:g}")
    if others:
        raise ValueError(f"{option} {reason}; leave it or {others[0]} out.")


def check_class_options(objects: Objects, image: FullImageOptions) -> None:
    """Raise `ValueError` if an option about class names has no effect."""
    if image.background and image.task is not FullImageTask.SEMANTIC:
        raise ValueError("--background has an effect on --task semantic alone; leave it out.")
    if image.template and (objects or image.find or image.everything or image.boxes):
        raise ValueError(
            f"--template {image.template[0]} is a sentence for class names; leave it out."
        )
    if image.against is not None and not image.find:
        raise ValueError(
            f"--against {image.against} names classes that compete with --find; add --find, or leave it out."
        )


def check_answer_options(objects: Objects, answer: AnswerOptions) -> None:
    """Raise `ValueError` if an option about one object has none."""
    if answer.candidates != 1 and len(objects) != 1:
        about = "the whole photo"
        if objects:
            about = f"{len(objects)} objects"
        raise ValueError(
            f"--candidates {answer.candidates} are alternatives for one object, not for {about}; leave it out."
        )
    if answer.refines_by_zoom and not objects:
        raise ValueError(
            "--refine zoom crops around an object; add a prompt that says which one, or leave it out."
        )


def check_threshold_has_effect(objects: Objects, image: FullImageOptions) -> None:
    """Raise `ValueError` if there is nothing that a threshold could leave out."""
    if image.threshold is None:
        return
    if image.task is FullImageTask.SEMANTIC:
        raise ValueError(
            f"--threshold {image.threshold:g} has no effect on --task semantic; leave it out."
        )
    prompts = list(itertools.chain.from_iterable(objects))
    if prompts and all(isinstance(prompt, VisualPrompt) for prompt in prompts):
        raise ValueError(
            f"--threshold {image.threshold:g} has no effect on prompts without --text; leave it out."
        )


# --- The request ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """What is segmented in every photo: the objects that prompts describe, or else the full image."""

    objects: Objects
    candidates: int = 1
    refines_by_zoom: bool = False
    task: FullImageTask = FullImageTask.PANOPTIC
    vocabulary: Vocabulary | None = None
    templates: tuple[str, ...] = ()
    background: bool = False
    phrases: tuple[str, ...] = ()
    against: Vocabulary | Sequence[str] | None = None
    boxes: DetectionFile | None = None
    everything: bool = False
    threshold: float | None = None
    caption: bool = False
    caption_region: Box | None = None

    @classmethod
    def from_options(
        cls,
        objects: Objects,
        answer: AnswerOptions,
        image: FullImageOptions,
        ids_from: Path | None = None,
    ) -> SegmentRequest:
        """Check the options and read their values; `ValueError` for options that do not make one request.

        `ids_from` is a COCO file that says which photo an image id is.
        """
        check_options(objects, answer, image)
        region: Box | None = None
        if image.caption_box is not None:
            region = read_option("caption_box", image.caption_box, read_box)
        vocabulary: Vocabulary | None = None
        if image.classes is not None:
            vocabulary = parse_vocabulary(image.classes)
        if image.template:
            Vocabulary.of(["thing"], templates=image.template)  # raises for a sentence without {}
        check_no_file_names(image.find or ())
        phrases = [read_option("find", phrase, Text).phrase for phrase in image.find or ()]
        against = parse_competing_classes(image.against)
        boxes: DetectionFile | None = None
        if image.boxes is not None:
            boxes = read_detections(image.boxes, ids_from)
        return cls(
            objects=objects,
            candidates=answer.candidates,
            refines_by_zoom=answer.refines_by_zoom,
            task=image.task or FullImageTask.PANOPTIC,
            vocabulary=vocabulary,
            templates=tuple(image.template or ()),
            background=image.background,
            phrases=tuple(phrases),
            against=against,
            boxes=boxes,
            everything=image.everything,
            threshold=image.threshold,
            caption=image.caption or region is not None,
            caption_region=region,
        )

    def check_image(self, image: ImageSource) -> None:
        """Raise for an image that cannot be opened, and for prompts and boxes that are not for this image."""
        image_hw = image.read_hw()
        check_marks(itertools.chain.from_iterable(self.objects), image_hw)
        if self.caption_region is not None:
            self.caption_region.check_inside(image_hw)
        if self.boxes is not None:
            self.boxes.boxes_in(image.name.name, image_hw)

    def options_beyond_tiles(self) -> list[str]:
        """Return the options that ask for what is not there for photos in tiles."""
        given = {
            "--caption": self.caption,
            "--everything": self.everything,
            "--boxes": self.boxes is not None,
            "--refine zoom": self.refines_by_zoom,
            f"--candidates {self.candidates}": self.candidates > 1,
        }
        options = [option for option, is_given in given.items() if is_given]
        for prompts in self.objects:
            marks = [prompt for prompt in prompts if isinstance(prompt, VisualPrompt)]
            options += [
                f"--{type(p).__name__.lower()}" for p in prompts if isinstance(p, Reference)
            ]
            if not any(mark.positive for mark in marks):
                options.append("an object without a point or a box (--find looks for phrases)")
        return options

    def run_in_tiles(self, image: TiledImage, progress: Progress | None) -> Results | SegmentMap:
        """Return the masks of a photo in tiles, or the map of all that is in it."""
        if self.objects:
            return image.segment_many(self.objects, text_threshold=self.threshold)
        if self.phrases:
            return image.find(self.phrases, self.threshold, against=self.against, progress=progress)
        vocabulary = self.vocabulary_for(image)
        match self.task:
            case FullImageTask.PANOPTIC:
                return image.panoptic(vocabulary, self.threshold, progress=progress)
            case FullImageTask.INSTANCE:
                return image.instances(vocabulary, self.threshold, progress=progress)
            case FullImageTask.SEMANTIC:
                return image.semantic(vocabulary, progress=progress)

    def option_beyond_graphs(self) -> str | None:
        """Return the option that asks for more than exported graphs answer; None if they answer all."""
        given = {
            "--caption": self.caption,
            "--find": self.phrases,
            "--everything": self.everything,
            "--boxes": self.boxes is not None,
            "--refine zoom": self.refines_by_zoom,
            f"--candidates {self.candidates}": self.candidates > 1,
            f"--task {self.task.value}": self.task is not FullImageTask.PANOPTIC,
            "--template": self.templates,
        }
        for prompt in itertools.chain.from_iterable(self.objects):
            if unsupported_prompt([prompt]) is not None:
                return f"--{type(prompt).__name__.lower()}"
        return next((option for option, is_given in given.items() if is_given), None)

    def check_model(self, model: Model | ExportedModel) -> None:
        """Raise `ValueError` for a request that the model was not made for."""
        if isinstance(model, ExportedModel):
            return  # only chosen for what it answers
        self.check_policy(model.name, model.network.decoder.policy)

    def check_policy(self, name: str, policy: Policy) -> None:
        """Raise `ValueError` for a request that a model of a policy was not made for."""
        check_objects_supported(self.objects, name, policy)
        if self.caption:
            check_writes_captions(name, policy)

    def run(self, image: EncodedOrExportedImage) -> Results:
        """Return the masks, and in their provenance the caption if one was asked for."""
        if isinstance(image, ExportedImage):
            return self.segment_exported(image)
        if not self.caption:
            return self.segment(image)
        started = time.perf_counter()
        caption = image.caption(self.caption_region)
        seconds = time.perf_counter() - started
        results = self.segment(image)
        provenance = results.provenance
        provenance = replace(
            provenance, caption=caption, seconds={**provenance.seconds, "caption": seconds}
        )
        return replace(results, provenance=provenance)

    def segment_exported(self, image: ExportedImage) -> Results:
        """Return the masks that were asked for, by exported graphs."""
        if self.objects:
            return image.segment_many(self.objects, text_threshold=self.threshold)
        return image.panoptic(self.vocabulary, self.threshold)

    def segment(self, image: EncodedImage) -> Results:
        """Return the masks that were asked for."""
        if self.objects:
            return self.segment_objects(image)
        if self.phrases:
            return image.find(self.phrases, self.threshold, against=self.against)
        if self.everything:
            return image.everything()
        if self.boxes is not None:
            return self.segment_detections(self.boxes, image)
        match self.task:
            case FullImageTask.PANOPTIC:
                return image.panoptic(self.vocabulary_for(image), self.threshold)
            case FullImageTask.INSTANCE:
                return image.instances(self.vocabulary_for(image), self.threshold)
            case FullImageTask.SEMANTIC:
                return image.semantic(self.vocabulary_for(image))

    def segment_objects(self, image: EncodedImage) -> Results:
        """Return the masks of the objects that prompts describe."""
        refine: Refine | None = "zoom" if self.refines_by_zoom else None
        if self.candidates == 1:
            return image.segment_many(self.objects, text_threshold=self.threshold, refine=refine)
        return image.segment(
            *self.objects[0],
            text_threshold=self.threshold,
            candidates=self.candidates,
            refine=refine,
        )

    def vocabulary_for(self, image: EncodedImage | TiledImage) -> Vocabulary:
        """Return the classes to segment: the model's own, unless others were named."""
        vocabulary = image.model.vocabulary(self.vocabulary)
        if self.templates:
            vocabulary = replace(vocabulary, templates=self.templates)
        if self.background:
            vocabulary = replace(vocabulary, background=True)
        return vocabulary

    def segment_detections(self, boxes: DetectionFile, image: EncodedImage) -> Results:
        """Return the masks of a detector's boxes, with notes on rows that were left out."""
        detections, notes = boxes.boxes_in(image.name or "", image.hw)
        results = image.segment_boxes(detections)  # type: ignore[arg-type]
        provenance = results.provenance
        return replace(results, provenance=replace(provenance, notes=(*provenance.notes, *notes)))


def parse_vocabulary(text: str) -> Vocabulary:
    """Parse "dog,cat", or the name of a class list that ships with the package."""
    if text in BUILT_IN_VOCABULARIES:
        return Vocabulary.named(text)
    names = text.split(",")
    check_no_file_names(names)
    return Vocabulary.of(names)


def check_no_file_names(names: Sequence[str]) -> None:
    """Raise `ValueError` if a class name or phrase is the path of a file: its content was meant."""
    for name in names:
        if PurePath(name).suffix and os.path.isfile(name.strip()):  # noqa: PTH113 (any text may come)
            raise ValueError(f'{name.strip()} is a file; write names, such as "dog,cat", instead.')


def parse_competing_classes(text: str | None) -> Vocabulary | Sequence[str] | None:
    """Parse the value of `--against`: class names, "none" for no classes, None for the default."""
    if text is None:
        return None
    if text == NO_CLASSES:
        return ()
    return parse_vocabulary(text)
