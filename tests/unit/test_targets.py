"""What a training step asks: prompts that a person could draw, phrases that mean what they say, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.config import ImageConfig
from seem.data.training_sample import TrainingSample
from seem.data.window import PAD_RGB
from seem.models.structures import TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.strokes import PromptKind, StrokeDistribution
from seem.training.batches import make_training_batch, mask_coverage
from seem.training.phrases import PhraseTokenizer, phrase_tokens_by_object
from seem.training.targets import (
    PromptMix,
    absent_target,
    draw_targets,
    phrase_target,
    reference_target,
    visual_target,
)

VISUAL_ALONE = PromptMix(text=0.0, text_and_visual=0.0, negative=0.0)
LEFT, RIGHT, LOW = (4, 6, 20, 22), (40, 6, 56, 22), (20, 28, 36, 44)  # xyxy


def mask(box, size=64):
    x0, y0, x1, y1 = box
    drawn = np.zeros((size, size), bool)
    drawn[y0:y1, x0:x1] = True
    return drawn


def scene(objects=(("square", LEFT), ("square", RIGHT), ("disc", LOW)), phrases=None):
    """A canvas of 64 x 64 whose upper 48 rows are the photo; a kite is certainly not in it."""
    count = len(objects)
    image = np.empty((3, 64, 64), np.uint8)
    image[:] = np.array(PAD_RGB, np.uint8)[:, None, None]
    image[:, :48] = 200
    names = tuple(name for name, _ in objects)
    return TrainingSample(
        image=image,
        valid_hw=(48, 64),
        masks=np.stack([mask(box) for _, box in objects])
        if objects
        else np.zeros((0, 64, 64), bool),
        ignore=np.zeros((64, 64), bool),
        names=names,
        is_thing=np.ones(count, bool),
        qualities=("",) * count,
        phrases=phrases or ((),) * count,
        complete_names=frozenset({"square", "disc", "kite"}),
        present_names=frozenset(names) - {""},
        captions=(),
        set_name="drawn",
        image_id=1,
        object_ids=tuple(range(count)),
    )


def marked(target):
    return target.positive | target.bounds


def rng(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------------ targets


def test_something_absent_has_an_empty_truth_and_no_marks():
    target = absent_target(scene(), "kite")
    assert (target.phrase, target.name) == ("kite", "")
    assert target.truth.shape == (64, 64)
    assert not target.truth.any()
    assert not target.positive.any()
    assert not target.negative.any()


def test_only_what_is_certainly_absent_is_asked_for_as_absent():
    mix = PromptMix(text=1.0, absent=1.0)
    for seed in range(20):
        for target in draw_targets(scene(), 3, mix, rng(seed)):
            assert target.phrase == "kite"
            assert not target.truth.any()
    everything_there = replace(scene(), complete_names=frozenset({"square", "disc"}))
    assert all(target.truth.any() for target in draw_targets(everything_there, 3, mix, rng()))


def test_a_bare_class_name_asks_for_all_objects_of_the_class():
    target = phrase_target(scene(), 0, rng())
    assert target.phrase == target.name == "square"
    assert np.array_equal(target.truth, mask(LEFT) | mask(RIGHT))
    assert not (target.positive | target.negative).any()


def test_a_phrase_asks_for_its_own_object():
    sample = scene(phrases=(("the left square", "the first one"), (), ()))
    asked = [phrase_target(sample, 0, rng(seed)) for seed in range(60)]
    by_phrase = {target.phrase: target.truth for target in asked}
    assert set(by_phrase) == {"square", "the left square", "the first one"}
    assert np.array_equal(by_phrase["the left square"], mask(LEFT))
    assert np.array_equal(by_phrase["the first one"], mask(LEFT))
    assert np.array_equal(by_phrase["square"], mask(LEFT) | mask(RIGHT))
    assert {target.name for target in asked} == {"square"}


def test_visual_prompts_are_drawn_on_their_object_and_inside_the_photo():
    sample = scene()
    for seed in range(120):
        target = visual_target(
            sample, seed % 3, replace(VISUAL_ALONE, negative=1.0), rng(seed), with_text=False
        )
        assert target.truth is sample.masks[seed % 3] or np.array_equal(
            target.truth, sample.masks[seed % 3]
        )
        assert target.positive.shape == target.negative.shape == (64, 64)
        assert (marked(target) & target.truth).any()
        assert not marked(target)[48:].any()
        if (
            target.positive.any() and target.bounds.any()
        ):  # a polygon marks and bounds, a box bounds alone
            assert np.array_equal(target.positive, target.bounds)
        assert target.negative.any()
        assert not target.negative[48:].any()
        assert not target.negative.all()


@pytest.mark.parametrize("corner", [(0, 0, 12, 12), (52, 36, 64, 48), (0, 0, 64, 44)])
def test_prompts_about_objects_at_the_edge_stay_on_the_canvas(corner):
    sample = scene((("square", corner),))
    for seed in range(40):
        target = visual_target(sample, 0, PromptMix(negative=1.0), rng(seed), with_text=True)
        assert marked(target).shape == (64, 64)
        assert (marked(target) & target.truth).any()


@pytest.mark.parametrize("rule", ["filled", "curve"])
def test_a_polygon_bounds_its_object_where_it_is_its_outline(rule):
    mix = replace(VISUAL_ALONE, strokes=StrokeDistribution({PromptKind.POLYGON: 1.0}, rule))
    batch = make_training_batch([scene((("disc", LOW),))], ImageConfig(), 2, mix, rng())
    assert batch.positive.flatten(2).any(-1).all()
    assert torch.equal(
        batch.bounds, batch.positive if rule == "filled" else torch.zeros_like(batch.bounds)
    )
    assert torch.equal(batch.outlines, batch.bounds)
    boxes = make_training_batch(
        [scene()],
        ImageConfig(),
        2,
        replace(mix, strokes=StrokeDistribution({PromptKind.BOX: 1.0})),
        rng(),
    )
    assert not boxes.outlines.any()


def test_boxes_have_a_map_of_their_own():
    targets = [
        visual_target(scene(), 0, VISUAL_ALONE, rng(seed), with_text=False) for seed in range(60)
    ]
    boxes = [target for target in targets if target.bounds.any() and not target.positive.any()]
    assert 0 < len(boxes) < len(targets)
    for target in boxes:
        rows, columns = np.nonzero(target.bounds)
        assert target.bounds.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


@pytest.mark.parametrize(
    ("mix", "texts", "marks", "wrong"),
    [
        (VISUAL_ALONE, {""}, True, False),
        (PromptMix(text=0.0, text_and_visual=1.0, negative=0.0), {"square"}, True, False),
        (PromptMix(text=0.0, text_and_visual=1.0, negative=1.0), {"square"}, True, True),
        (PromptMix(text=1.0, absent=0.0), {"square", "disc"}, False, False),
    ],
)
def test_the_mix_says_how_objects_are_asked_about(mix, texts, marks, wrong):
    targets = [target for seed in range(10) for target in draw_targets(scene(), 3, mix, rng(seed))]
    assert {target.phrase for target in targets} == texts
    assert {bool(marked(target).any()) for target in targets} == {marks}
    assert {bool(target.negative.any()) for target in targets} == {wrong}
    assert all(target.name for target in targets)


def test_a_mark_and_a_phrase_ask_for_one_of_several_objects_of_a_class():
    mix = PromptMix(text=0.0, text_and_visual=1.0, negative=0.0)
    alone = scene((("square", LEFT), ("disc", LOW)))
    phrases = set()
    for seed in range(20):
        phrases |= {target.phrase for target in draw_targets(alone, 2, mix, rng(seed))}
        for target in draw_targets(scene(), 3, mix, rng(seed)):
            assert target.phrase == "square"
            assert target.truth.sum() == mask(LEFT).sum()
    assert phrases == {"square", "disc"}


def test_prompt_kinds_come_in_their_proportions():
    mix = PromptMix(text=0.3, text_and_visual=0.2, absent=0.5, negative=0.0)
    targets = [target for seed in range(300) for target in draw_targets(scene(), 3, mix, rng(seed))]
    kinds = [
        (bool(target.phrase), bool(marked(target).any()), bool(target.truth.any()))
        for target in targets
    ]
    assert kinds.count((True, False, True)) / len(kinds) == pytest.approx(0.15, abs=0.05)
    assert kinds.count((True, False, False)) / len(kinds) == pytest.approx(0.15, abs=0.05)
    assert kinds.count((True, True, True)) / len(kinds) == pytest.approx(0.2, abs=0.05)
    assert kinds.count((False, True, True)) / len(kinds) == pytest.approx(0.5, abs=0.05)


def test_objects_without_a_class_are_shown_or_described_never_named():
    sample = scene((("", LEFT), ("", RIGHT)), phrases=(("the left one",), ()))
    mix = PromptMix(text=0.5, text_and_visual=0.5, absent=0.0)
    targets = [target for seed in range(20) for target in draw_targets(sample, 2, mix, rng(seed))]
    assert {target.phrase for target in targets} == {"", "the left one"}
    for target in targets:
        assert target.name == ""
        if target.phrase:
            assert np.array_equal(target.truth, mask(LEFT))
        else:
            assert marked(target).any()


def test_a_class_that_is_not_annotated_completely_is_not_asked_for_by_name():
    sample = replace(scene(), complete_names=frozenset({"disc"}))
    assert phrase_target(sample, 0, rng()) is None
    assert phrase_target(sample, 2, rng()).phrase == "disc"
    described = replace(sample, phrases=(("the left square",), (), ()))
    assert {phrase_target(described, 0, rng(seed)).phrase for seed in range(20)} == {
        "the left square"
    }


# ------------------------------------------------------------------------------------------------ references

OFTEN = PromptMix(reference=1.0, reference_absent=0.0)


def test_a_reference_shows_one_object_of_the_partner_and_means_all_of_its_class():
    partner = scene((("square", LOW),))
    target = reference_target(scene(), partner, OFTEN, rng())
    assert np.array_equal(target.reference, mask(LOW))
    assert np.array_equal(target.truth, mask(LEFT) | mask(RIGHT))
    assert not (marked(target) | target.negative).any()
    assert target.phrase == target.name == ""  # else the answer would be told


def test_a_reference_may_show_what_is_not_there():
    partner = scene((("kite", LOW), ("square", LEFT)))
    mix = replace(OFTEN, reference_absent=1.0)
    target = reference_target(scene(), partner, mix, rng())
    assert np.array_equal(target.reference, mask(LOW))
    assert not target.truth.any()


def test_photos_that_say_nothing_about_each_other_make_no_reference():
    sample = scene()
    assert reference_target(sample, scene(()), OFTEN, rng()) is None
    assert reference_target(sample, scene((("", LOW),)), OFTEN, rng()) is None
    unsure = replace(sample, complete_names=frozenset())
    assert reference_target(unsure, scene((("square", LOW),)), OFTEN, rng()) is None


def test_references_lie_in_the_partner_of_the_pair():
    first, second = scene((("disc", LEFT),)), scene((("disc", LOW), ("disc", RIGHT)))
    batch = make_training_batch([first, second, first], ImageConfig(), 1, OFTEN, rng())
    assert any(np.array_equal(batch.reference[0, 0].numpy(), mask(box)) for box in (LOW, RIGHT))
    assert np.array_equal(batch.reference[1, 0].numpy(), mask(LEFT))
    assert not batch.reference[2].any()  # has no partner
    assert np.array_equal(batch.truth[1, 0].numpy(), mask(LOW) | mask(RIGHT))


def test_a_photo_without_objects_is_asked_for_a_class_that_it_does_not_show():
    sample = scene(())
    first, *others = draw_targets(sample, 3, VISUAL_ALONE, rng())
    assert first.phrase in sample.absent_names
    assert not (first.truth | first.positive | first.negative | first.bounds).any()
    assert len(others) == 2
    not_annotated = replace(sample, complete_names=frozenset())
    for target in (*others, *draw_targets(not_annotated, 3, VISUAL_ALONE, rng())):
        assert target.phrase == target.name == ""
        assert not (target.truth | target.positive | target.negative | target.bounds).any()


def test_a_photo_of_few_objects_is_asked_about_them_again_by_marks():
    targets = draw_targets(
        scene((("disc", LOW),)), 8, PromptMix(text=1.0, absent=0.0, reference=0.0), rng()
    )
    assert [target.phrase for target in targets] == ["disc"] + [""] * 7
    for target in targets[1:]:
        assert np.array_equal(target.truth, mask(LOW))
        assert target.name == "disc"
        assert (target.positive | target.bounds).any()
    drawn = {(target.positive.tobytes(), target.bounds.tobytes()) for target in targets[1:]}
    assert len(drawn) > 1  # not the same prompt each time


# ------------------------------------------------------------------------------------------------ batches


def test_a_batch_stacks_photos_and_requests():
    samples = [scene(), scene((("disc", LOW),))]
    batch = make_training_batch(samples, ImageConfig(), 2, VISUAL_ALONE, rng())
    assert batch.truth.shape == batch.positive.shape == batch.negative.shape == (2, 2, 64, 64)
    for b in range(2):
        for n in range(2):
            assert np.array_equal(batch.truth[b, n].numpy(), batch.targets[b][n].truth)
            for name in ("positive", "bounds", "reference"):
                assert np.array_equal(
                    getattr(batch, name)[b, n].numpy(), getattr(batch.targets[b][n], name)
                )
    assert np.array_equal(
        batch.truth[1, 1].numpy(), mask(LOW)
    )  # the only object, asked about twice
    assert batch.phrases() == [["", ""], ["", ""]]
    assert batch.images.input_hw == ((48, 64), (48, 64))


def test_padding_is_nearly_zero_to_the_network():
    config = ImageConfig()
    pixels = make_training_batch([scene()], config, 1, VISUAL_ALONE, rng()).images.pixels
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels[..., 48:, :].abs().max() < 0.01
    assert pixels[0, 0, 0, 0].item() == pytest.approx((200 - config.mean[0]) / config.std[0])


def test_the_same_dice_ask_the_same():
    first, again, other = (
        make_training_batch([scene()], ImageConfig(), 3, PromptMix(), rng(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.positive, again.positive)
    assert first.phrases() == again.phrases()
    assert not torch.equal(first.positive, other.positive)


# ------------------------------------------------------------------------------------------------ phrases


ENCODED = TextFeatures(
    tokens=torch.tensor([[[1.0], [2.0], [0.0]], [[3.0], [4.0], [5.0]], [[6.0], [0.0], [0.0]]]),
    valid=torch.tensor([[True, True, False], [True, True, True], [True, False, False]]),
    phrases=torch.zeros(3, 1),
)
ROWS = {"two": 0, "three": 1, "one": 2}


def test_phrases_become_rows_owned_by_their_objects():
    rows = phrase_tokens_by_object((("two", "", "three"), ("", "one", "")), ENCODED, ROWS)
    assert rows is not None
    assert rows.tokens[..., 0].tolist() == [[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]
    assert rows.owner.tolist() == [[0, 0, 2, 2, 2], [1, -1, -1, -1, -1]]


def test_a_photo_without_phrases_is_all_padding_beside_one_with():
    rows = phrase_tokens_by_object((("", ""), ("two", "two")), ENCODED, ROWS)
    assert rows is not None
    assert rows.tokens[..., 0].tolist() == [[0, 0, 0, 0], [1, 2, 1, 2]]
    assert rows.owner.tolist() == [[-1, -1, -1, -1], [0, 0, 1, 1]]


def test_without_any_phrase_there_are_no_rows():
    assert phrase_tokens_by_object((("", ""), ("", "")), ENCODED, ROWS) is None


def test_gradients_flow_from_rows_to_the_text_encoder():
    tokens = ENCODED.tokens.clone().requires_grad_()
    rows = phrase_tokens_by_object((("two",), ("three",)), replace(ENCODED, tokens=tokens), ROWS)
    assert rows is not None
    rows.tokens.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad[..., 0].tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    "texts",
    [
        ["background"],
        ["the red square on the left", "kite", "background"],
        ["kite", "kite", "the red square on the left"],
        ["", "Größe 42 🦄"],
        ["word " * 60, "short"],
    ],
)
def test_the_phrase_book_says_what_the_tokenizer_says(texts):
    tokenizer = BytePairTokenizer.nano()
    book = PhraseTokenizer(tokenizer)
    expected = tokenizer(texts)
    book([*texts[::-1], "an entry that was there before"])
    ids, valid = book(texts)
    assert torch.equal(ids, expected.ids)
    assert torch.equal(valid, expected.valid)


def test_the_phrase_book_reads_a_phrase_once():
    tokenizer = BytePairTokenizer.nano()
    read = []

    def counted(texts):
        read.extend(texts)
        return tokenizer(texts)

    book = PhraseTokenizer(tokenizer)
    book.tokenizer = counted
    book(["kite", "disc"])
    book(["disc", "kite", "kite"])
    assert read == ["kite", "disc"]


def test_texts_are_encoded_where_the_network_is():
    asked = []

    class Elsewhere:
        """A network on a device without memory."""

        class text:
            logit_scale = torch.zeros((), device="meta")

        def encode_text(self, ids, valid):
            asked.append((ids.device.type, valid.device.type, len(ids)))
            return TextFeatures(
                torch.zeros(*ids.shape, 4),
                torch.ones(ids.shape, dtype=torch.bool),
                torch.zeros(2, 4),
            )

    PhraseTokenizer(BytePairTokenizer.nano()).encode(Elsewhere(), ["kite", "disc"])
    assert asked == [("meta", "meta", 2)]


def test_shrinking_says_how_much_of_a_cell_is_covered():
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    masks[0, 0, :2, :3] = True
    assert mask_coverage(masks, 2)[0, 0].tolist() == [[1.0, 0.5], [0.0, 0.0]]
    assert mask_coverage(masks, 4)[0, 0].tolist() == [[6 / 16]]
