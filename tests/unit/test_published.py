"""The published objective: what is asked, in how many rounds, and that everything asked has a gradient."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.data.augmentation import Augmentation
from seem.data.dataset import ParsedObjects
from seem.data.training_sample import augment
from seem.finetuning.finer_masks import box_iou, with_finer_masks
from seem.finetuning.profile import PUBLISHED_FROZEN, PUBLISHED_MIX
from seem.models.decoder.policy import RowKind
from seem.models.structures import TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes.seem import COCO_IMAGES, published_config
from seem.training.batches import make_training_batch
from seem.training.captions import CaptionWeights
from seem.training.criterion import CriterionOptions, ImageTargets, ObjectTargets
from seem.training.objectives.click_rounds import simulate_rounds
from seem.training.objectives.published import judged_kinds, published_loss, trained_kinds
from seem.training.objectives.published_config import Ablation, PublishedConfig
from seem.training.objectives.published_texts import (
    EncodedTexts,
    ImagePhrases,
    PublishedTexts,
    TemplatedTokenizer,
    choose_compared_names,
    choose_phrases,
    noun_targets,
)
from seem.training.optimizer import schedule
from seem.training.parts import PARTS, freeze, freeze_statistics, parameters_by_part
from tiny import tiny_network, tiny_relative
from unit.test_nano_recipe import TWO, banked_photo

TOKENIZER = BytePairTokenizer.nano()
TEMPLATES = TemplatedTokenizer(TOKENIZER, templated=False)
FAST = PublishedConfig(Ablation(rounds=2), criterion=CriterionOptions(num_points=64))


def without(rounds=2, **switches):
    """Return the objective with other switches."""
    return replace(FAST, ablation=Ablation(rounds=rounds, **switches))


def samples():
    photos = (TWO, banked_photo(3, ((20, 10, 44, 40),)))
    return [
        augment(photo, 64, np.random.default_rng(b), Augmentation.none())
        for b, photo in enumerate(photos)
    ]


def a_batch(network, count=2):
    return make_training_batch(
        samples(), network.config.image, count, PUBLISHED_MIX, np.random.default_rng(0)
    )


def loss_of(network, objective=FAST, seed=0):
    torch.manual_seed(0)
    return published_loss(
        network, a_batch(network), TEMPLATES, objective, np.random.default_rng(seed)
    )


def captioned_loss(network, captions, objective=FAST):
    """Price photos that have one caption each, or None."""
    torch.manual_seed(0)
    told = [
        replace(sample, captions=(text,) if text else ())
        for sample, text in zip(samples(), captions, strict=True)
    ]
    batch = make_training_batch(
        told, network.config.image, 2, PUBLISHED_MIX, np.random.default_rng(0)
    )
    return published_loss(network, batch, TEMPLATES, objective, np.random.default_rng(0))


@pytest.fixture
def network():
    return tiny_network("seem-focal-t-v1").train()


def test_the_total_is_the_sum_of_its_groups(network):
    loss, terms = loss_of(network)
    assert set(terms) == {"objects", "phrases", "visual", "total"}
    assert terms["total"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert terms["total"] == pytest.approx(
        sum(terms[name] for name in ("objects", "phrases", "visual")), rel=1e-5
    )


def test_the_same_dice_give_the_same_loss(network):
    first, again, other = (float(loss_of(network, seed=seed)[0].detach()) for seed in (0, 0, 5))
    assert first == again != other


def test_object_masks_are_divided_by_the_objects_of_all_processes(network):
    counts = []

    def double(count):
        counts.append(count)
        return 2.0 * count

    torch.manual_seed(0)
    alone = without(phrases=False, visual=False)
    whole = published_loss(network, a_batch(network), TEMPLATES, alone, np.random.default_rng(0))[0]
    torch.manual_seed(0)
    half = published_loss(
        network, a_batch(network), TEMPLATES, alone, np.random.default_rng(0), double
    )[0]
    assert counts == [3]
    assert 0.5 * whole < half < whole  # masks count half, names as before


@pytest.mark.parametrize("off", ["objects", "phrases", "visual"])
def test_what_is_switched_off_is_not_asked(network, off):
    _, terms = loss_of(network, without(**{off: False}))
    assert off not in terms
    assert len(terms) == 3


def test_nothing_to_ask_is_refused(network):
    with pytest.raises(ValueError, match="Nothing is left to train"):
        loss_of(network, without(objects=False, phrases=False, visual=False))
    nothing = without(objects=False, phrases=False, captions=False)
    with pytest.raises(ValueError, match="Nothing is left to train"):
        captioned_loss(tiny_relative("xdecoder").network, [None, None], nothing)


def test_the_demo_policy_is_refused():
    with pytest.raises(ValueError, match=r"train seem-\.\.\.-v0 instead"):
        loss_of(tiny_relative("seem-demo").network)


def test_xdecoder_learns_captions_and_whose_they_are():
    network = tiny_relative("xdecoder").network.train()
    loss, terms = captioned_loss(network, ["a red square", "a kite in the sky"])
    loss.backward()
    assert set(terms) == {"objects", "phrases", "captions", "total"}
    assert terms["total"] == pytest.approx(
        sum(v for name, v in terms.items() if name != "total"), rel=1e-5
    )
    for parameter in (
        *network.decoder.captions.parameters(),
        network.image_projection,
        network.text.tokens.weight,
    ):
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("captions", "objective", "expected"),
    [
        ([None, None], FAST, {"objects", "phrases", "total"}),
        ([None, "a kite"], FAST, {"objects", "phrases", "captions", "total"}),
        (["a square", "a kite"], without(captions=False), {"objects", "phrases", "total"}),
        (["a square", "a kite"], without(objects=False, phrases=False), {"captions", "total"}),
        ([None, None], without(objects=False, phrases=False), {"captions", "total"}),
    ],
    ids=["nobody has one", "one has", "switched off", "alone", "alone, and nobody has one"],
)
def test_captions_are_asked_for_where_there_are_any(captions, objective, expected):
    loss, terms = captioned_loss(tiny_relative("xdecoder").network.train(), captions, objective)
    assert set(terms) == expected
    assert loss.requires_grad
    assert torch.isfinite(loss)
    assert (float(loss.detach()) > 0) == (expected != {"captions", "total"} or any(captions))


def test_xdecoder_learns_the_nouns_of_captions_beside_objects():
    only_nouns = replace(
        FAST, caption_weights=CaptionWeights(words=0.0, nouns=1.0, retrieval=0.0, backbone=0.0)
    )
    network = tiny_relative("xdecoder").network.train()
    _, terms = captioned_loss(network, ["a red ball", "a kite in the sky"], only_nouns)
    assert terms["captions"] > 0
    _, doubled = captioned_loss(
        network, ["a red ball", "a kite in the sky"],
        replace(only_nouns, caption_weights=replace(only_nouns.caption_weights, nouns=2.0)),
    )  # fmt: skip
    assert doubled["captions"] == pytest.approx(2 * terms["captions"])
    assert (
        captioned_loss(
            network,
            ["a red ball", None],
            replace(only_nouns, ablation=Ablation(rounds=2, objects=False)),
        )[1]["captions"]
        == 0
    )


def test_nouns_mean_what_objects_are_called():
    """Texts: kite, background; the phrase "it"; the nouns of two captions; three captions, one of them missing."""
    encoded = TextFeatures(
        torch.randn(9, 1, 4), torch.ones(9, 1, dtype=torch.bool), torch.randn(9, 4)
    )
    classes = [torch.tensor(rows) for rows in ([0], [0, 0], [1])]
    objects = [
        ImageTargets(ObjectTargets(rows, torch.ones(len(rows), 2, 2, dtype=torch.bool)))
        for rows in classes
    ]
    texts = PublishedTexts(
        class_names=("kite", "background"),
        phrases=(ImagePhrases(("it",), ("it",), np.ones((1, 2, 2), bool), 2.0),),
        nouns=(("kites", "sky"), (), ("sky",)),
        captions=("a", "", "b"),
    )
    nouns = noun_targets(EncodedTexts(encoded, 2), texts, objects)
    assert nouns.stems.tolist() == [0, 1, 2, 0, 3, 3, 4, 5, 6]
    assert [rows.tolist() for rows in nouns.by_caption] == [[3, 4, 6], [], [5, 8]]
    assert [rows.tolist() for rows in nouns.by_object] == [[0], [0, 0], [1]]


def test_xdecoder_hears_phrases_at_its_top_heads():
    network = tiny_relative("xdecoder").network
    asked = trained_kinds(network, FAST.ablation)
    assert asked == {RowKind.OBJECT, RowKind.PHRASE, RowKind.CAPTION, RowKind.IMAGE}
    assert [sorted(judged_kinds(network, asked, head)) for head in (0, 2, 3)] == [
        [RowKind.OBJECT, RowKind.PHRASE], [RowKind.OBJECT, RowKind.PHRASE], [RowKind.OBJECT]
    ]  # fmt: skip
    v1 = tiny_network("seem-focal-t-v1")
    assert judged_kinds(v1, trained_kinds(v1, FAST.ablation), 9) == {
        RowKind.OBJECT,
        RowKind.PHRASE,
        RowKind.VISUAL,
    }


@pytest.mark.parametrize("policy", ["seem-v0", "xdecoder"])
def test_relatives_train_too(policy):
    network = tiny_relative(policy).network.train()
    loss, terms = loss_of(network)
    loss.backward()
    assert ("visual" in terms) == (policy == "seem-v0")
    assert network.decoder.query_features.grad.abs().sum() > 0


def test_the_published_freezing_leaves_the_decoder(network):
    count = freeze(network, PUBLISHED_FROZEN)
    loss, _ = loss_of(network)
    loss.backward()
    learnt = {
        name
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert learnt
    assert all(name.startswith(("decoder.", "prompt_encoder.")) for name in learnt)
    sizes = parameters_by_part(network)
    assert count == sum(sizes[name] for name in PUBLISHED_FROZEN)
    assert sum(sizes.values()) == sum(p.numel() for p in network.parameters())
    assert not any(module.training for module in network.backbone.modules())
    assert network.decoder.training


def test_every_parameter_of_every_model_belongs_to_a_part():
    starts = tuple(start for group in PARTS.values() for start in group)
    for name in ("nano", "seem-focal-t-v1"):
        assert all(key.startswith(starts) for key, _ in tiny_network(name).named_parameters())


def test_statistics_can_be_frozen_alone():
    network = tiny_network("nano").train()
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    freeze_statistics(network)
    network.backbone(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.named_buffers())


def test_rounds_add_clicks_and_have_no_gradient(network):
    batch = a_batch(network)
    image = network.encode_image(batch.images)
    generator = torch.Generator().manual_seed(0)

    most = np.random.default_rng(
        next(s for s in range(99) if np.random.default_rng(s).integers(0, 4) == 3)
    )
    prompts, previous = simulate_rounds(
        network, image, batch, Ablation(rounds=3), copy.deepcopy(most), generator
    )
    assert not previous.requires_grad
    marked = int((prompts.positive | prompts.negative).sum())
    assert marked > int((batch.positive | batch.bounds | batch.negative).sum())
    silent = ~(batch.positive | batch.bounds).flatten(2).any(-1)
    assert not (prompts.positive | prompts.negative)[silent].any()
    without, _ = simulate_rounds(
        network, image, batch, Ablation(rounds=3, negative=False), copy.deepcopy(most), generator
    )
    assert not without.negative.any()
    alone, _ = simulate_rounds(
        network, image, batch, Ablation(rounds=3, positive=False), copy.deepcopy(most), generator
    )
    assert torch.equal(alone.positive, batch.positive | batch.bounds)
    first, nothing = simulate_rounds(
        network, image, batch, Ablation(rounds=0), copy.deepcopy(most), generator
    )
    assert nothing is None
    assert torch.equal(first.positive, batch.positive | batch.bounds)


@pytest.mark.parametrize("memory", [True, False])
def test_the_mask_before_is_handed_on_unless_rounds_forget_it(network, monkeypatch, memory):
    real, runs = network.decode, []

    def decode(image, question, *rest, **more):
        runs[-1].append(question.previous is not None)
        return real(image, question, *rest, **more)

    monkeypatch.setattr(network, "decode", decode)
    for seed in range(4):
        runs.append([])
        loss_of(network, without(rounds=3, memory=memory), seed)
    assert max(map(len, runs)) > 2
    assert all(run == [False, *[memory] * (len(run) - 1)] for run in runs)


def test_names_are_what_is_annotated_and_the_background_last():
    assert choose_compared_names(samples(), np.random.default_rng(0)) == (
        "square",
        "kite",
        "background",
    )


def test_class_names_are_said_where_there_are_no_phrases():
    sample = samples()[0]
    said = choose_phrases(sample, TEMPLATES, np.random.default_rng(0), 4, 2.0, 0.5)
    assert (said.texts, said.weight) == (("square",), 0.5)
    assert np.array_equal(said.masks[0], sample.masks.any(axis=0))
    written = replace(sample, phrases=(("the left one",), ("the right one",)))
    said = choose_phrases(written, TEMPLATES, np.random.default_rng(0), 4, 2.0, 0.5)
    assert (sorted(said.texts), said.weight) == (["the left one", "the right one"], 2.0)
    texts = PublishedTexts(("square", "kite", "background"), (said, said), (), ())
    assert texts.phrase_rows() == [range(3, 5), range(5, 7)]


def test_templates_surround_names():
    said = {
        TemplatedTokenizer(TOKENIZER, templated=True).fill_template(
            "cat", np.random.default_rng(seed)
        )
        for seed in range(9)
    }
    assert len(said) > 1
    assert all("cat" in text for text in said)


def test_the_recipe_is_that_of_the_paper():
    settings = published_config(COCO_IMAGES, 16)
    assert settings.steps == 369_647
    factors = [schedule(int(share * settings.steps), settings) for share in (0.0, 0.88, 0.89, 0.97)]
    assert factors == pytest.approx([1.0, 1.0, 0.1, 0.01])


# ------------------------------------------------------------------------------------------------ finer masks


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ((0, 0, 4, 4), 1.0),
        ((0, 0, 4, 2), 0.5),
        ((2, 2, 6, 6), 4 / 28),
        ((4, 0, 8, 4), 0.0),
        ((1, 1, 1, 1), 0.0),
    ],
)
def test_boxes_overlap(other, iou):
    assert box_iou((0.0, 0.0, 4.0, 4.0), tuple(map(float, other))) == pytest.approx(iou)


def test_two_empty_boxes_do_not_overlap():
    assert box_iou((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)) == 0.0


class Listed:
    """A data set of one photo."""

    name, split, files, categories = "listed", "train", (), {1: TWO.objects[0].record.category}

    def __init__(self, *records):
        self.images = (TWO.record,)
        self.objects = {TWO.record.id: records}

    def parse_objects(self, photo):
        return ParsedObjects(self.objects[photo.id])


def test_masks_are_replaced_where_boxes_agree():
    record = replace(TWO.objects[0].record, box=(0.0, 0.0, 10.0, 10.0), area=90, counts="coarse")
    near = replace(record, id=7, box=(0.0, 0.0, 10.0, 9.0), area=77, counts="fine")
    far = replace(record, id=8, box=(0.0, 0.0, 10.0, 6.0), area=55, counts="other")
    group = replace(record, id=9, is_crowd=True)
    improved = with_finer_masks(Listed(record, group), Listed(far, near)).objects[TWO.record.id]
    assert [(r.id, r.counts, r.area) for r in improved] == [
        (record.id, "fine", 77),
        (9, "coarse", 90),
    ]
    assert with_finer_masks(Listed(record), Listed(far)).objects[TWO.record.id] == (record,)
