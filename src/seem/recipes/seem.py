"""How SEEM was trained, for models of its family: `seem train seem --data coco:/data/coco --model seem-focal-t-v1`.

X-Decoder models are also trained on captions, their nouns and retrieval, with data sets that have captions.

Backbone, text encoder and pixel decoder are frozen and start from the official weights; the decoder is trained with
AdamW at a learning rate of 1e-4 (weight decay 0.05, gradients clipped at 5), which falls to a tenth at 88.9% and at
96.3% of 50 epochs, with 16 images a step, flips and large-scale jitter. Masks of COCO objects may be replaced by LVIS's
finer ones (`--finer-masks`). The released training ran on accelerators with canvases of 1024 pixels (`--size 1024`);
nobody has repeated it with this code, so no score is promised.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from seem.finetuning.console import LineWriter
from seem.finetuning.request import FineTuningRequest, PublishedRecipe
from seem.finetuning.run import FineTuningResult, finetune
from seem.training.config import TrainConfig
from seem.training.objectives.published_config import Ablation

EPOCHS = 50
BATCH = 16  # images of a step, of all processes
COCO_IMAGES = 118_287  # of train2017


def published_config(num_images: int = COCO_IMAGES, batch: int = BATCH) -> TrainConfig:
    """Return the released settings for a data set of that many images."""
    return TrainConfig(
        steps=max(1, math.ceil(EPOCHS * num_images / batch)),
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


def train_published(
    request: FineTuningRequest,
    ablation: Ablation | None = None,
    finer_masks: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    write_line: LineWriter = print,
    write_progress: LineWriter | None = None,
) -> FineTuningResult:
    """Train a model of the SEEM family by the published recipe; arguments as of `finetune`."""
    settings = published_config(batch=request.batch or BATCH)
    recipe = PublishedRecipe(settings, ablation or Ablation(), finer_masks)
    return finetune(
        replace(request, epochs=EPOCHS),
        resume=resume,
        overwrite=overwrite,
        write_line=write_line,
        write_progress=write_progress,
        recipe=recipe,
    )
