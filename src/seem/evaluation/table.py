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


def line(entry: Entry) -> str:
    """Put an entry into one line."""
    return f"{entry.selection.set_name:<12} {entry.protocol:<62} {entry.contestant:<28} {summary(entry.scores)}"


def summary(scores: Scores) -> str:
    """Put scores into words: how many cases, then the figures that matter most."""
    plain = asdict(scores)
    counted = next((f"{plain[name]} {name}" for name in ("objects", "photos", "count") if name in plain), "")
    told = "  ".join(f"{name} {written(name, value)}" for name, value in figures(plain))
    return f"{counted}  {told}".strip() or "nothing was counted"


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
