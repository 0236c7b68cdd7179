"""`seem models`: what there is, can do and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from seem.zoo import PublishedScores, list_models

SCORES = ("COCO PQ", "mAP", "mIoU", "RefCOCOg cIoU", "mIoU", "AP50", "VOC NoC85", "NoC90")


def models(
    as_json: Annotated[
        bool, typer.Option("--json", metavar=" ", help="Print a list of objects instead of a table.")
    ] = False,
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


def figures(scores: PublishedScores) -> tuple[str, ...]:
    """Write one row of scores: percents, then clicks."""
    percents = (
        scores.coco_pq,
        scores.coco_map,
        scores.coco_miou,
        scores.refcocog_ciou,
        scores.refcocog_miou,
        scores.refcocog_ap50,
    )
    clicks = (scores.voc_noc85_20, scores.voc_noc90_20)
    return (*(f"{value:.1f}" for value in percents), *("" if value is None else f"{value:.2f}" for value in clicks))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns, two spaces apart; columns of figures end together."""
    columns = []
    for cells in zip(*rows, strict=True):
        width, is_figures = max(map(len, cells)), cells[1][:1].isdigit()
        columns.append([cell.rjust(width) if is_figures else cell.ljust(width) for cell in cells])
    lines = ("  ".join(row) for row in zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in lines)
