"""What a training step minimises: one objective for each kind of model.

`dense` is that of models with a text embedding map (nano), `published` that of SEEM and X-Decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.batches import StepBatch
from seem.training.objectives.dense import DenseObjective
from seem.training.objectives.published import QueryObjective
from seem.training.objectives.published_config import Ablation, PublishedConfig
from seem.training.objectives.published_texts import TemplatedTokenizer
from seem.training.phrases import PhraseTokenizer


class Objective(Protocol):
    """What a training step minimises."""

    def loss(self, model: Segmenter, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its weighted terms with their `total` for the log."""


def objective_for(
    network: Segmenter,
    tokenizer: BytePairTokenizer,
    ablation: Ablation | None = None,
    count_objects: Callable[[int], float] = float,
) -> Objective:
    """Return the objective of a network's kind.

    Args:
        network: the model to train.
        tokenizer: its tokenizer.
        ablation: parts of the published objective; no effect on the dense one.
        count_objects: turns the number of objects in this process's batch into what the losses of their masks are
            divided by (published objective).
    """
    match network.kind.name:
        case "dense":
            return DenseObjective(PhraseTokenizer(tokenizer))
        case "query":
            templated = network.config.text.templates == "all"
            config = PublishedConfig(ablation=ablation or Ablation())
            return QueryObjective(TemplatedTokenizer(tokenizer, templated), config, count_objects)
