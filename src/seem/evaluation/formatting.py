"""Scores in a few words and figures: for a line on a terminal, a comparison or a table in Markdown.

Works on plain values, as they stand in a report's JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from seem.evaluation.report import Entry, Scores

Plain: TypeAlias = "Mapping[str, Any]"
Figure: TypeAlias = "tuple[str, float]"

SHOWN_CLICKS = ("1", "2", "3", "5", "10", "20")
SHOWN_NOC = (0.85, 0.9)
CLICKS = "NoC"
"""Figures that begin so are clicks, fewer is better; all others are percentages."""

MODEL = "model"
"""In a report the model is called so, whichever it is, so that reports of several line up."""

_ITEMS = {
    "clicks": "objects", "prompts": "objects", "robustness": "objects", "composition: clicks": "objects",
    "composition: phrase": "phrases", "phrases: class": "names", "phrases: referring": "phrases",
    "reference: pairs": "pairs", "reference: in context": "masks", "video": "masks",
}  # fmt: skip
"""What the items of a protocol are, by how its name begins; of all others they are the photos themselves."""


def entry_line(entry: Entry, model: str) -> str:
    """Put an entry into one line."""
    taken = taken_on(entry.protocol, asdict(entry.selection))
    begin = f"{entry.selection.set_name:<12} {entry.protocol:<62} {who(entry.contestant, model):<28}"
    return f"{begin} {taken:<28} {summary(entry.scores)}"


def who(contestant: str, model: str) -> str:
    """Say the model's name where a report says "model"; baselines keep theirs."""
    return model + contestant.removeprefix(MODEL) if contestant.startswith(MODEL) else contestant


def taken_on(protocol: str, selection: Mapping[str, Any]) -> str:
    """Say on what a score was taken: "80 objects of 60 photos", "31 photos", "265 masks of 8 videos"."""
    noun = next((noun for begin, noun in _ITEMS.items() if protocol.startswith(begin)), None)
    frames = "videos" if noun == "masks" else "photos"
    photos = _counted(selection["photos"], frames)
    return photos if noun is None else f"{_counted(selection['items'], noun)} of {photos}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number != 1 else noun.removesuffix('s')}"


def summary(scores: Scores) -> str:
    """Put scores into words: the figures that matter most."""
    return "  ".join(f"{name} {written(name, value)}" for name, value in figures(asdict(scores))) or "nothing"


def written(name: str, value: float | None) -> str:
    """Write a figure with its usual digits."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if name.startswith(CLICKS) else f"{value:.1f}"


def figures(scores: Plain) -> list[Figure]:
    """List the figures that matter most, by name."""
    return [(name, math.nan if value is None else float(value)) for name, value in _figures(scores)]


def _figures(scores: Plain) -> Iterator[tuple[str, Any]]:
    match scores:
        case {"mode": mode, "scores": inner}:
            for name, value in _figures(inner):
                yield f"{name} ({mode})", value
        case {"noc": noc, "mean_iou": ious}:
            at = {str(k): value for k, value in ious.items()}
            yield from ((f"IoU@{k}", at[k]) for k in SHOWN_CLICKS if k in at)
            most = max((each["maximum"] for each in noc), default=0)
            for each in noc:
                if each["maximum"] == most and each["threshold"] in SHOWN_NOC:
                    yield f"{CLICKS}{most}@{round(100 * each['threshold'])}", each["mean"]
        case {"kinds": kinds}:
            yield from ((kind, each["mean_iou"]) for kind, each in kinds.items())
        case {"stored": stored, "changed": changed}:
            yield "IoU@1", stored
            yield from ((change, each["mean_iou"]) for change, each in changed.items())
            yield (
                "largest fall, %",
                max((each["percent"] for each in changed.values() if each["percent"]), default=None),
            )
        case {"together": both, "phrase_alone": phrase, "prompt_alone": prompt}:
            for way, each in (("both", both), ("phrase alone", phrase), ("prompt alone", prompt)):
                if each is not None:
                    yield f"cIoU {way}", each["cumulative_iou"]
        case {"cumulative_iou": cumulative, "mean_iou": mean, "precision": precision}:
            yield from (("cIoU", cumulative), ("mIoU", mean))
            yield "P@0.5", {str(k): value for k, value in precision.items()}["0.5"]
        case {"refused": refused}:
            yield "refused", refused
        case {"all": every, "things": things, "stuff": stuff}:
            yield from (("PQ", every["pq"]), ("PQ things", things["pq"]), ("PQ stuff", stuff["pq"]))
        case {"ap": ap, "ap50": ap50, "small": small, "medium": medium, "large": large}:
            yield from (("AP", ap), ("AP50", ap50), ("AP small", small), ("AP medium", medium), ("AP large", large))
        case {"mean_iou": mean, "pixel_accuracy": accuracy}:
            yield from (("mIoU", mean), ("pixels", accuracy))
        case {"j_and_f": both, "j": j, "f": f}:
            yield from (("J&F", both), ("J", j["mean"]), ("F", f["mean"]))
        case {"text": text, "image": image}:
            yield from ((f"text R@{k}", value) for k, value in text.items())
            yield from ((f"image R@{k}", value) for k, value in image.items())
        case {"cider_d": cider}:
            yield "CIDEr-D", cider


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns, two spaces apart; what begins like a number ends with its column."""
    laid = []
    for cells in zip(*rows, strict=True):
        width = max(map(len, cells))
        is_figures = all(cell[:1].isdigit() or cell[:1] in "-" for cell in cells[1:])
        laid.append([cell.rjust(width) if is_figures else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*laid, strict=True))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Set rows as a table in Markdown, the first as its head."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
