"""Writes `docs/models.md` from the table of models and their published scores.

python -m seem.cli.models_page docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from seem.cli.errors import report_error, write_line
from seem.cli.models import MAIN_SCORE_NAMES, main_score_cells
from seem.zoo import (
    MAIN_SCORES,
    ModelCard,
    PublishedScores,
    WeightsAvailability,
    list_models,
    published_scores,
)

HEADER = """# Models

Written by `python -m seem.cli.models_page docs/models.md`; do not edit. `seem models` prints the same on a terminal.
"""

ABOUT_SCORES = """## Published scores

Reported by the authors, not measured by us: percent, and for VOC the number of clicks until a mask reaches 85 or
90% IoU (NoC, at most 20, fewer is better). The networks of the papers are not the released ones: T, B and L stand
there for FocalNet-T, DaViT-d3 and DaViT-d5, while the released large files have a FocalNet-L or a SAM-ViT-L, so
their scores differ. The scores that we measured of nano are in [results.md](results.md).
"""


def models_page() -> str:
    """Return the whole page, Markdown."""
    reports = published_scores()
    parts = [
        HEADER,
        models_table(list_models()),
        "",
        ABOUT_SCORES,
        main_table(reports),
        *other_tables(reports),
    ]
    return "\n".join(parts) + "\n"


def models_table(cards: Sequence[ModelCard]) -> str:
    """Return the table of all models: what each is and where its weights are."""
    head = (
        "name",
        "family",
        "backbone",
        "parameters",
        "float32",
        "weights",
        "licence",
        "tasks",
        "prompts",
    )
    return _markdown_table([head, *map(model_row, cards)])


def model_row(card: ModelCard) -> tuple[str, ...]:
    """Return the row of one model."""
    return (
        f"`{card.name}`",
        card.family,
        card.backbone,
        f"{card.parameters / 1e6:.1f} M",
        f"{card.megabytes} MB",
        weights_cell(card),
        card.licence,
        ", ".join(card.tasks),
        ", ".join(card.prompts),
    )


def weights_cell(card: ModelCard) -> str:
    """Return where the weights are, as a link if they are on the hub."""
    if card.file is not None:
        return f"[{card.file.name}](https://huggingface.co/{card.file.repository})"
    if card.weights is WeightsAvailability.EMBEDDED:
        return "in the package"
    return str(card.weights.value)


def main_table(reports: Sequence[PublishedScores]) -> str:
    """Return the table of the scores that nearly every network has."""
    head = ("network", "backbone", *MAIN_SCORE_NAMES, "source")
    rows = [main_row(scores) for scores in reports if has_main_score(scores)]
    return _markdown_table([head, *rows])


def has_main_score(scores: PublishedScores) -> bool:
    """Tell whether any of the main scores of a network was published."""
    return any(figure.key in MAIN_SCORES for figure in scores.figures)


def main_row(scores: PublishedScores) -> tuple[str, ...]:
    """Return the main scores of one network."""
    return (network_name(scores), scores.backbone, *main_score_cells(scores), scores.source)


def other_tables(reports: Sequence[PublishedScores]) -> list[str]:
    """Return all other scores, a title and a table for each network and source."""
    parts = []
    for scores in reports:
        others = [figure for figure in scores.figures if figure.key not in MAIN_SCORES]
        if others:
            parts.append(
                f"\n### {network_name(scores)}, {scores.backbone}\n\nSource: {scores.source}.\n"
            )
            rows = [(figure.benchmark, figure.metric, figure.text) for figure in others]
            parts.append(_markdown_table([("benchmark", "metric", "value"), *rows]))
    return parts


def network_name(scores: PublishedScores) -> str:
    """Return the name of the network that was measured, and the setting."""
    name = scores.model
    if " " not in name:
        name = f"`{name}`"
    return ", ".join(filter(None, [name, scores.setting, scores.note]))


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table whose first row is the head."""
    head, *body = rows
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def main(arguments: Sequence[str]) -> int:
    """Write the page to a file; returns an exit code."""
    try:
        if len(arguments) != 1:
            raise ValueError(
                "Name the file to write: python -m seem.cli.models_page docs/models.md"
            )
        Path(arguments[0]).write_text(models_page(), encoding="utf-8")
        write_line(f"{arguments[0]}: {len(list_models())} models")
    except BaseException as error:
        return report_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
