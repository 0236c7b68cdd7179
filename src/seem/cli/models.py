"""`seem models`: what there is, can do and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from seem.zoo import ModelCard, PublishedScores, list_models

SCORES = {
    "COCO PQ": "coco_pq",
    "mAP": "coco_map",
    "mIoU": "coco_miou",
    "RefCOCOg cIoU": "refcocog_ciou",
    "mIoU ": "refcocog_miou",
    "AP50": "refcocog_ap50",
    "VOC NoC85": "voc_noc85_20",
    "NoC90": "voc_noc90_20",
}


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
) -> None:
    """List the models: size, tasks, weights, licence and published scores."""
    cards = list_models()
    if as_json:
        typer.echo(json.dumps([card.to_json() for card in cards]))
        return
    typer.echo(
        table([
            ("name", "parameters", "weights", "licence", "tasks"),
            *((c.name, f"{c.parameters / 1e6:.1f} M", c.weights.value, c.licence, ", ".join(c.tasks)) for c in cards),
        ])
    )  # fmt: skip
    published = [(card.name, card.published) for card in cards if card.published]
    if published:
        typer.echo("\nPublished by the authors (NoC: clicks needed, fewer is better):")
        typer.echo(table([("name", *SCORES), *((name, *figures(scores)) for name, scores in published)]))


def figures(scores: PublishedScores) -> list[str]:
    """Write one row of scores."""
    values = [getattr(scores, field) for field in SCORES.values()]
    return ["" if value is None else f"{value:g}" for value in values]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
