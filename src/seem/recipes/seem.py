"""How SEEM was trained, for models of its family: `seem train seem --data coco:/data/coco --model seem-focal-t-v1`.

X-Decoder models learn captions, their nouns and retrieval by it, too, from data sets with captions.

Backbone, text encoder and pixel decoder are frozen and start from the official weights; the decoder learns with AdamW
at 1e-4 (weight decay 0.05, gradients clipped at 5), the rate falls to a tenth at 88.9% and at 96.3% of 50 epochs, with
16 photos a step, flips and large-scale jitter. Masks of COCO objects may be replaced by LVIS's finer ones
(`--finer-masks`). The released training ran on accelerators with canvases of 1024 pixels (`--size 1024`); nobody has
repeated it with this code, so no score is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from seem import zoo
from seem.finetuning.run import FineTuningRequest, FineTuningResult, Say, finetune
from seem.training.engine import TrainConfig
from seem.training.published import PublishedObjective

EPOCHS, BATCH = 50, 16
COCO_PHOTOS = 118_287  # of train2017


@dataclass(frozen=True, slots=True)
class Ablation:
    """What the paper switches off to see what it is worth."""

    rounds: int = 5
    memory: bool = True
    positive: bool = True
    negative: bool = True
    objects: bool = True
    phrases: bool = True
    visual: bool = True
    captions: bool = True

    def objective(self) -> PublishedObjective:
        """Return the objective with these switches."""
        return PublishedObjective(
            rounds=self.rounds,
            memory=self.memory,
            positive=self.positive,
            negative=self.negative,
            objects=self.objects,
            phrases=self.phrases,
            visual=self.visual,
            captions=self.captions,
        )


def config(photos: int = COCO_PHOTOS, batch: int = BATCH) -> TrainConfig:
    """Return the released settings for a set of that many photos."""
    return TrainConfig(
        steps=max(1, math.ceil(EPOCHS * photos / batch)),
        batch=batch,
        learning_rate=1e-4,
        weight_decay=0.05,
        warmup=0,
        clip=5.0,
        average=0.0,
        schedule="steps",
        rates=(("backbone.", 0.1), ("text.", 0.1)),
        betas=(0.9, 0.999),
    )


def run(
    request: FineTuningRequest,
    ablation: Ablation = Ablation(),
    finer_masks: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = print,
    live: Say | None = None,
) -> FineTuningResult:
    """Train a model of the SEEM family by the published recipe."""
    card = zoo.MODEL_CARDS.get(request.model)
    if card is not None and card.family == "nano":
        raise ValueError(
            "The recipe 'seem' trains models of the SEEM family; for nano: seem train nano, or seem finetune."
        )
    return finetune(
        replace(request, epochs=EPOCHS),
        resume=resume,
        overwrite=overwrite,
        say=say,
        live=live,
        objective=ablation.objective(),
        base=config(batch=request.batch or BATCH),
        finer_masks=finer_masks,
    )
