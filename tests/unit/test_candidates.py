"""Several masks a click: which one learns, which one answers, and for which requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.config import MaskRefinerConfig
from seem.models.build import build
from seem.models.decoder.draws import FairDraws
from seem.models.mask_refiner import CandidateMasks, MaskRefiner, RefinedMasks
from seem.models.structures import ImageBatch, VisualPrompts
from seem.tasks.interactive import has_marks_alone, segment_objects
from seem.training.batches import TrainingBatch
from seem.training.objectives.candidates import (
    TO_ALL,
    ambiguous_targets,
    candidate_losses,
    iou_of,
    mask_losses,
)
from seem.training.targets import PromptedTarget
from tiny import tiny_nano


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def square(x0, y0, x1, y1, side=16):
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def batch_of(*requests):
    def stack(name):
        return torch.from_numpy(np.stack([getattr(request, name) for request in requests]))[None]

    maps = {name: stack(name) for name in ("truth", "positive", "negative", "bounds", "reference")}
    images = ImageBatch(torch.zeros(1, 3, 16, 16), ((16, 16),))
    return TrainingBatch(
        (), images, (requests,), **maps, ignore=torch.zeros(1, 16, 16, dtype=torch.bool)
    )


CLICK = PromptedTarget.of(square(0, 0, 8, 8), positive=square(2, 2, 4, 4))
BOX = PromptedTarget.of(square(0, 0, 8, 8), bounds=square(0, 0, 8, 8))
PHRASE = PromptedTarget.of(square(0, 0, 8, 8), phrase="square")
BOTH = PromptedTarget.of(square(0, 0, 8, 8), phrase="square", positive=square(2, 2, 4, 4))
REFERENCE = PromptedTarget.of(square(0, 0, 8, 8), reference=square(2, 2, 4, 4))


def test_marks_alone_are_ambiguous():
    batch = batch_of(CLICK, BOX, PHRASE, BOTH, REFERENCE)
    assert ambiguous_targets(batch).tolist() == [[True, False, False, False, False]]


def test_marks_without_text_box_or_previous_mask_are_ambiguous_at_inference():
    marks = torch.zeros(1, 4, 16, 16, dtype=torch.bool)
    marks[:, :, 3, 3] = True
    bounds = torch.zeros_like(marks)
    bounds[:, 1, :8, :8] = True
    previous = torch.zeros(1, 4, 4, 4)
    previous[:, 2] = 1.0
    text_vectors = torch.zeros(1, 4, 5)
    text_vectors[:, 3] = 1.0
    prompts = VisualPrompts(marks, torch.zeros_like(marks), bounds)
    assert has_marks_alone(prompts, text_vectors, previous).tolist() == [
        [True, False, False, False]
    ]
    assert has_marks_alone(VisualPrompts(marks, marks), None, None).all()


def masks_around(truth, others=2):
    """Return logits of a right candidate after wrong ones."""
    right = torch.where(torch.from_numpy(truth), 9.0, -9.0)
    return torch.stack([*[-right] * others, right])


def test_the_best_candidate_is_the_one_that_learns():
    truth = square(0, 0, 4, 4, side=8)  # of the click, at stride 2
    logits = masks_around(truth)[None, None].clone().requires_grad_()
    loss, _ = candidate_losses(
        CandidateMasks(logits, torch.zeros(1, 1, 3)), batch_of(CLICK), torch.tensor([[True]])
    )
    loss.backward()
    losses = mask_losses(
        logits[0].flatten(2), torch.from_numpy(truth).float().flatten()[None, None]
    )
    assert losses.argmin() == 2
    assert loss.item() == pytest.approx(TO_ALL * losses.mean().item(), abs=0.01)
    assert logits.grad[0, 0, 2].any()


def test_predicted_quality_is_judged_by_the_iou_of_each_candidate():
    logits = masks_around(square(0, 0, 4, 4, side=8))[None, None]
    right = torch.tensor([[[-9.0, -9.0, 9.0]]])
    rows = torch.tensor([[True]])
    batch = batch_of(CLICK)
    assert candidate_losses(CandidateMasks(logits, right), batch, rows)[1].item() == pytest.approx(
        0.0, abs=1e-3
    )
    assert candidate_losses(CandidateMasks(logits, -right), batch, rows)[1].item() > 5


def test_nothing_ambiguous_costs_nothing():
    candidates = CandidateMasks(noise(1, 1, 3, 8, 8), noise(1, 1, 3))
    losses = candidate_losses(candidates, batch_of(BOX), torch.tensor([[False]]))
    assert [loss.item() for loss in losses] == [0.0, 0.0]


def test_the_iou_of_two_empty_masks_is_zero():
    assert iou_of(torch.full((1, 2, 4), -1.0), torch.zeros(1, 1, 4)).tolist() == [[0.0, 0.0]]


def test_ambiguous_objects_get_the_candidate_of_the_highest_quality():
    refined = RefinedMasks(
        torch.zeros(1, 2, 4, 4),
        torch.zeros(1, 2),
        CandidateMasks(
            torch.arange(3.0)[None, None, :, None, None].expand(1, 2, 3, 4, 4), noise(1, 2, 3)
        ),
    )
    best = refined.best(torch.tensor([[True, False]]))
    chosen = int(refined.candidates.quality_logits[0, 0].argmax())
    assert best.logits[0, 0].unique().tolist() == [float(chosen)]
    assert not best.logits[0, 1].any()
    assert best.quality_logits[0, 0] == refined.candidates.quality_logits[0, 0, chosen]
    assert best.quality_logits[0, 1] == 0


@pytest.mark.parametrize("count", [0, 3])
def test_the_head_answers_with_as_many_candidates_as_configured(count):
    head = MaskRefiner(
        MaskRefinerConfig(dims=(4, 6, 8), candidates=count), mask_dim=5, query_dim=7
    ).eval()
    arguments = (noise(2, 5, 8, 12), noise(2, 3, 8, 8, 12), noise(2, 3, 7))
    assert head(*arguments).candidates is None
    refined = head(*arguments, with_candidates=True)
    if not count:
        assert refined.candidates is None
        return
    assert refined.candidates.logits.shape == (2, 3, count, 16, 24)
    assert refined.candidates.quality_logits.shape == (2, 3, count)
    assert torch.equal(refined.logits, head(*arguments).logits)


def test_candidates_begin_tighter_and_wider():
    head = MaskRefiner(
        MaskRefinerConfig(dims=(4, 6, 8), candidates=3), mask_dim=5, query_dim=7
    ).eval()
    bias = head.candidate_masks.bias.unflatten(0, (3, 4))
    assert bias[:, 0].tolist() == [-1.0, 0.0, 1.0]
    assert torch.equal(bias, bias[:, :1].expand(3, 4))


def segment_with(count, top, bounds=None, seed=0):
    """Ask a tiny nano with `count` candidates about two clicks in one image."""
    described = replace(
        tiny_nano(), mask_refiner=MaskRefinerConfig(dims=(8, 8, 16), candidates=count)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(described)
    image = network.encode_image(ImageBatch(noise(1, 3, 64, 64), ((64, 64),)))
    marks = torch.zeros(1, 2, 64, 64, dtype=torch.bool)
    marks[0, 0, 20:23, 20:23] = marks[0, 1, 40:43, 40:43] = True
    with torch.no_grad():
        prompts = VisualPrompts(marks, torch.zeros_like(marks), bounds)
        return segment_objects(network, image, prompts, FairDraws(), top=top)


@pytest.mark.parametrize(("top", "each"), [(2, 2), (3, 3), (5, 3)])
def test_several_candidates_of_each_object_come_best_first(top, each):
    several, first = segment_with(3, top), segment_with(3, 1)
    assert (
        several.logits.shape[1]
        == several.quality.shape[1]
        == several.class_vectors.shape[1]
        == 2 * each
    )
    quality = several.quality.unflatten(1, (2, each))
    assert (quality.diff(dim=2) <= 0).all()
    assert torch.equal(several.logits.unflatten(1, (2, each))[:, :, 0], first.logits)
    assert torch.equal(quality[:, :, 0], first.quality)


def test_a_box_has_one_answer():
    bounds = torch.zeros(1, 2, 64, 64, dtype=torch.bool)
    bounds[:, :, 10:50, 10:50] = True
    assert segment_with(3, 3, bounds).logits.shape[1] == 2


def test_a_head_without_candidates_has_one_answer():
    assert segment_with(0, 3).logits.shape[1] == 2


@pytest.mark.parametrize("ambiguous", [[True] * 6, [False] * 6, [True, False] * 3])
@torch.inference_mode()
def test_objects_answered_a_few_at_a_time_answer_as_all_together(ambiguous):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = MaskRefinerConfig(dims=(4, 6, 8), candidates=3)
        head = MaskRefiner(config, mask_dim=5, query_dim=7).eval()
    features, maps, queries = noise(1, 5, 12, 16), noise(1, 6, 8, 12, 16), noise(1, 6, 7)
    maps[:, :, [1, 3, 4]] = 0.0  # empty maps are not convolved
    rows = torch.tensor([ambiguous])
    together = head(features, maps, queries, with_candidates=True).best(rows)
    some = head.best_masks(features, maps, queries, rows)
    assert torch.allclose(some.logits, together.logits, atol=1e-5)
    assert torch.allclose(some.quality_logits, together.quality_logits, atol=1e-5)
