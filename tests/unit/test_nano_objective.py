"""Nano's objective: everything learns, nothing that was not asked counts, and the invented user clicks on errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from seem.data.training_sample import TrainingSample
from seem.data.window import PAD_RGB
from seem.models.decoder.decoder import ImageEncoding
from seem.models.mask_features import MaskFeatures
from seem.models.mask_refiner import RefinedMasks
from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch, PixelFeatures, QueryOutputs, VisualPrompts
from seem.models.text.tokenizer import BytePairTokenizer
from seem.models.text_embedding_head import pooled_text_vectors
from seem.training.batches import make_training_batch, mask_coverage
from seem.training.objectives import dense
from seem.training.objectives.class_names import (
    BACKGROUND,
    ClassNames,
    cell_labels,
    cell_name_loss,
    object_name_loss,
    prompt_name_loss,
)
from seem.training.objectives.dense import (
    encode_semantic_prompts,
    encode_texts,
    full_step_loss,
    initial_masks,
    naming_loss,
    text_prompt_loss,
)
from seem.training.objectives.dense_config import DenseConfig
from seem.training.objectives.dense_masks import (
    add_correction_clicks,
    coarse_mask_loss,
    has_prompt,
    refined_mask_losses,
)
from seem.training.objectives.object_queries import object_query_loss
from seem.training.phrases import PhraseTokenizer
from seem.training.targets import PromptedTarget, PromptMix
from tiny import tiny_network

ONE_ROUND = DenseConfig(rounds=(1.0,), num_points=64)
TWO_ROUNDS = DenseConfig(rounds=(0.0, 1.0), num_points=64)
VISUAL_ALONE = PromptMix(text=0.0, text_and_visual=0.0, negative=0.0, reference=0.0)
EVERY_KIND = PromptMix(text=0.5, text_and_visual=0.25, absent=0.0, negative=1.0, reference=0.4)
TEXT_ALONE = PromptMix(text=1.0, absent=0.0, reference=0.0)
ABSENT = PromptMix(text=1.0, absent=1.0, reference=0.0)
SHOWN = PromptMix(reference=1.0, reference_absent=0.0)
LEFT, RIGHT, LOW = (4, 8, 24, 28), (36, 4, 60, 24), (16, 32, 40, 44)  # xyxy, in whole cells of 4


def mask(box):
    x0, y0, x1, y1 = box
    drawn = np.zeros((64, 64), bool)
    drawn[y0:y1, x0:x1] = True
    return drawn


def scene(*boxes, complete=("square", "disc", "kite", "cube"), names=("square", "disc", "square")):
    """Show bright objects on a dark photo of 48 x 64, padded to 64 x 64."""
    masks = np.stack([mask(box) for box in boxes]) if boxes else np.zeros((0, 64, 64), bool)
    names = names[: len(boxes)]
    image = np.empty((3, 64, 64), np.uint8)
    image[:] = np.array(PAD_RGB, np.uint8)[:, None, None]
    image[:, :48] = 30
    for i, shape in enumerate(masks):
        image[i % 3, shape] = 240
    return TrainingSample(
        image=image,
        valid_hw=(48, 64),
        masks=masks,
        ignore=np.zeros((64, 64), bool),
        names=names,
        is_thing=np.ones(len(boxes), bool),
        qualities=("",) * len(boxes),
        phrases=((),) * len(boxes),
        complete_names=frozenset(complete),
        present_names=frozenset(names),
        captions=(),
        set_name="drawn",
        image_id=1,
        object_ids=tuple(range(len(boxes))),
    )


NETWORK = tiny_network("nano")  # read only; what trains takes its own
BOOK = PhraseTokenizer(BytePairTokenizer.nano())


def batch_of(*samples, count=3, mix=VISUAL_ALONE, seed=0):
    return make_training_batch(
        samples, NETWORK.config.image, count, mix, np.random.default_rng(seed)
    )


def padded(batch, count):
    """Let every photo have so many further requests that ask nothing."""
    empty = PromptedTarget.of(np.zeros(batch.truth.shape[-2:], dtype=bool))
    requests = tuple((*photo, *[empty] * count) for photo in batch.targets)
    names = ("truth", "positive", "negative", "bounds", "reference")
    maps = {
        name: torch.nn.functional.pad(getattr(batch, name), (0, 0, 0, 0, 0, count))
        for name in names
    }
    return replace(batch, targets=requests, **maps)


def loss_of(network, batch, objective=ONE_ROUND, seed=0):
    return full_step_loss(network, batch, BOOK, objective, np.random.default_rng(seed))


# ------------------------------------------------------------------------------------------------ learning


@torch.no_grad()
def step_down(network, length):
    """Move every parameter by `length` against the sign of its gradient, and forget the gradient."""
    for p in network.parameters():
        if p.grad is not None:
            p -= length * p.grad.sign()
            p.grad = None


def without_gradient(network):
    return {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}


def test_gradients_reach_every_parameter():
    network = tiny_network("nano").train()
    batch = batch_of(scene(LEFT, RIGHT, LOW), scene(LOW, LEFT, RIGHT), mix=EVERY_KIND, seed=9)
    marks = {
        (bool(r.phrase), bool(r.positive.any()), bool(r.reference.any()))
        for p in batch.targets
        for r in p
    }
    assert marks >= {
        (True, False, False),
        (True, True, False),
        (False, True, False),
        (False, False, True),
    }
    loss_of(network, batch).total.backward()
    # residual blocks start as the identity: nothing but their last scale and shift learns in the first step
    waiting = {
        f"backbone.stages.{stage}.0.{name}"
        for stage in range(4)
        for name in (
            "first.conv.weight",
            "first.norm.weight",
            "first.norm.bias",
            "second.conv.weight",
        )
    }
    # and the map of meaning without a correction
    waiting |= {
        f"text_embedding_head.{layer}.{kind}"
        for layer in ("read_fine", "to_fine", "mix_fine")
        for kind in ("weight", "bias")
    }
    assert without_gradient(network) == waiting
    step_down(network, 0.003)
    loss_of(network, batch).total.backward()
    assert without_gradient(network) == set()


def test_the_loss_falls():
    network = tiny_network("nano").train()
    batch = batch_of(scene(LEFT), count=1)
    losses = []
    for _ in range(20):
        loss = loss_of(network, batch)
        loss.total.backward()
        step_down(network, 0.003)
        losses.append(loss)
    assert losses[-1].total < 0.75 * losses[0].total
    assert losses[-1].refined < 0.75 * losses[0].refined
    assert losses[-1].iou > losses[0].iou + 0.1


@pytest.mark.parametrize(
    "objective", [ONE_ROUND, TWO_ROUNDS, replace(ONE_ROUND, rounds=(0.0, 0.0, 1.0))]
)
def test_the_total_is_the_sum_of_its_terms(objective):
    loss = loss_of(NETWORK, batch_of(scene(LEFT, RIGHT)), objective)
    terms = (loss.refined, loss.coarse, loss.quality, loss.names, loss.cell_names, loss.objects)
    assert loss.total.item() == pytest.approx(sum(terms), rel=1e-5)
    assert all(term > 0 for term in terms)
    assert 0 <= loss.iou <= 1


def test_the_same_dice_give_the_same_loss():
    batch = batch_of(scene(LEFT, RIGHT), mix=EVERY_KIND)
    assert loss_of(NETWORK, batch, seed=3).total == loss_of(NETWORK, batch, seed=3).total


def test_rounds_leave_the_prompts_of_the_batch_as_they_were():
    batch = batch_of(scene(LEFT, RIGHT))
    positive, negative = batch.positive.clone(), batch.negative.clone()
    loss_of(NETWORK, batch, TWO_ROUNDS)
    assert torch.equal(batch.positive, positive)
    assert torch.equal(batch.negative, negative)


# ------------------------------------------------------------------------------------------------ what counts


def test_an_outline_is_the_mask_so_far_of_its_object_alone():
    requests = [
        PromptedTarget.of(mask(LEFT), positive=mask(LEFT), bounds=mask(LEFT)),
        PromptedTarget.of(mask(LOW), bounds=mask(LOW)),
    ]
    drawn = {
        name: [getattr(request, name) for request in requests] for name in ("positive", "bounds")
    }
    batch = batch_of(scene(LEFT, LOW), count=2)
    batch = replace(
        batch, **{name: torch.from_numpy(np.stack(maps))[None] for name, maps in drawn.items()}
    )
    so_far = initial_masks(batch)
    assert so_far.shape == (1, 2, 16, 16)
    assert torch.equal(so_far[0, 0] > 0, mask_coverage(batch.positive[:, :1], 4)[0, 0] > 0.5)
    assert so_far[0, 0].unique().tolist() == [-3.0, 3.0]
    assert not so_far[0, 1].any()
    assert initial_masks(replace(batch, positive=torch.zeros_like(batch.positive))) is None


@pytest.mark.parametrize("loss", [loss_of, text_prompt_loss])
def test_a_first_round_begins_with_the_outlines(monkeypatch, loss):
    handed, true_round = [], dense.run_round

    def run_round(model, image, marks, prompts, previous, *others, **options):
        handed.append(previous)
        return true_round(model, image, marks, prompts, previous, *others, **options)

    monkeypatch.setattr(dense, "run_round", run_round)
    batch = batch_of(scene(LEFT, LOW), count=2)
    batch = replace(
        batch, positive=batch.truth, negative=torch.zeros_like(batch.truth), bounds=batch.truth
    )
    if loss is loss_of:
        loss(NETWORK, batch, TWO_ROUNDS)
    else:
        loss(NETWORK, batch, BOOK, TWO_ROUNDS, np.random.default_rng(0))
    assert torch.equal(handed[0], initial_masks(batch))
    assert not any(
        torch.equal(later, handed[0]) for later in handed[1:]
    )  # from then on its own answers
    assert len(handed) == (2 if loss is loss_of else 1)


@pytest.mark.parametrize(
    "mix", [VISUAL_ALONE, TEXT_ALONE, PromptMix(text=0.0, text_and_visual=1.0, negative=1.0)]
)
@pytest.mark.parametrize("objective", [ONE_ROUND, TWO_ROUNDS])
def test_requests_that_fill_up_change_nothing(mix, objective):
    sample = scene(LEFT)
    alone = batch_of(sample, count=1, mix=mix)
    filled = padded(alone, 2)
    assert filled.phrases()[0] == [*alone.phrases()[0], "", ""]
    expected, said = loss_of(NETWORK, alone, objective), loss_of(NETWORK, filled, objective)
    assert said.total.item() == pytest.approx(expected.total.item(), rel=1e-4)
    assert said.refined == pytest.approx(expected.refined, rel=1e-4)
    assert said.iou == pytest.approx(expected.iou, rel=1e-4)


def test_a_batch_that_asks_nothing_costs_only_its_objects_and_places():
    network = tiny_network("nano")
    loss = loss_of(network, batch_of(scene(), scene()), TWO_ROUNDS)
    assert (loss.refined, loss.coarse, loss.names, loss.iou) == (0, 0, 0, 0)
    assert loss.quality > 0  # a class that is not there was asked for
    assert loss.objects > 0
    assert loss.cell_names > 0
    loss.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_asked_is_what_is_marked_or_spoken():
    assert has_prompt(batch_of(scene(LEFT), scene())).tolist() == [
        [True] * 3,
        [True, False, False],  # of an image without objects: a class that it does not show
    ]
    assert has_prompt(padded(batch_of(scene(LEFT), count=1), 1)).tolist() == [[True, False]]
    assert has_prompt(batch_of(scene(LEFT, RIGHT), mix=TEXT_ALONE, count=2)).tolist() == [
        [True, True]
    ]
    assert has_prompt(batch_of(scene(LEFT), mix=ABSENT, count=1)).tolist() == [[True]]


@pytest.mark.parametrize(("sign", "iou"), [(20.0, 1.0), (-20.0, 0.0)])
def test_final_masks_are_compared_at_stride_2(sign, iou):
    batch = padded(batch_of(scene(LEFT, RIGHT), count=2), 1)
    logits = torch.where(mask_coverage(batch.truth, 2) > 0.5, sign, -sign)
    logits[:, 2] = 7.0  # nobody asked
    sure = torch.full((1, 3), 20.0 if iou == 1.0 else -20.0)
    losses = refined_mask_losses(RefinedMasks(logits, sure), batch)
    assert losses.iou.item() == iou
    assert losses.quality.item() == pytest.approx(0.0, abs=1e-4)
    assert (losses.mask.item() < 1e-3) is (iou == 1.0)
    wrongly_sure = refined_mask_losses(RefinedMasks(logits, -sure), batch).quality
    assert wrongly_sure.item() == pytest.approx(20.0, rel=1e-3)


def test_coarse_masks_are_compared_at_stride_4():
    batch = batch_of(scene(LEFT, RIGHT))
    right = torch.where(mask_coverage(batch.truth, 4) > 0.5, 20.0, -20.0)
    assert coarse_mask_loss(right, batch) < 1e-3
    assert coarse_mask_loss(-right, batch) > 10


def test_of_something_absent_no_mask_is_asked_but_that_it_is_no_good():
    batch = batch_of(scene(LEFT), mix=ABSENT, count=1)
    sure = torch.full((1, 1), 20.0)
    for answer in (torch.full((1, 1, 32, 32), -20.0), torch.full((1, 1, 32, 32), 20.0)):
        losses = refined_mask_losses(RefinedMasks(answer, sure), batch)
        assert (losses.mask.item(), losses.iou.item()) == (0.0, 0.0)
        assert losses.quality.item() == pytest.approx(20.0, rel=1e-3)
        assert refined_mask_losses(
            RefinedMasks(answer, -sure), batch
        ).quality.item() == pytest.approx(0.0, abs=1e-4)
    half = batch_of(scene(LEFT), mix=VISUAL_ALONE, count=2)
    perfect = torch.where(mask_coverage(half.truth, 2) > 0.5, 20.0, -20.0)
    assert refined_mask_losses(RefinedMasks(perfect, torch.zeros(1, 2)), half).iou.item() == 1.0


# ------------------------------------------------------------------------------------------------ names


def test_names_are_those_present_some_that_are_not_and_the_background_last():
    batch = batch_of(scene(LEFT, RIGHT), scene(LOW), mix=TEXT_ALONE)
    objective = replace(ONE_ROUND, num_negatives=1)
    texts = encode_texts(NETWORK, batch, BOOK, objective, np.random.default_rng(0))
    names = (*texts.names.index, BACKGROUND)
    assert names[:2] == ("disc", "square")
    assert names[2] in {"kite", "cube"}
    assert len(names) == 4
    assert texts.rows == {name: row for row, name in enumerate(names)}
    assert texts.names.background == 3
    assert texts.features.phrases.shape == texts.names.vectors.shape == (4, 16)


def test_phrases_are_encoded_once_after_the_names():
    sample = replace(scene(LEFT), phrases=(("the bright one",),))
    for seed in range(20):
        batch = batch_of(sample, sample, mix=TEXT_ALONE, count=1, seed=seed)
        if batch.phrases() == [["the bright one"], ["the bright one"]]:
            break
    texts = encode_texts(NETWORK, batch, BOOK, ONE_ROUND, np.random.default_rng(0))
    assert list(texts.rows)[-2:] == [BACKGROUND, "the bright one"]
    assert "the bright one" not in texts.names.index


def test_only_names_that_a_photo_is_annotated_for_may_be_said_of_it():
    names = ClassNames.of(("disc", "kite", BACKGROUND), torch.eye(3))
    assert names.allowed({"kite", "cube"}).tolist() == [False, True, True]
    assert names.allowed(frozenset()).tolist() == [False, False, True]


def test_a_class_may_be_called_background():
    names = ClassNames.of(("background", "disc", BACKGROUND), torch.eye(3))
    assert (names.index, names.background) == ({"background": 0, "disc": 1}, 2)
    assert names.allowed({"background"}).tolist() == [True, False, True]
    assert names.allowed({"disc"}).tolist() == [False, True, True]
    sample = scene(LEFT, RIGHT, names=("background", "disc"), complete=("background", "disc"))
    labels, _ = cell_labels(sample, names, 4)
    assert {labels[4, 3].item(), labels[3, 10].item(), labels[0, 0].item()} == {0, 1, 2}
    loss = naming_loss(NETWORK, [sample, sample], BOOK, ONE_ROUND, np.random.default_rng(0))
    assert loss.isfinite()


class Literal(Segmenter):
    """A network without weights: class vectors are class logits already."""

    def __init__(self):
        nn.Module.__init__(self)

    def class_logits(self, class_vectors, classifier):
        return class_vectors @ classifier.T


LITERAL = Literal()


def answers_of(rows):
    return torch.tensor([rows], dtype=torch.float32)


NAMES = ClassNames.of(("disc", "kite", "square", BACKGROUND), torch.eye(4))


def test_a_visual_prompt_is_asked_for_its_objects_name():
    batch = padded(batch_of(scene(LEFT), count=1), 1)  # a square, and a request that asks nothing
    right = answers_of([[0, 0, 20, 0], [20, 0, 0, 0]])
    wrong = answers_of([[20, 0, 0, 0], [0, 0, 0, 0]])
    assert prompt_name_loss(LITERAL, right, batch, NAMES).item() == pytest.approx(0.0, abs=1e-3)
    assert prompt_name_loss(LITERAL, wrong, batch, NAMES).item() == pytest.approx(20.0, rel=1e-3)


def test_names_that_the_photo_is_not_annotated_for_are_no_mistakes():
    batch = batch_of(scene(LEFT, complete=("square", "kite")), count=1)
    assert prompt_name_loss(
        LITERAL, answers_of([[20, 0, 20, 0]]), batch, NAMES
    ).item() == pytest.approx(0.0, abs=1e-3)
    assert prompt_name_loss(
        LITERAL, answers_of([[0, 20, 0, 0]]), batch, NAMES
    ).item() == pytest.approx(20.0, rel=1e-3)


def test_who_was_told_the_name_is_not_asked_for_it():
    for mix in (TEXT_ALONE, PromptMix(text=0.0, text_and_visual=1.0)):
        batch = batch_of(scene(LEFT), count=1, mix=mix)
        assert prompt_name_loss(LITERAL, answers_of([[20, 0, 0, 0]]), batch, NAMES).item() == 0.0


# ------------------------------------------------------------------------------------------------ places


def place_loss(vectors, sample):
    """Charge a photo whose cells (of 8 pixels) say given class logits, one column each."""
    return cell_name_loss(LITERAL, vectors[None], [sample], NAMES).item()


def said_at(sample):
    """Say the right name everywhere."""
    labels, _ = cell_labels(sample, NAMES, 8)
    return 20.0 * torch.eye(4)[labels.clamp(min=0)].permute(2, 0, 1)


def test_every_place_is_asked_for_its_name():
    sample = scene(LEFT, RIGHT)
    right = said_at(sample)
    assert place_loss(right, sample) < 1e-3
    assert place_loss(right[[2, 1, 0, 3]], sample) > 5  # squares and discs exchanged


def test_places_know_the_smallest_object_on_top_and_not_what_is_ignored():
    large, small = (0, 0, 64, 48), (24, 16, 40, 32)
    ignore = mask((48, 0, 64, 48))
    sample = replace(scene(large, small, names=("disc", "square")), ignore=ignore)
    labels, weights = cell_labels(sample, NAMES, 8)
    assert labels[3, 4] == NAMES.index["square"]
    assert labels[0, 0] == NAMES.index["disc"]
    assert (labels[6:] == -1).all()  # padding
    assert weights.sum().item() == pytest.approx(1.0)
    assert (weights[labels == -1] == 0).all()
    share = (
        weights[labels == NAMES.index["square"]].sum()
        / weights[labels == NAMES.index["disc"]].sum()
    )
    counts = [(labels == NAMES.index[name]).sum().item() for name in ("square", "disc")]
    assert share.item() == pytest.approx((counts[0] / counts[1]) ** 0.5)


def test_background_is_no_answer_where_everything_has_a_name():
    sample = scene((0, 0, 64, 48), names=("disc",))
    doubtful = said_at(sample)
    doubtful[-1] = 40.0  # background everywhere, louder
    assert place_loss(doubtful, sample) < 1e-3
    assert place_loss(doubtful, scene(LEFT)) > 1


def thing_loss(vectors, sample):
    """Charge objects for the mean of what their cells say."""
    return object_name_loss(Louder(), vectors[None], [sample], NAMES).item()


class Louder(Literal):
    """Unit vectors, twentyfold."""

    def class_logits(self, class_vectors, classifier):
        return 20.0 * class_vectors @ classifier.T


def test_the_places_of_an_object_together_say_its_name():
    sample = scene((0, 0, 32, 48), (32, 0, 64, 48))  # a square and a disc
    right = said_at(sample) / 20
    assert thing_loss(right, sample) < 1e-3
    assert thing_loss(right[[2, 1, 0, 3]], sample) > 10
    doubtful = right.clone()
    doubtful[-1] = 5.0  # background is no answer about an object
    assert thing_loss(doubtful, sample) < 5
    assert thing_loss(right, scene((0, 0, 32, 48), complete=())) == 0.0


def learning_in(network):
    return {
        name.split(".")[0]
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.any()
    }


def test_photos_may_be_asked_for_names_alone():
    network = tiny_network("nano").train()
    samples = [scene(LEFT, RIGHT), scene(LOW), scene(complete=())]
    loss = naming_loss(network, samples, BOOK, ONE_ROUND, np.random.default_rng(0))
    assert loss > 0
    loss.backward()
    assert learning_in(network) == {"backbone", "text", "text_embedding_head"}


def test_photos_may_be_asked_by_words_alone():
    network = tiny_network("nano").train()
    batch = batch_of(scene(LEFT, RIGHT), scene(LOW), scene(complete=()), mix=TEXT_ALONE, count=1)
    names, both = (
        text_prompt_loss(
            network, batch, BOOK, replace(ONE_ROUND, text_prompts=weight), np.random.default_rng(0)
        )
        for weight in (0.0, 0.5)
    )
    assert names.item() == pytest.approx(
        naming_loss(network, batch.samples, BOOK, ONE_ROUND, np.random.default_rng(0)).item(),
        rel=0.05,
    )
    assert both > names
    both.backward()
    assert learning_in(network) >= {
        "backbone",
        "pixel_decoder",
        "text",
        "decoder",
        "text_embedding_head",
        "mask_refiner",
    }


def test_photos_without_complete_names_say_nothing_about_places():
    assert place_loss(torch.zeros(4, 8, 8), scene(LEFT, complete=())) == 0.0


# ------------------------------------------------------------------------------------------------ references


def test_a_reference_is_read_in_the_partner_photo():
    here, there = scene(LEFT, names=("disc",)), scene(LOW, names=("disc",))
    batch = batch_of(here, there, count=1, mix=SHOWN)
    assert batch.reference[0, 0].numpy().tolist() == mask(LOW).tolist()
    with torch.no_grad():
        image = NETWORK.encode_image(batch.images)
        texts = encode_texts(NETWORK, batch, BOOK, ONE_ROUND, np.random.default_rng(0))
        meant = encode_semantic_prompts(NETWORK, image, batch, texts)
        alone = NETWORK.encode_image(ImageBatch(batch.images.pixels[1:], batch.images.input_hw[1:]))
        regions = VisualPrompts(batch.reference[:1], torch.zeros_like(batch.reference[:1]))
        expected = NETWORK.encode_prompts(regions, alone)
    assert torch.allclose(meant.reference.levels[0][:1], expected.levels[0], atol=1e-4)
    assert torch.allclose(
        meant.vectors[0],
        pooled_text_vectors(alone.text_map, batch.reference[:1].float())[0],
        atol=1e-4,
    )
    assert has_prompt(batch).all()


def test_pixels_to_ignore_are_not_judged_but_objects_on_them_are():
    crowd = mask((32, 0, 64, 48))
    batch = batch_of(replace(scene(LEFT), ignore=crowd | mask(LEFT)), count=1)
    wanted = torch.where(mask_coverage(batch.truth | batch.ignore[:, None], 4) > 0.5, 20.0, -20.0)
    assert coarse_mask_loss(wanted, batch) < 1e-3
    assert coarse_mask_loss(torch.full_like(wanted, -20.0), batch) > 1


# ------------------------------------------------------------------------------------------------ objects


def test_photos_without_complete_names_say_nothing_about_all_objects():
    batch = batch_of(scene(LEFT, complete=()))
    assert loss_of(NETWORK, batch).objects == 0.0
    assert loss_of(NETWORK, batch_of(scene(LEFT))).objects > 0.0


def object_loss(vectors, masks, sample):
    """Charge object queries with given class logits and mask logits (at stride 4)."""
    answers = QueryOutputs(vectors[None], torch.eye(len(masks))[None])
    image = ImageEncoding(PixelFeatures(MaskFeatures(masks[None]), ()), (), ())
    batch = batch_of(sample, count=1)
    return object_query_loss(
        LITERAL, image, answers, batch, NAMES, ONE_ROUND, np.random.default_rng(0)
    ).item()


def test_objects_are_matched_whatever_their_order():
    sample = scene(LEFT, RIGHT)  # a square and a disc
    truth = torch.where(
        mask_coverage(torch.from_numpy(sample.masks)[None], 4)[0] > 0.5, 20.0, -20.0
    )
    nowhere = torch.full((1, 16, 16), -20.0)
    masks = torch.cat((truth[1:], nowhere, truth[:1]))
    names = 20.0 * torch.eye(4)[[0, 3, 2]]  # disc, background, square
    right = object_loss(names, masks, sample)
    assert right < 1e-3
    assert object_loss(names[[0, 2, 1]], masks, sample) > right + 5  # an object called background
    assert (
        object_loss(names, masks[[0, 2, 1]], sample) > right + 1
    )  # an object nobody has drawn well and named


def test_a_photo_without_objects_wants_background_everywhere():
    masks = torch.full((2, 16, 16), -20.0)
    assert object_loss(20.0 * torch.eye(4)[[3, 3]], masks, scene()) == pytest.approx(0.0, abs=1e-3)
    assert object_loss(20.0 * torch.eye(4)[[3, 0]], masks, scene()) == pytest.approx(5.0, rel=1e-2)


# ------------------------------------------------------------------------------------------------ clicks


def clicks_after(said, sample, mix=VISUAL_ALONE):
    """Answer which pixels of a canvas of 64 x 64 are clicked when `said` (at stride 2) is the mask so far."""
    batch = batch_of(sample, count=1, mix=mix)
    positive, negative = torch.zeros_like(batch.positive), torch.zeros_like(batch.negative)
    add_correction_clicks(torch.where(said, 5.0, -5.0)[None, None], batch, positive, negative)
    return positive[0, 0].nonzero().tolist(), negative[0, 0].nonzero().tolist()


def half(box):
    return torch.from_numpy(mask(box)[::2, ::2])


def square_around(x, y):
    return [[row, column] for row in (y - 1, y, y + 1) for column in (x - 1, x, x + 1)]


def test_a_missing_object_is_clicked_in_its_middle():
    positive, negative = clicks_after(torch.zeros(32, 32, dtype=torch.bool), scene((4, 6, 26, 28)))
    assert positive == square_around(14, 16)
    assert negative == []


def test_the_larger_error_is_clicked():
    sample = scene((4, 6, 26, 28))
    with_surplus = half((4, 6, 26, 28)) | half((36, 10, 58, 32))
    assert clicks_after(with_surplus, sample) == ([], square_around(46, 20))
    missing_most = half((36, 10, 46, 20))
    assert clicks_after(missing_most, sample) == (square_around(14, 16), [])


def test_padding_is_never_clicked():
    sample = scene((4, 6, 26, 28))
    assert clicks_after(half((4, 6, 26, 28)) | half((0, 48, 64, 64)), sample) == ([], [])


def test_a_right_answer_is_not_clicked():
    assert clicks_after(half((4, 6, 26, 28)), scene((4, 6, 26, 28))) == ([], [])


def test_something_absent_is_not_clicked():
    assert clicks_after(half(LEFT), scene(LEFT), ABSENT) == ([], [])


def test_clicks_at_the_corner_stay_on_the_canvas():
    sample = scene((30, 10, 50, 30))
    in_two_pieces = replace(sample, masks=sample.masks | mask((0, 0, 2, 2)))
    positive, negative = clicks_after(half((30, 10, 50, 30)), in_two_pieces)
    assert positive == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert negative == []
