"""The page of the models, `docs/models.md`, written from the table of models and what is published about them.

python -m seem.cli.models_page docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from seem.cli.errors import explain, write_line
from seem.cli.models import SCORES, main_figures
from seem.zoo import MAIN_SCORES, ModelCard, PublishedScores, WeightsAvailability, list_models, published_scores

HEADER = """# Models

Written by `python -m seem.cli.models_page docs/models.md`; do not edit. `seem models` prints the same on a terminal.
"""

ABOUT_SCORES = """## Published scores

What the authors report, not what we measured: percent, and for VOC the clicks until a mask reaches 85 or 90% IoU (NoC,
at most 20, fewer is better). The papers' networks are not the released ones: T, B and L stand there for FocalNet-T,
DaViT-d3 and DaViT-d5, while the released large files have a FocalNet-L or a SAM-ViT-L, so their scores differ. What we
measured of nano is in [MODEL_CARD.md](../MODEL_CARD.md).
"""


def page() -> str:
    """Write the whole page, Markdown."""
    reports = published_scores()
    parts = [HEADER, models_table(list_models()), "", ABOUT_SCORES, main_table(reports), *other_tables(reports)]
    return "\n".join(parts) + "\n"


def models_table(cards: Sequence[ModelCard]) -> str:
    """Set all models in a table: what each is and where its weights are."""
    head = ("name", "family", "backbone", "parameters", "float32", "weights", "licence", "tasks", "prompts")
    rows = [
        (
            f"`{card.name}`",
            card.family,
            card.backbone,
            f"{card.parameters / 1e6:.1f} M",
            f"{card.megabytes} MB",
            weights_of(card),
            card.licence,
            ", ".join(card.tasks),
            ", ".join(card.prompts),
        )
        for card in cards
    ]
    return markdown([head, *rows])


def weights_of(card: ModelCard) -> str:
    """Say where the weights are, as a link if they are on the hub."""
    if card.file is None:
        return "in the package" if card.weights is WeightsAvailability.EMBEDDED else card.weights.value
    return f"[{card.file.name}](https://huggingface.co/{card.file.repository})"


def main_table(reports: Sequence[PublishedScores]) -> str:
    """Set the scores that nearly every network has side by side."""
    rows = [
        (subject(scores), scores.backbone, *main_figures(scores), scores.source)
        for scores in reports
        if any(figure.key in MAIN_SCORES for figure in scores.figures)
    ]
    return markdown([("network", "backbone", *SCORES, "source"), *rows])


def other_tables(reports: Sequence[PublishedScores]) -> list[str]:
    """List every other figure, a table for each network and source."""
    parts = []
    for scores in reports:
        rows = [(f.benchmark, f.metric, f.text) for f in scores.figures if f.key not in MAIN_SCORES]
        if rows:
            title = f"\n### {subject(scores)}, {scores.backbone}\n\nSource: {scores.source}.\n"
            parts += [title, markdown([("benchmark", "metric", "value"), *rows])]
    return parts


def subject(scores: PublishedScores) -> str:
    """Name the network and how it was asked."""
    name = scores.model if " " in scores.model else f"`{scores.model}`"
    return ", ".join([name, *filter(None, (scores.setting, scores.note))])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Set rows as a table, the first as its head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def main(arguments: Sequence[str]) -> int:
    """Write the page to a file; returns an exit code."""
    try:
        if len(arguments) != 1:
            raise ValueError("The page needs the file to write: python -m seem.cli.models_page docs/models.md")
        Path(arguments[0]).write_text(page(), encoding="utf-8")
        write_line(f"{arguments[0]}: {len(list_models())} models")
    except BaseException as error:
        return explain(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
