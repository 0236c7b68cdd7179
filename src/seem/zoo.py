"""The models by name: what each is, can do and scored, where its weights are and on which terms.

A row is data, and the table is everything that distinguishes one model's entry from another's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum

from seem import config
from seem.checkpoints.download import HubFile
from seem.config import SegmenterConfig

RELEASE_NOTES = "README of the official repositories (SEEM v1.0, X-Decoder v2.0)"


class Weights(Enum):
    """How one comes by the weights of a model."""

    EMBEDDED = "embedded"
    DOWNLOAD = "download"
    NEVER_RELEASED = "never released"


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """What the authors report for these very weights.

    COCO val2017 and RefCOCOg in percent; VOC in clicks until a mask reaches 85 or 90% IoU (NoC, 20 at most, fewer is
    better). None where no figure was published.
    """

    coco_pq: float
    coco_map: float
    coco_miou: float
    refcocog_ciou: float
    refcocog_miou: float
    refcocog_ap50: float
    voc_noc85_20: float | None = None
    voc_noc90_20: float | None = None
    source: str = RELEASE_NOTES


@dataclass(frozen=True, slots=True)
class Family:
    """What every released model of one paper shares; the licence is the one declared beside the files."""

    repository: str
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    licence: str


SEEM = Family(
    repository="xdecoder/SEEM",
    tasks=("panoptic", "instance", "semantic", "referring", "interactive"),
    prompts=("point", "stroke", "scribble", "polygon", "box", "mask", "text"),
    licence="AFL-3.0",
)
XDECODER = Family(
    repository="xdecoder/X-Decoder",
    tasks=("panoptic", "instance", "semantic", "referring", "captioning", "retrieval"),
    prompts=("text",),
    licence="Apache-2.0",
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One row of the table. `manifest` is the name that the authors' architecture has in the parity recordings."""

    name: str
    manifest: str | None
    parameters: int
    tasks: tuple[str, ...]
    prompts: tuple[str, ...]
    weights: Weights
    licence: str
    config: Callable[[], SegmenterConfig]
    file: HubFile | None = None
    published: PublishedScores | None = None

    @property
    def megabytes(self) -> int:
        """Size of the weights in float32, which is what the released files hold."""
        return round(self.parameters * 4 / 1e6)

    def to_json(self) -> dict[str, object]:
        """Say the row in plain values, as `seem models --json` prints it."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "tasks": list(self.tasks),
            "prompts": list(self.prompts),
            "weights": self.weights.value,
            "licence": self.licence,
            "published": asdict(self.published) if self.published else None,
        }


def find(name: str) -> ModelCard:
    """Look a model up by name; an unknown name is a `ValueError` that suggests the nearest."""
    card = KNOWN.get(name)
    if card is None:
        raise ValueError(f"There is no model {name!r}; {_suggestion(name)}the models are {_names(list_models())}.")
    return card


def list_models() -> tuple[ModelCard, ...]:
    """List all models, nano first, then by family and size."""
    return tuple(KNOWN.values())


def _suggestion(name: str) -> str:
    """Point to the nearest known name, also for the authors' spelling (`seem_v1_focalt`, `seem_focalt_v1.pt`)."""
    spellings = {spelling: card.name for card in KNOWN.values() for spelling in _spellings(card)}
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    return f"did you mean {spellings[near[0]]!r}? Otherwise " if near else ""


def _spellings(card: ModelCard) -> tuple[str, ...]:
    return tuple(filter(None, (card.name, card.manifest, card.file.name if card.file else None)))


def _names(cards: tuple[ModelCard, ...]) -> str:
    return ", ".join(card.name for card in cards)


def _official(
    family: Family,
    name: str,
    manifest: str,
    parameters: int,
    file: str | None,
    published: PublishedScores | None = None,
    *,
    config: Callable[[], SegmenterConfig],
) -> ModelCard:
    """Fill in what all models of a family share; without a file, only the architecture was published."""
    return ModelCard(
        name=name,
        manifest=manifest,
        parameters=parameters,
        tasks=family.tasks,
        prompts=family.prompts,
        weights=Weights.DOWNLOAD if file else Weights.NEVER_RELEASED,
        licence=family.licence if file else "none: no weights exist",
        file=HubFile(family.repository, file) if file else None,
        published=published,
        config=config,
    )


# "seem_focall_v1.pt" is the v1 model on the hub; an older file of that name on other mirrors is the v0 model.
# The demo models are the v0 files under another attention policy.
KNOWN = {
    card.name: card
    for card in (
        ModelCard(
            name="nano",
            manifest=None,
            parameters=9_476_294,
            tasks=SEEM.tasks,
            prompts=SEEM.prompts,
            weights=Weights.EMBEDDED,
            licence="Apache-2.0",
            config=config.nano,
        ),
        _official(
            SEEM,
            "seem-focal-t-v1",
            "seem_v1_focalt",
            164_619_249,
            "seem_focalt_v1.pt",
            PublishedScores(50.8, 39.4, 60.7, 58.5, 63.7, 72.0, 3.19, 4.13),
            config=config.seem_focal_t_v1,
        ),
        _official(
            SEEM,
            "seem-focal-l-v1",
            "seem_v1_focall",
            341_181_177,
            "seem_focall_v1.pt",
            PublishedScores(56.1, 46.3, 65.8, 62.4, 67.8, 76.0, 2.66, 3.44),
            config=config.seem_focal_l_v1,
        ),
        _official(
            SEEM,
            "seem-samvit-b-v1",
            "seem_v1_samvitb",
            215_563_649,
            "seem_samvitb_v1.pt",
            PublishedScores(52.0, 43.5, 60.2, 54.1, 62.2, 69.3, 2.53, 3.23),
            config=config.seem_samvit_b_v1,
        ),
        _official(
            SEEM,
            "seem-samvit-l-v1",
            "seem_v1_samvitl",
            440_538_689,
            "seem_samvitl_v1.pt",
            PublishedScores(49.0, 41.6, 58.2, 53.8, 62.2, 69.5, 2.40, 2.96),
            config=config.seem_samvit_l_v1,
        ),
        _official(SEEM, "seem-davit-d3-v1", "seem_v1_davitd3", 221_870_081, None, config=config.seem_davit_d3_v1),
        _official(SEEM, "seem-davit-d5-v1", "seem_v1_davitd5", 496_558_081, None, config=config.seem_davit_d5_v1),
        _official(
            SEEM,
            "seem-focal-t-v0",
            "seem_v0_focalt",
            164_619_249,
            "seem_focalt_v0.pt",
            PublishedScores(50.6, 39.4, 60.9, 58.5, 63.5, 71.6, 3.54, 4.59),
            config=config.seem_focal_t_v0,
        ),
        _official(
            SEEM,
            "seem-focal-l-v0",
            "seem_v0_focall",
            341_181_177,
            "seem_focall_v0.pt",
            PublishedScores(56.2, 46.4, 65.5, 62.8, 67.7, 76.2, 3.04, 3.85),
            config=config.seem_focal_l_v0,
        ),
        _official(
            SEEM,
            "seem-focal-t-demo",
            "seem_demo_focalt",
            164_619_249,
            "seem_focalt_v0.pt",
            config=config.seem_focal_t_demo,
        ),
        _official(
            SEEM,
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
            PublishedScores(50.8, 39.5, 62.4, 57.6, 63.2, 71.6),
            config=config.xdecoder_focal_t,
        ),
        _official(
            XDECODER,
            "xdecoder-focal-l",
            "xdecoder_focall",
            341_551_353,
            "xdecoder_focall_last.pt",
            PublishedScores(56.5, 46.7, 67.2, 62.8, 67.5, 76.3),
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
            XDECODER, "xdecoder-davit-d3", "xdecoder_davitd3", 221_978_113, None, config=config.xdecoder_davit_d3
        ),
        _official(
            XDECODER, "xdecoder-davit-d5", "xdecoder_davitd5", 497_190_401, None, config=config.xdecoder_davit_d5
        ),
    )
}
