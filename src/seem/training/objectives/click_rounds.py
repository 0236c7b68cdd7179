"""Rounds of simulated clicks before a training step, as the published models were trained with."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RandomDraws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.models.structures import DecoderQuery, QueryOutputs, VisualPrompts
from seem.simulation.next_click import seem_next_clicks
from seem.training.batches import TrainingBatch
from seem.training.objectives.published_config import Ablation


@torch.no_grad()
def simulate_rounds(
    model: Segmenter,
    image: ImageEncoding,
    batch: TrainingBatch,
    ablation: Ablation,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[VisualPrompts, Float[Tensor, "b n h w"] | None]:
    """Let a simulated user correct the network for some rounds; return all prompts and the last masks (or None)."""
    positive = (batch.positive | batch.bounds).clone()
    negative = batch.negative.clone() if ablation.negative else torch.zeros_like(batch.negative)
    previous: Tensor | None = None
    num_rounds = int(rng.integers(0, ablation.rounds + 1))
    for _ in range(num_rounds):
        tokens = model.encode_prompts(
            VisualPrompts(positive, negative), image, RandomDraws(generator)
        )
        question = DecoderQuery(
            visual=tokens,
            previous=previous if ablation.memory else None,
            num_objects=positive.shape[1],
        )
        output = model.decode(image, question, frozenset({RowKind.VISUAL}), RandomDraws(generator))
        assert output.visual is not None
        previous = best_masks(output.visual, image, tokens.positive_vectors)
        _add_clicks(previous, batch, positive, negative, ablation)
    return VisualPrompts(positive, negative), previous


def _add_clicks(
    masks: Tensor, batch: TrainingBatch, positive: Tensor, negative: Tensor, ablation: Ablation
) -> None:
    """Add a click to every object with a mark, where its mask is wrong; changes the marks."""
    for b in range(len(positive)):
        clicked = seem_next_clicks(batch.truth[b], masks[b].float(), positive[b], negative[b])
        has_mark = positive[b].flatten(1).any(-1)[:, None, None]
        if ablation.positive:
            positive[b] = torch.where(has_mark, clicked.positive, positive[b])
        if ablation.negative:
            negative[b] = torch.where(has_mark, clicked.negative, negative[b])


def best_masks(
    answers: QueryOutputs, image: ImageEncoding, vectors: Float[Tensor, "b n c"]
) -> Float[Tensor, "b n h w"]:
    """Return for every object the mask logits of the one of its queries that fits its prompt vector best."""
    batch, count = vectors.shape[:2]
    embeddings = answers.mask_embeddings
    by_object = embeddings.view(batch, count, -1, embeddings.shape[-1])
    best = (by_object @ vectors[..., None]).squeeze(-1).argmax(dim=-1)
    index = best[:, :, None, None].expand(-1, -1, 1, by_object.shape[-1])
    chosen = by_object.gather(2, index)[:, :, 0]
    return image.pixels.mask_features.logits(chosen)
