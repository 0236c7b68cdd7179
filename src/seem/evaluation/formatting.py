"""Scores as text: a line on a terminal, cells of a comparison, a table in Markdown.

Works on the plain values of a report's JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any, TypeAlias

from seem.evaluation.report import Entry, Scores

PlainScores: TypeAlias = "Mapping[str, Any]"
Figure: TypeAlias = "tuple[str, float]"
"""A score with its name."""

SHOWN_CLICKS = ("1", "2", "3", "5", "10", "20")
SHOWN_NOC_THRESHOLDS = (0.85, 0.9)
NOC = "NoC"
"""Prefix of figures that are numbers of clicks, fewer is better; all others are percentages."""

MODEL = "model"
"""The name of the model in a report, whichever it is, so that reports of several models have the same rows."""

_ITEM_NOUNS = {
    "clicks": "objects",
    "prompts": "objects",
    "robustness": "objects",
    "composition: clicks": "objects",
    "composition: phrase": "phrases",
    "phrases: class": "names",
    "phrases: referring": "phrases",
    "reference: pairs": "pairs",
    "reference: in context": "masks",
    "video": "masks",
}
"""What the items of a protocol are, by the prefix of its name; for all others they are the images themselves."""


def entry_line(entry: Entry, model: str) -> str:
    """Format an entry as one line."""
    sample = describe_sample(entry.protocol, asdict(entry.selection))
    method = method_label(entry.contestant, model)
    head = f"{entry.selection.set_name:<12} {entry.protocol:<62} {method:<28}"
    return f"{head} {sample:<28} {summarize_scores(entry.scores)}"


def method_label(contestant: str, model: str) -> str:
    """Return the name of a method, with the model's own name instead of "model"; baselines keep theirs."""
    if contestant.startswith(MODEL):
        return model + contestant.removeprefix(MODEL)
    return contestant


def describe_sample(protocol: str, selection: Mapping[str, Any]) -> str:
    """Return the size of a selection: "80 objects of 60 photos", "31 photos", "265 masks of 8 videos"."""
    noun = _item_noun(protocol)
    image_noun = "videos" if noun == "masks" else "photos"
    images = _counted(selection["photos"], image_noun)
    if noun is None:
        return images
    return f"{_counted(selection['items'], noun)} of {images}"


def _item_noun(protocol: str) -> str | None:
    for prefix, noun in _ITEM_NOUNS.items():
        if protocol.startswith(prefix):
            return noun
    return None


def _counted(number: int, noun: str) -> str:
    if number == 1:
        noun = noun.removesuffix("s")
    return f"{number} {noun}"


def summarize_scores(scores: Scores) -> str:
    """Format the most important scores in one line."""
    texts = []
    for name, value in key_figures(asdict(scores)):
        texts.append(f"{name} {format_figure(name, value)}")
    return "  ".join(texts) or "nothing"


def format_figure(name: str, value: float | None) -> str:
    """Format a figure with its usual number of digits; "-" for NaN."""
    if value is None or math.isnan(value):
        return "-"
    if name.startswith(NOC):
        return f"{value:.2f}"
    return f"{value:.1f}"


def key_figures(scores: PlainScores) -> list[Figure]:
    """List the most important scores of a result."""
    figures = []
    for name, value in _key_figures(scores):
        number = math.nan if value is None else float(value)
        figures.append((name, number))
    return figures


def _key_figures(scores: PlainScores) -> Iterator[tuple[str, Any]]:
    """Recognize the kind of result by its keys."""
    match scores:
        case {"mode": mode, "scores": inner}:
            for name, value in _key_figures(inner):
                yield f"{name} ({mode})", value
        case {"noc": noc, "mean_iou": mean_iou}:
            yield from _click_figures(noc, mean_iou)
        case {"kinds": kinds}:
            for kind, result in kinds.items():
                yield kind, result["mean_iou"]
        case {"stored": stored, "changed": changed}:
            yield from _robustness_figures(stored, changed)
        case {"together": both, "phrase_alone": phrase, "prompt_alone": prompt}:
            for name, result in (
                ("both", both),
                ("phrase alone", phrase),
                ("prompt alone", prompt),
            ):
                if result is not None:
                    yield f"cIoU {name}", result["cumulative_iou"]
        case {"cumulative_iou": cumulative, "mean_iou": mean, "precision": precision}:
            yield "cIoU", cumulative
            yield "mIoU", mean
            yield "P@0.5", _by_text(precision)["0.5"]
        case {"refused": refused}:
            yield "refused", refused
        case {"all": every, "things": things, "stuff": stuff}:
            yield "PQ", every["pq"]
            yield "PQ things", things["pq"]
            yield "PQ stuff", stuff["pq"]
        case {"ap": ap, "ap50": ap50, "small": small, "medium": medium, "large": large}:
            yield "AP", ap
            yield "AP50", ap50
            yield "AP small", small
            yield "AP medium", medium
            yield "AP large", large
        case {"mean_iou": mean, "pixel_accuracy": accuracy}:
            yield "mIoU", mean
            yield "pixels", accuracy
        case {"j_and_f": both, "j": j, "f": f}:
            yield "J&F", both
            yield "J", j["mean"]
            yield "F", f["mean"]
        case {"text": text, "image": image}:
            for k, value in text.items():
                yield f"text R@{k}", value
            for k, value in image.items():
                yield f"image R@{k}", value
        case {"cider_d": cider}:
            yield "CIDEr-D", cider


def _click_figures(
    noc: Sequence[PlainScores], mean_iou: Mapping[Any, Any]
) -> Iterator[tuple[str, Any]]:
    iou_after = _by_text(mean_iou)
    for clicks in SHOWN_CLICKS:
        if clicks in iou_after:
            yield f"IoU@{clicks}", iou_after[clicks]
    maximum = max(map(itemgetter("maximum"), noc), default=0)
    for each in noc:
        if each["maximum"] == maximum and each["threshold"] in SHOWN_NOC_THRESHOLDS:
            yield f"{NOC}{maximum}@{round(100 * each['threshold'])}", each["mean"]


def _robustness_figures(
    stored: float, changed: Mapping[str, PlainScores]
) -> Iterator[tuple[str, Any]]:
    yield "IoU@1", stored
    drops = []
    for change, result in changed.items():
        yield change, result["mean_iou"]
        if result["percent"]:
            drops.append(result["percent"])
    yield "largest fall, %", max(drops, default=None)


def _by_text(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping with its keys as text: in JSON they are."""
    return {str(key): value for key, value in values.items()}


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns, two spaces apart; columns of numbers are aligned right."""
    columns = map(_padded_column, zip(*rows, strict=True))
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join(lines)


def _padded_column(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    justify = str.ljust
    if all(map(_is_number, cells[1:])):
        justify = str.rjust
    return [justify(cell, width) for cell in cells]


def _is_number(cell: str) -> bool:
    """Whether a cell holds a number, a "-" in place of one, or nothing."""
    return cell[:1].isdigit() or cell[:1] in "-"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as a Markdown table, the first as its head."""
    head, *body = map(_markdown_row, rows)
    rule = "|" + "---|" * len(rows[0])
    return "\n".join([head, rule, *body])


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "/") for cell in cells]
    return f"| {' | '.join(escaped)} |"
