"""`seem models`: which models there are, what they can do, and their published scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from seem.cli.options import FLAG
from seem.loading import file_in, names_weights, open_file
from seem.zoo import (
    MAIN_SCORES,
    ModelCard,
    PublishedScores,
    find_model_card,
    list_models,
)

MAIN_SCORE_NAMES = ("COCO PQ", "mAP", "mIoU", "RefCOCOg cIoU", "mIoU", "AP50", "VOC NoC85", "NoC90")


def models_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|RUN",
            help="Model to describe: a name, a file, or the folder of a fine-tuning run.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar=FLAG, help="Print a list of JSON objects instead of a table."
        ),
    ] = False,
) -> None:
    """List the models: size, tasks, weights, licence and published scores."""
    if name is not None and names_weights(name):
        typer.echo(file_text(Path(name), as_json))
        return
    cards = list_models() if name is None else (find_model_card(name),)
    if as_json:
        typer.echo(json.dumps([card.to_json() for card in cards]))
    elif name is None:
        typer.echo(overview(cards))
    else:
        typer.echo("\n\n".join([model_table(cards[0]), *published_tables(cards[0])]))


# --- A file of weights ------------------------------------------------------------------------------------------------


def file_text(path: Path, as_json: bool) -> str:
    """Return the metadata of a file of weights, or of a run's, as a table or as JSON."""
    metadata = file_metadata(path)
    if as_json:
        return json.dumps(metadata)
    return format_columns([(key, str(value)) for key, value in metadata.items()])


def file_metadata(path: Path) -> dict[str, Any]:
    """Read what a file of weights, or that of a run, records about itself."""
    file = path
    if path.is_dir():
        file = file_in(path)
    loaded = open_file(file)
    metadata: dict[str, Any] = {"file": str(file), "model": loaded.name, "sha256": loaded.sha256}
    if loaded.classes is not None:
        metadata["classes"] = ", ".join(loaded.classes.names)
    for number, data in enumerate(loaded.fine_tuned_on, 1):
        metadata[f"fine-tuned on, {number}"] = f"{data.spec}, part {data.part}"
    config = loaded.network.config
    if loaded.classes is not None and loaded.network.kind.scores_presence:
        metadata["region threshold"] = config.panoptic_threshold
        metadata["presence midpoint"] = config.presence_midpoint
    return metadata


# --- All models -------------------------------------------------------------------------------------------------------


def overview(cards: Sequence[ModelCard]) -> str:
    """Return all models in two tables: what they are, and the main scores of those that have any."""
    head = ("name", "parameters", "float32", "weights", "licence", "tasks")
    score_rows: list[tuple[str, ...]] = [("name", *MAIN_SCORE_NAMES)]
    repositories: dict[str, None] = {}
    sources: dict[str, None] = {}
    for card in cards:
        if card.file:
            repositories[card.file.repository] = None
        if card.published:
            score_rows.append((card.name, *main_score_cells(card.published)))
            sources[card.published.source] = None
    lines = [
        format_columns([head, *map(overview_row, cards)]),
        f"Downloads come from huggingface.co: {', '.join(repositories)}. All models also find everything that a phrase",
        "fits, segment everything, and follow objects through videos.",
        "",
        "Published by the authors, percent (NoC: clicks needed, fewer is better):",
        format_columns(score_rows),
        f"Source: {'; '.join(sources)}. All that is published about one model: seem models NAME",
    ]
    return "\n".join(lines)


def overview_row(card: ModelCard) -> tuple[str, ...]:
    """Return the row of one model in the table of all."""
    return (
        card.name,
        f"{card.parameters / 1e6:.1f} M",
        f"{card.megabytes} MB",
        card.weights.value,
        card.licence,
        ", ".join(card.tasks),
    )


def main_score_cells(scores: PublishedScores) -> tuple[str, ...]:
    """Return the main scores of a model in the order of `MAIN_SCORE_NAMES`; empty where none was published."""
    cells = []
    for key in MAIN_SCORES:
        figure = scores.figure(key)
        cells.append(figure.text if figure else "")
    return tuple(cells)


# --- One model --------------------------------------------------------------------------------------------------------


def model_table(card: ModelCard) -> str:
    """Return what one model is, can do and needs, as a table."""
    weights = card.weights.value
    if card.file:
        weights += f", {card.file.repository}: {card.file.name}"
    family = card.backbone
    if card.family != card.name:
        family = f"{card.family}, {card.backbone}"
    rows = [
        ("name", card.name),
        ("family", family),
        ("size", f"{card.parameters / 1e6:.1f} M parameters, {card.megabytes} MB in float32"),
        ("weights", weights),
        ("licence", card.licence),
        ("tasks", ", ".join(card.tasks)),
        ("prompts", ", ".join(card.prompts)),
        ("without", ", ".join(missing_abilities(card)) or "nothing"),
    ]
    return format_columns(rows)


def missing_abilities(card: ModelCard) -> tuple[str, ...]:
    """Return the tasks and prompts of other models that this one was not made for."""
    own = {*card.tasks, *card.prompts}
    missing: list[str] = []
    for other in list_models():
        for ability in (*other.tasks, *other.prompts):
            if ability not in own and ability not in missing:
                missing.append(ability)
    return tuple(missing)


def published_tables(card: ModelCard) -> list[str]:
    """Return every published score of a model and of its relatives, a table for each source."""
    tables = []
    if card.published:
        tables.append(published_table("these weights", card.published))
    for scores in card.relatives:
        tables.append(published_table(scores.model, scores))
    return tables or ["Nothing is published about it; what was measured here is in MODEL_CARD.md."]


def published_table(name: str, scores: PublishedScores) -> str:
    """Return the published scores of one network, below its name, setting and source."""
    details = filter(None, [scores.backbone, scores.setting, scores.note])
    rows = [
        (figure.benchmark, figure.metric, f"{figure.text} {figure.unit}")
        for figure in scores.figures
    ]
    return f"Published for {name} ({', '.join(details)}; {scores.source}):\n{format_columns(rows)}"


# --- Columns ----------------------------------------------------------------------------------------------------------


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, two spaces apart; columns of figures are aligned to the right."""
    columns = map(format_column, zip(*rows, strict=True))
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join(lines)


def format_column(cells: Sequence[str]) -> list[str]:
    """Return the cells of a column in equal width."""
    width = max(map(len, cells))
    justify = str.ljust
    if all(cell[0].isdigit() for cell in filter(None, cells[1:])):
        justify = str.rjust
    return [justify(cell, width) for cell in cells]
