"""The models by name: architecture, tasks, published scores, weights and licence.

A row is data, and the table is everything that distinguishes one model's entry from another's. What the authors
report is in `assets/published.json`: every figure with the network that was measured and the place where it stands.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from importlib import resources
from typing import TypedDict, cast

from seem import config
from seem.checkpoints.download import HubFile
from seem.config import SegmenterConfig

MAIN_SCORES = (
    *("coco_pq", "coco_map", "coco_miou", "refcocog_ciou", "refcocog_miou", "refcocog_ap50"),
    *("voc_noc85_20", "voc_noc90_20"),
)
"""What the authors report for every released model (VOC for SEEM alone), in the order in which tables show it."""


class WeightsAvailability(Enum):
    """Where the weights of a model are."""

    EMBEDDED = "embedded"
    DOWNLOAD = "download"
    NEVER_RELEASED = "never released"


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One published figure: percent, or clicks until a mask reaches 85 or 90% IoU (NoC; fewer is better)."""

    key: str
    benchmark: str
    metric: str
    unit: str
    value: float

    @property
    def text(self) -> str:
        """The value with the digits that were published: 50.8 percent, 3.19 clicks."""
        return f"{self.value:.1f}" if self.unit == "%" else f"{self.value:.2f}"


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """What the authors report about one network in one place.

    `model` is a name of our table where the figures belong to those very weights, else what the source calls it.
    `setting` says how it was evaluated, if not in the usual way.
    """

    model: str
    family: str
    backbone: str
    source: str
    figures: tuple[PublishedFigure, ...]
    setting: str | None = None
    note: str | None = None

    def figure(self, key: str) -> PublishedFigure | None:
        """Return the figure of that key, None where none was published."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        return None

    def to_json(self) -> dict[str, object]:
        """Return plain values: one number or null for each main score, the source, and the backbone."""
        values: dict[str, object] = dict.fromkeys(MAIN_SCORES)
        values.update({figure.key: figure.value for figure in self.figures})
        return {**values, "source": self.source, "backbone": self.backbone}


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """What every released model of one paper shares; the licence is the one declared beside the files.

    `prompts` are what `segment` takes; audio is transcribed first, whatever the model.
    """

    name: str
    repository: str
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    licence: str


SEEM = ModelFamily(
    name="SEEM",
    repository="xdecoder/SEEM",
    tasks=("panoptic", "instance", "semantic", "referring", "interactive"),
    prompts=("point", "stroke", "scribble", "polygon", "box", "mask", "text", "audio"),
    licence="AFL-3.0",
)
SEEM_V0 = replace(
    SEEM, prompts=(*SEEM.prompts, "reference")
)  # v1's published code cannot use a reference
XDECODER = ModelFamily(
    name="X-Decoder",
    repository="xdecoder/X-Decoder",
    tasks=("panoptic", "instance", "semantic", "referring", "captioning", "retrieval"),
    prompts=("text", "audio"),
    licence="Apache-2.0",
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One row of the table. `manifest` is the name that the authors' architecture has in the parity recordings."""

    name: str
    family: str
    backbone: str
    manifest: str | None
    parameters: int
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    weights: WeightsAvailability
    licence: str
    config: Callable[[], SegmenterConfig]
    file: HubFile | None = None

    @property
    def megabytes(self) -> int:
        """Size of the weights in float32, which is what the released files hold."""
        return round(self.parameters * 4 / 1e6)

    @property
    def published(self) -> PublishedScores | None:
        """What the authors report for these very weights, None where they report nothing."""
        for scores in published_scores():
            if scores.model == self.name:
                return scores
        return None

    @property
    def relatives(self) -> tuple[PublishedScores, ...]:
        """What is reported for other weights of the same family and backbone, the papers' own among them."""
        relatives = []
        for scores in published_scores():
            is_related = (scores.family, scores.backbone) == (self.family, self.backbone)
            if is_related and scores.model != self.name:
                relatives.append(scores)
        return tuple(relatives)

    def to_json(self) -> dict[str, object]:
        """Return the row in plain values, as `seem models --json` prints it."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "tasks": list(self.tasks),
            "prompts": list(self.prompts),
            "weights": self.weights.value,
            "licence": self.licence,
            "published": self.published.to_json() if self.published else None,
        }


def find_model_card(name: str) -> ModelCard:
    """Look a model up by name; an unknown name is a `ValueError` that suggests the nearest."""
    card = NEXT if name == NEXT.name else MODEL_CARDS.get(name)
    if card is None:
        raise ValueError(
            f"There is no model {name!r}; {_suggestion(name)}the models are {_names(list_models())}."
        )
    return card


def list_models() -> tuple[ModelCard, ...]:
    """List all models, nano first, then by family and size."""
    return tuple(MODEL_CARDS.values())


@cache
def published_scores() -> tuple[PublishedScores, ...]:
    """List everything that the authors report about the two families: released weights, then the papers' own."""
    text = resources.files("seem").joinpath("assets/published.json").read_text(encoding="utf-8")
    table = cast("_PublishedTable", json.loads(text))
    return tuple(_read_published_row(table, row) for row in table["rows"])


def _read_published_row(table: _PublishedTable, row: _PublishedRow) -> PublishedScores:
    figures = []
    for key, value in row["scores"].items():
        figures.append(PublishedFigure(key, **table["metrics"][key], value=value))
    return PublishedScores(
        model=row["model"],
        family=row["family"],
        backbone=row["backbone"],
        source=table["sources"][row["source"]],
        figures=tuple(figures),
        setting=row.get("setting"),
        note=row.get("note"),
    )


class _Metric(TypedDict):
    benchmark: str
    metric: str
    unit: str


class _PublishedRow(TypedDict, total=False):
    model: str
    family: str
    backbone: str
    source: str
    setting: str
    note: str
    scores: dict[str, float]


class _PublishedTable(TypedDict):
    metrics: dict[str, _Metric]
    sources: dict[str, str]
    rows: list[_PublishedRow]


def _suggestion(name: str) -> str:
    """Point to the nearest known name, also for the authors' spelling (`seem_v1_focalt`, `seem_focalt_v1.pt`)."""
    spellings: dict[str, str] = {}
    for card in MODEL_CARDS.values():
        spellings |= dict.fromkeys(_spellings(card), card.name)
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    return f"did you mean {spellings[near[0]]!r}? Otherwise " if near else ""


def _spellings(card: ModelCard) -> tuple[str, ...]:
    return tuple(filter(None, (card.name, card.manifest, card.file.name if card.file else None)))


def _names(cards: tuple[ModelCard, ...]) -> str:
    return ", ".join(card.name for card in cards)


def _official(
    family: ModelFamily,
    name: str,
    manifest: str,
    parameters: int,
    file: str | None,
    *,
    config: Callable[[], SegmenterConfig],
) -> ModelCard:
    """Fill in what all models of a family share; without a file, only the architecture was published."""
    return ModelCard(
        name=name,
        family=family.name,
        backbone=next(backbone for part, backbone in BACKBONES.items() if part in name),
        manifest=manifest,
        parameters=parameters,
        tasks=family.tasks,
        prompts=family.prompts,
        weights=WeightsAvailability.DOWNLOAD if file else WeightsAvailability.NEVER_RELEASED,
        licence=family.licence if file else "none: no weights exist",
        file=HubFile(family.repository, file) if file else None,
        config=config,
    )


BACKBONES = {
    "focal-t": "FocalNet-T",
    "focal-l": "FocalNet-L",
    "davit-d3": "DaViT-d3",
    "davit-d5": "DaViT-d5",
    "samvit-b": "SAM-ViT-B",
    "samvit-l": "SAM-ViT-L",
}
"""Backbones by the part of a model's name that says which one it is."""

# "seem_focall_v1.pt" is the v1 model on the hub; an older file of that name on other mirrors is the v0 model.
# The demo models are the v0 files under another attention policy.
MODEL_CARDS = {
    card.name: card
    for card in (
        ModelCard(
            name="nano",
            family="nano",
            backbone="our own ConvNet",
            manifest=None,
            parameters=9_838_790,
            tasks=(*SEEM.tasks, "retrieval"),
            prompts=SEEM_V0.prompts,
            weights=WeightsAvailability.EMBEDDED,
            licence="Apache-2.0",
            config=config.nano,
        ),
        _official(
            SEEM,
            "seem-focal-t-v1",
            "seem_v1_focalt",
            164_619_249,
            "seem_focalt_v1.pt",
            config=config.seem_focal_t_v1,
        ),
        _official(
            SEEM,
            "seem-focal-l-v1",
            "seem_v1_focall",
            341_181_177,
            "seem_focall_v1.pt",
            config=config.seem_focal_l_v1,
        ),
        _official(
            SEEM,
            "seem-samvit-b-v1",
            "seem_v1_samvitb",
            215_563_649,
            "seem_samvitb_v1.pt",
            config=config.seem_samvit_b_v1,
        ),
        _official(
            SEEM,
            "seem-samvit-l-v1",
            "seem_v1_samvitl",
            440_538_689,
            "seem_samvitl_v1.pt",
            config=config.seem_samvit_l_v1,
        ),
        _official(
            SEEM,
            "seem-davit-d3-v1",
            "seem_v1_davitd3",
            221_870_081,
            None,
            config=config.seem_davit_d3_v1,
        ),
        _official(
            SEEM,
            "seem-davit-d5-v1",
            "seem_v1_davitd5",
            496_558_081,
            None,
            config=config.seem_davit_d5_v1,
        ),
        _official(
            SEEM_V0,
            "seem-focal-t-v0",
            "seem_v0_focalt",
            164_619_249,
            "seem_focalt_v0.pt",
            config=config.seem_focal_t_v0,
        ),
        _official(
            SEEM_V0,
            "seem-focal-l-v0",
            "seem_v0_focall",
            341_181_177,
            "seem_focall_v0.pt",
            config=config.seem_focal_l_v0,
        ),
        _official(
            SEEM_V0,
            "seem-focal-t-demo",
            "seem_demo_focalt",
            164_619_249,
            "seem_focalt_v0.pt",
            config=config.seem_focal_t_demo,
        ),
        _official(
            SEEM_V0,
            "seem-focal-l-demo",
            "seem_demo_focall",
            341_181_177,
            "seem_focall_v0.pt",
            config=config.seem_focal_l_demo,
        ),
        _official(
            XDECODER,
            "xdecoder-focal-t",
            "xdecoder_focalt",
            164_493_809,
            "xdecoder_focalt_last.pt",
            config=config.xdecoder_focal_t,
        ),
        _official(
            XDECODER,
            "xdecoder-focal-l",
            "xdecoder_focall",
            341_551_353,
            "xdecoder_focall_last.pt",
            config=config.xdecoder_focal_l,
        ),
        _official(
            XDECODER,
            "xdecoder-focal-l-q101",
            "xdecoder_focall_oq101",
            341_448_953,
            "xdecoder_focall_last_oq101.pt",
            config=config.xdecoder_focal_l_q101,
        ),
        _official(
            XDECODER,
            "xdecoder-davit-d3",
            "xdecoder_davitd3",
            221_978_113,
            None,
            config=config.xdecoder_davit_d3,
        ),
        _official(
            XDECODER,
            "xdecoder-davit-d5",
            "xdecoder_davitd5",
            497_190_401,
            None,
            config=config.xdecoder_davit_d5,
        ),
    )
}

NEXT = replace(
    MODEL_CARDS["nano"],
    name="nano2",
    backbone="EfficientNet-Lite2",
    parameters=11_076_733,
    weights=WeightsAvailability.NEVER_RELEASED,
    config=config.nano2,
)
"""The embedded model in the making: files of its weights are read, but no list names it."""
