"""`seem segment`: photos in, overlays, masks and JSON files out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from seem.api import EncodedImage, Model
from seem.asking import Asked, check_taken, check_writes, checked_count, checked_share
from seem.cli.detections import Detected, read_detections
from seem.cli.errors import FAILED, explain
from seem.cli.options import (
    FLAG,
    OBJECT,
    RESULTS,
    AudioOption,
    BoxOption,
    DeviceOption,
    ModelOption,
    NotPointOption,
    NotScribbleOption,
    NotStrokeOption,
    ObjectOption,
    OutOption,
    OverwriteOption,
    PointOption,
    PolygonOption,
    Precision,
    PrecisionOption,
    QuietOption,
    ReferenceBoxOption,
    ReferenceMaskOption,
    ReferenceOption,
    ReferencePointOption,
    ReferenceTextOption,
    ScribbleOption,
    SizeOption,
    StrokeOption,
    TextOption,
    Values,
    WidthOption,
)
from seem.cli.photos import Job, plan
from seem.cli.prompts import box_in, in_order, read, read_objects
from seem.cli.report import Report
from seem.errors import SeemError
from seem.loading import load
from seem.preparing import checked_size
from seem.prompts import Box, Prompt, Text, VisualPrompt
from seem.results import Results
from seem.vocabulary import SHIPPED, Vocabulary


class Task(str, Enum):
    """A question about the whole photo."""

    PANOPTIC = "panoptic"
    INSTANCE = "instance"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every photo: objects that prompts describe, or else everything."""

    objects: tuple[tuple[Prompt, ...], ...]
    task: Task = Task.PANOPTIC
    vocabulary: Vocabulary | None = None
    threshold: float | None = None
    phrases: tuple[str, ...] = ()
    candidates: int = 1
    caption: bool = False
    everything: bool = False
    second_look: bool = False
    against: Vocabulary | Sequence[str] | None = None
    caption_of: Box | None = None
    boxes: Mapping[str, Detected] | None = None
    templates: tuple[str, ...] = ()
    background: bool = False

    @classmethod
    def of(
        cls,
        objects: tuple[tuple[Prompt, ...], ...],
        task: Task | None,
        classes: str | None,
        threshold: float | None,
        phrases: Sequence[str] = (),
        candidates: int = 1,
        caption: bool = False,
        everything: bool = False,
        second_look: bool = False,
        against: str | None = None,
        caption_box: str | None = None,
        boxes: Path | None = None,
        templates: Sequence[str] = (),
        background: bool = False,
    ) -> Question:
        """Check that what was asked makes one question, whatever the photo and the model; `ValueError` if not."""
        for prompts in objects:
            Asked.of(prompts)
        checked_count(candidates, "candidates")
        if threshold is not None:
            checked_share(threshold, "threshold")
        whole = [f"--find {phrases[0]}"] if phrases else []
        whole += [f"--task {task.value}"] if task else []
        whole += [f"--classes {classes}"] if classes is not None else []
        whole += ["--everything"] if everything else []
        whole += [f"--boxes {boxes}"] if boxes else []
        if objects and whole:
            raise ValueError(
                f"{whole[0]} asks about the whole photo, a prompt about one object; leave one of them out."
            )
        if phrases and len(whole) > 1:
            raise ValueError(f"{whole[0]} names what to look for, and so does {whole[1]}; leave one of them out.")
        if boxes and (len(whole) > 1 or threshold is not None):
            other = whole[0] if len(whole) > 1 else f"--threshold {threshold:g}"
            raise ValueError(f"--boxes {boxes} says what to segment, all of it; leave it or {other} out.")
        if background and task is not Task.SEMANTIC:
            raise ValueError("--background has an effect on --task semantic alone; the others leave pixels to nobody.")
        if templates and (objects or phrases or everything or boxes):
            raise ValueError(f"--template {templates[0]} is a sentence for class names; leave it out.")
        if against is not None and not phrases:
            raise ValueError(
                f"--against {against} names what --find is not to take for it; add --find, or leave it out."
            )
        if everything and (len(whole) > 1 or threshold is not None):
            other = whole[0] if len(whole) > 1 else f"--threshold {threshold:g}"
            raise ValueError(f"--everything asks for neither classes nor scores; leave it or {other} out.")
        if candidates != 1 and len(objects) != 1:
            about = f"{len(objects)} objects" if objects else "the whole photo"
            raise ValueError(
                f"--candidates {candidates} are alternatives for one object, not for {about}; leave it out."
            )
        if second_look and not objects:
            raise ValueError("--second-look zooms in on an object; say which one, or leave it out.")
        unseen = any(not isinstance(prompt, VisualPrompt) for prompts in objects for prompt in prompts)
        if threshold is not None and (task is Task.SEMANTIC or (objects and not unseen)):
            about = "--task semantic" if task else "prompts without --text"
            raise ValueError(f"--threshold {threshold:g} has no effect on {about}; leave it out.")
        vocabulary = None if classes is None else read_classes(classes)
        said = tuple(read("find", phrase, Text).phrase for phrase in phrases)
        chosen = task or Task.PANOPTIC
        others = None if against is None else () if against == NOTHING else read_classes(against)
        region = None if caption_box is None else read("caption_box", caption_box, box_in)
        caption = caption or region is not None
        return cls(
            objects,
            chosen,
            vocabulary,
            threshold,
            said,
            candidates,
            caption,
            everything,
            second_look,
            others,
            region,
            None if boxes is None else read_detections(boxes),
            tuple(templates),
            background,
        )

    def check_taken(self, model: Model) -> None:
        """Raise `ValueError` for what the model was not made for."""
        for prompts in self.objects:
            check_taken(Asked.of(prompts), model.name, model.network)
        if self.caption:
            check_writes(model.name, model.network)

    def ask(self, photo: EncodedImage) -> Results:
        """Ask it about a photo."""
        if not self.caption:
            return self.answer(photo)
        started = time.perf_counter()
        caption = photo.caption(self.caption_of)
        seconds = time.perf_counter() - started
        results = self.answer(photo)
        provenance = results.provenance
        provenance = replace(provenance, caption=caption, seconds={**provenance.seconds, "caption": seconds})
        return replace(results, provenance=provenance)

    def answer(self, photo: EncodedImage) -> Results:
        """Segment what is asked for."""
        if self.phrases:
            return photo.find(self.phrases, self.threshold, against=self.against)
        if self.everything:
            return photo.everything()
        if self.boxes is not None:
            return photo.segment_boxes(self.detected_in(photo))  # type: ignore[arg-type]
        if self.candidates != 1:
            return photo.segment(
                *self.objects[0],
                text_threshold=self.threshold,
                candidates=self.candidates,
                second_look=self.second_look,
            )
        if self.objects:
            return photo.segment_many(self.objects, text_threshold=self.threshold, second_look=self.second_look)
        match self.task:
            case Task.PANOPTIC:
                return photo.panoptic(self.classes_for(photo), self.threshold)
            case Task.INSTANCE:
                return photo.instances(self.classes_for(photo), self.threshold)
            case Task.SEMANTIC:
                return photo.semantic(self.classes_for(photo))

    def classes_for(self, photo: EncodedImage) -> Vocabulary:
        """Return the classes that a photo is asked for: the model's own, unless others were named."""
        vocabulary = photo.model.vocabulary(self.vocabulary)
        if not self.templates and not self.background:
            return vocabulary
        background = self.background or vocabulary.background
        return replace(vocabulary, templates=self.templates or vocabulary.templates, background=background)

    def detected_in(self, photo: EncodedImage) -> Detected:
        """Return what the detector found in a photo; `ValueError` for one that it has not seen."""
        assert self.boxes is not None
        found = self.boxes.get(photo.name or "")
        if found is None:
            known = ", ".join(sorted(self.boxes)[:3]) + (", ..." if len(self.boxes) > 3 else "")
            raise ValueError(f"--boxes says nothing about {photo.name}; it knows {known or 'no photo'}.")
        return found


def read_classes(text: str) -> Vocabulary:
    """Read "dog,cat", or the name of a list that ships with the package."""
    return Vocabulary.named(text) if text in SHIPPED else Vocabulary.of(text.split(","))


def segment_all(
    model: Model,
    question: Question,
    jobs: Sequence[Job],
    size: int | None,
    overwrite: bool,
    report: Report,
    embeddings: bool = False,
) -> int:
    """Segment one photo after the other; a bad one is reported and the rest go on.

    Returns the exit code: of a single photo its own, of several 1 if any failed.
    """
    codes = [segment_one(model, question, job, size, overwrite, report, embeddings) for job in report.progress(jobs)]
    num_failed = sum(code > 0 for code in codes)
    report.finished(num_failed)
    return min(num_failed, FAILED) if len(jobs) > 1 else codes[0]


def segment_one(
    model: Model,
    question: Question,
    job: Job,
    size: int | None,
    overwrite: bool,
    report: Report,
    embeddings: bool = False,
) -> int:
    """Ask about one photo and write the answer; returns an exit code.

    Raises `OSError` where results cannot be written, which would befall every other photo as well.
    """
    try:
        results = question.ask(model.encode(job.photo.open(), size))
        started = time.perf_counter()
        paths = under_its_name(results, job.photo.name).save(job.folder, job.stem, overwrite, embeddings=embeddings)
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, (SeemError, FileExistsError)):
            raise
        return explain(error, about=job.photo.source)
    writing = time.perf_counter() - started - results.seconds.get("labels", 0.0)  # saving looks at the labels
    report.saved(job, results, paths, writing)
    return 0


def under_its_name(results: Results, name: Path) -> Results:
    """Let the JSON file say in which sub-folder the photo is."""
    return replace(results, provenance=replace(results.provenance, photo_name=name.as_posix()))


# --- The verb ---------------------------------------------------------------------------------------------------------

PHOTO = "Everything in the photo (where there is no prompt)"
NOTHING = "none"


def segment(
    ctx: typer.Context,
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Files, folders, patterns in quotes, or - for standard input."),
    ],
    point: PointOption = None,
    not_point: NotPointOption = None,
    box: BoxOption = None,
    text: TextOption = None,
    stroke: StrokeOption = None,
    not_stroke: NotStrokeOption = None,
    scribble: ScribbleOption = None,
    not_scribble: NotScribbleOption = None,
    width: WidthOption = None,
    polygon: PolygonOption = None,
    mask: Annotated[
        Values, typer.Option(metavar="FILE", help="A picture of its size, black outside.", rich_help_panel=OBJECT)
    ] = None,
    audio: AudioOption = None,
    reference: ReferenceOption = None,
    reference_point: ReferencePointOption = None,
    reference_box: ReferenceBoxOption = None,
    reference_mask: ReferenceMaskOption = None,
    reference_text: ReferenceTextOption = None,
    candidates: Annotated[
        int,
        typer.Option(
            metavar="N", help="So many alternatives, the best first (SEEM; nano has one).", rich_help_panel=OBJECT
        ),
    ] = 1,
    second_look: Annotated[
        bool,
        typer.Option("--second-look", metavar=FLAG, help="Zoom in on it and look again.", rich_help_panel=OBJECT),
    ] = False,
    object_: ObjectOption = 0,
    task: Annotated[
        Task | None,
        typer.Option(metavar="panoptic|instance|semantic", help="Default: panoptic.", rich_help_panel=PHOTO),
    ] = None,
    find: Annotated[
        Values, typer.Option(metavar="PHRASE", help="All that a phrase fits, scored.", rich_help_panel=PHOTO)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...|none", help="With --find: what else it may be. Default: COCO's.", rich_help_panel=PHOTO
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...|ade20k|imagenet",
            help="Instead of the model's own, or COCO's 133.",
            rich_help_panel=PHOTO,
        ),
    ] = None,
    template: Annotated[
        Values,
        typer.Option(metavar='"a {}"', help="A sentence to say class names in; several.", rich_help_panel=PHOTO),
    ] = None,
    background: Annotated[
        bool,
        typer.Option("--background", metavar=FLAG, help="Semantic: a pixel may be no class.", rich_help_panel=PHOTO),
    ] = False,
    boxes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A detector's boxes to masks (COCO's format).", rich_help_panel=PHOTO),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--everything", metavar=FLAG, help="Every mask there is, classes aside.", rich_help_panel=PHOTO),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0-1", help="Leave out what scores lower; also for --text and --find.", rich_help_panel=PHOTO
        ),
    ] = None,
    caption: Annotated[
        bool,
        typer.Option("--caption", metavar=FLAG, help="Describe it in a sentence (X-Decoder).", rich_help_panel=PHOTO),
    ] = False,
    caption_box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="Describe what is in a box (X-Decoder).", rich_help_panel=PHOTO),
    ] = None,
    model: ModelOption = "nano",
    device: DeviceOption = None,
    precision: PrecisionOption = Precision.AUTO,
    size: SizeOption = None,
    out: OutOption = Path("seem-out"),
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings", metavar=FLAG, help="Also write a vector for each mask (.npy).", rich_help_panel=RESULTS
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar=FLAG, help="Print the JSON file of every photo in one line.", rich_help_panel=RESULTS
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Segment photos: one object, several, or everything.

    Every photo gives an overlay, a mask for each object, and a JSON file that COCO's tools read.

    seem segment street.jpg

    seem segment street.jpg --point 410,220 --not-point 80,40

    seem segment street.jpg --text "the red car" --object --box 30,40,300,400

    seem segment street.jpg --find "a red car" --find "a bicycle"

    seem segment street.jpg --reference other.jpg --reference-box 30,40,300,400

    seem segment photos/ --task instance --classes "person,dog,surf board" --json > found.jsonl

    seem segment street.jpg --everything

    Pixels are (x, y) of the photo as shown: 410 is the centre of a pixel, 410.0 its left edge.
    """
    given = {
        "point": point,
        "not_point": not_point,
        "box": box,
        "text": text,
        "stroke": stroke,
        "not_stroke": not_stroke,
        "scribble": scribble,
        "not_scribble": not_scribble,
        "width": width,
        "polygon": polygon,
        "mask": mask,
        "audio": audio,
        "reference": reference,
        "reference_point": reference_point,
        "reference_box": reference_box,
        "reference_mask": reference_mask,
        "reference_text": reference_text,
        "object": [""] * object_,
    }
    objects = read_objects(in_order(ctx, {name: values or [] for name, values in given.items()}))
    question = Question.of(
        objects,
        task,
        classes,
        threshold,
        find or (),
        candidates,
        caption,
        everything,
        second_look,
        against,
        caption_box,
        boxes,
        template or (),
        background,
    )
    jobs = plan(photos, out, overwrite)
    report = Report(len(jobs), out, as_json, quiet)
    started = time.perf_counter()
    network = load(model, device, precision.value)
    question.check_taken(network)
    checked_size(size, network.network.config.image)
    report.loaded(network, time.perf_counter() - started)
    if code := segment_all(network, question, jobs, size, overwrite, report, embeddings):
        raise typer.Exit(code)
