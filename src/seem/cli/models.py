"""`seem models`: what there is, can do and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seem.loading import file_in, open_file
from seem.zoo import MAIN_SCORES, MODEL_CARDS, ModelCard, PublishedScores, find_model_card, list_models

SCORES = ("COCO PQ", "mAP", "mIoU", "RefCOCOg cIoU", "mIoU", "AP50", "VOC NoC85", "NoC90")


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|RUN", help="Tell all about this one, or this fine-tuned model.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=" ", help="Print a list of objects instead of a table.")
    ] = False,
) -> None:
    """List the models: size, tasks, weights, licence and published scores."""
    if name is not None and name not in MODEL_CARDS and Path(name).exists():
        told = about_file(Path(name))
        typer.echo(json.dumps(told) if as_json else table([(key, str(value)) for key, value in told.items()]))
        return
    cards = list_models() if name is None else (find_model_card(name),)
    if as_json:
        typer.echo(json.dumps([card.to_json() for card in cards]))
    elif name is None:
        typer.echo(overview(cards))
    else:
        typer.echo("\n\n".join([profile(cards[0]), *reports(cards[0])]))


def about_file(path: Path) -> dict[str, str | float]:
    """Tell what a file of weights, or that of a run, says about itself."""
    file = file_in(path) if path.is_dir() else path
    loaded = open_file(file)
    kept = loaded.network.config
    classes = {} if loaded.classes is None else {"classes": ", ".join(loaded.classes.names)}
    learnt = {f"learnt from, {k}": f"{each.spec}, part {each.part}" for k, each in enumerate(loaded.learnt, 1)}
    limits = {"regions from": kept.panoptic_threshold, "a class is there from": kept.presence_midpoint}
    return {
        "file": str(file),
        "model": loaded.name,
        "sha256": loaded.sha256,
        **classes,
        **learnt,
        **(limits if loaded.classes is not None and kept.presence_midpoint else {}),
    }


def overview(cards: Sequence[ModelCard]) -> str:
    """Set all models in two tables: what they are, and the main scores of those that have any."""
    published = [(card.name, card.published) for card in cards if card.published]
    rows = [
        (c.name, f"{c.parameters / 1e6:.1f} M", f"{c.megabytes} MB", c.weights.value, c.licence, ", ".join(c.tasks))
        for c in cards
    ]
    repositories = dict.fromkeys(card.file.repository for card in cards if card.file)
    sources = dict.fromkeys(scores.source for _, scores in published)
    return "\n".join([
        table([("name", "parameters", "float32", "weights", "licence", "tasks"), *rows]),
        f"Downloads come from huggingface.co: {', '.join(repositories)}. All models also find everything that a phrase",
        "fits, segment everything, and follow objects through videos.",
        "",
        "Published by the authors, percent (NoC: clicks needed, fewer is better):",
        table([("name", *SCORES), *((name, *main_figures(scores)) for name, scores in published)]),
        f"Source: {'; '.join(sources)}. All that is published about one model: seem models NAME",
    ])  # fmt: skip


def main_figures(scores: PublishedScores) -> tuple[str, ...]:
    """Write one row of scores: percents, then clicks; nothing where no figure was published."""
    found = (scores.figure(key) for key in MAIN_SCORES)
    return tuple(figure.text if figure else "" for figure in found)


def profile(card: ModelCard) -> str:
    """Tell what one model is, can do and needs."""
    where = f", {card.file.repository}: {card.file.name}" if card.file else ""
    return table([
        ("name", card.name),
        ("family", f"{card.family}, {card.backbone}" if card.family != card.name else card.backbone),
        ("size", f"{card.parameters / 1e6:.1f} M parameters, {card.megabytes} MB in float32"),
        ("weights", card.weights.value + where),
        ("licence", card.licence),
        ("tasks", ", ".join(card.tasks)),
        ("prompts", ", ".join(card.prompts)),
        ("without", ", ".join(lacking(card)) or "nothing"),
    ])  # fmt: skip


def lacking(card: ModelCard) -> tuple[str, ...]:
    """List the tasks and prompts of other models that this one was not made for."""
    others = (word for other in list_models() for word in (*other.tasks, *other.prompts))
    return tuple(dict.fromkeys(word for word in others if word not in (*card.tasks, *card.prompts)))


def reports(card: ModelCard) -> list[str]:
    """Tell every published figure of a model, and of its relatives, each under where it stands."""
    own = [("these weights", card.published)] if card.published else []
    others = [(scores.model, scores) for scores in card.relatives]
    return [
        f"Published for {told(name, scores)}:\n"
        + table([(f.benchmark, f.metric, f.text + (" %" if f.unit == "%" else f" {f.unit}")) for f in scores.figures])
        for name, scores in (*own, *others)
    ] or ["Nothing is published about it; what was measured here is in MODEL_CARD.md."]


def told(name: str, scores: PublishedScores) -> str:
    """Name the network that was measured, how, and where that stands."""
    remarks = [scores.backbone, *filter(None, (scores.setting, scores.note))]
    return f"{name} ({', '.join(remarks)}; {scores.source})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns, two spaces apart; columns of figures end together."""
    columns = []
    for cells in zip(*rows, strict=True):
        width, is_figures = max(map(len, cells)), all(cell[:1].isdigit() for cell in cells[1:] if cell)
        columns.append([cell.rjust(width) if is_figures else cell.ljust(width) for cell in cells])
    lines = ("  ".join(row) for row in zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in lines)
