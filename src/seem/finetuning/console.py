"""What a run prints: its data, its plan, its progress and its results, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from seem.data.inspection import DatasetReport
from seem.finetuning.datasets import DataSource, TrainingData
from seem.finetuning.plan import Plan, full_step_interval
from seem.finetuning.run_folder import BEST_FILE, WORST_FILE
from seem.models.segmenter import Segmenter
from seem.training.calibration import PresenceCalibration, RegionCalibration
from seem.training.figures import CURVES_FILE
from seem.training.parts import parameters_by_part
from seem.training.run_log import RESULTS_FILE

LineWriter: TypeAlias = Callable[[str], None]

FEW_IMAGES = 6  # validation images below which scores say little
MAX_LISTED_NAMES = 8
SECONDS_BELOW = 1.5  # minutes; shorter times are given in seconds
HOURS_FROM = 120  # minutes; longer times are given in hours

SCORE_LABELS = {
    "semantic_miou": "semantic mIoU",
    "click_iou": "IoU after one click",
    "name_miou": "IoU by class name",
}


def discard_line(line: object) -> None:
    """Write nothing: only the first process reports, and it may be asked to be quiet."""


def source_lines(source: DataSource, reports: Sequence[DatasetReport]) -> Iterator[str]:
    """Describe what is in a data set and what is left out of it."""
    for report in reports:
        yield from report.lines()
        if report.flaws:
            subject = "All"
            if report.unusable_images:
                subject = f"{count_text(len(report.unusable_images), 'photo')} and all"
            yield f"{subject} annotations that cannot be read, or are empty, are left out; the rest is used."
    if source.validation_split is not None:
        if source.validation_problem:
            yield f"{source.spec}: {source.validation_problem}; they are left out of the validation."
    elif reports[0].images > 1:
        reason = source.validation_problem or "it has no part for validation"
        yield f"{source.spec}: {reason}; a tenth of the training photos is held out."
    if source.unused_splits:
        noun = "part" if len(source.unused_splits) == 1 else "parts"
        yield f"{source.spec}: not used: {noun} {', '.join(source.unused_splits)}."


def data_lines(data: TrainingData, readable_images: int) -> Iterator[str]:
    """Describe training and validation images; `readable_images` is their number with those that show no object."""
    classes = f"{count_text(len(data.classes), 'class')}{names_text(data.classes)}"
    yield f"Training: {count_text(data.num_train, 'photo')}, {classes}"
    used = data.num_train
    if not data.is_shared:
        used += data.num_validation
    if readable_images > used:
        yield f"Not used: {count_text(readable_images - used, 'photo')} without a mask"
    if data.is_shared:
        yield (
            "Validation: the training photos, because there are no others; the scores say only that the model "
            "remembers them."
        )
        return
    yield f"Validation: {count_text(data.num_validation, 'held-out photo')}"
    if data.num_validation < FEW_IMAGES:
        few = count_text(data.num_validation, "photo")
        yield f"Scores of {few} are rough: a few points more or less mean nothing."


def plan_lines(plan: Plan, network: Segmenter, num_frozen: int, peak_bytes: int) -> Iterator[str]:
    """Describe the network, the steps and the length of a run."""
    total = sum(parameters_by_part(network).values())
    start = plan.model
    if plan.scratch:
        start += " from random weights"
    frozen = ", ".join(plan.frozen_parts) or "nothing"
    yield (
        f"{start}: {total / 1e6:.1f} M parameters, {(total - num_frozen) / 1e6:.1f} M of them are trained; "
        f"frozen: {frozen}"
    )
    yield _step_line(plan, peak_bytes)
    config = plan.config
    stop = ""
    if config.patience:
        stop = f", stopping after {count_text(config.patience, 'validation')} without progress"
    yield (
        f"{count_text(config.steps, 'step')} at learning rate {config.learning_rate:g}, validation on "
        f"{count_text(plan.validation_images, 'held-out photo')} every {config.validate_every}{stop}: "
        f"about {duration_text(plan.minutes)}"
    )


def _step_line(plan: Plan, peak_bytes: int) -> str:
    """Describe what a step takes: "Canvas 224 x 224, 2 photos at a time, bfloat16 on cpu: 0.94 s a step, 1.2 GB"."""
    config = plan.config
    text = f"Canvas {plan.size} x {plan.size}, {config.batch} photos at a time"
    interval = full_step_interval(plan.naming_ratio)
    if interval > 1:
        text += f", in one of {interval} steps,"
    if plan.naming_ratio:
        text += f" and {config.batch * plan.naming_ratio} for class names alone"
    if config.accumulate > 1:
        text += f", {config.accumulate} times a step"
    if plan.processes > 1:
        text += f", in each of {plan.processes} processes"
    text += f", {plan.precision} on {plan.device}: {plan.step_seconds:.2f} s a step"
    if peak_bytes:
        text += f", {peak_bytes / 1e9:.1f} GB"
    return text


def progress_text(row: Mapping[str, float], steps: int, minutes_left: float) -> str:
    """Describe a row of the training log."""
    return (
        f"step {int(row['step'])}/{steps}  loss {row['total']:.3f}  {row['seconds']:.2f} s a step  "
        f"{duration_text(minutes_left)} left"
    )


def early_stop_line(plan: Plan, step: int, best_step: int, *, time_is_up: bool) -> str:
    """Say why a run stopped before its last step."""
    reason = f"no progress in {count_text(plan.config.patience, 'validation')}"
    if time_is_up:
        reason = "the time is up"
    return f"Stopped after step {step} of {plan.config.steps} ({reason}); the best was {best_step}."


def no_progress_line() -> str:
    """Say that the weights are those that the run started from."""
    return (
        f"No step was better than the start: {BEST_FILE} holds the weights that the run began with. More steps or a "
        "lower --learning-rate may help."
    )


def comparison_lines(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[str]:
    """Compare the scores before and after training."""
    for name, new in after.items():
        old = before.get(name)
        if old is not None:
            yield f"{SCORE_LABELS[name]}: {old:.1f} before, {new:.1f} after ({new - old:+.1f})"


def calibration_lines(
    presence: PresenceCalibration | None, regions: RegionCalibration | None
) -> Iterator[str]:
    """Say which thresholds the validation images gave, and how good answers are with them."""
    if presence is None:
        yield "Too few held-out photos to measure which class names to refuse: the usual threshold is kept."
    else:
        yield (
            f"Class names in held-out photos: {presence.found:.0f}% of those that are there are found, "
            f"{presence.refused:.0f}% of those that are not are refused (the threshold is chosen on the same photos)"
        )
    if regions is None:
        yield "Too few to measure which regions panoptic() and instances() keep: the usual threshold is kept."
    else:
        yield (
            f"Regions of panoptic() and instances(): F1 {regions.f1:.0f} at IoU 0.5, kept from a score of "
            f"{regions.threshold:.2f} on (chosen on the same photos)"
        )


def files_lines(out: Path) -> Iterator[str]:
    """Say which files a run wrote, and how to load its model."""
    yield f"{out}/: {BEST_FILE}, {RESULTS_FILE}, {CURVES_FILE}, {WORST_FILE}"
    yield f"Use it: seem.load({str(out)!r})"


def scores_text(scores: Mapping[str, float]) -> str:
    """Word scores: "IoU after one click 40.2, IoU by class name 12.0"."""
    if not scores:
        return "nothing to score"
    return ", ".join(f"{SCORE_LABELS[name]} {value:.1f}" for name, value in scores.items())


def duration_text(minutes: float) -> str:
    """Word a duration: "45 s", "12 min", "3.5 h"."""
    if minutes < SECONDS_BELOW:
        return f"{60 * minutes:.0f} s"
    if minutes < HOURS_FROM:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def count_text(count: int, noun: str) -> str:
    """Word a number of things: "1 class", "2,000 photos"."""
    if count == 1:
        return f"1 {noun}"
    ending = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def names_text(names: Sequence[str]) -> str:
    """List names in brackets, the first few of many; empty for none."""
    if not names:
        return ""
    listed = ", ".join(names[:MAX_LISTED_NAMES])
    if len(names) > MAX_LISTED_NAMES:
        listed += f" and {len(names) - MAX_LISTED_NAMES} more"
    return f" ({listed})"
