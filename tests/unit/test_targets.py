"""What a training step asks: prompts that a person could draw, phrases that mean what they say, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.config import ImageConfig
from seem.data.transforms import PAD_RGB, TrainingSample
from seem.models.structures import TextFeatures
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.strokes import PromptKind, StrokeDistribution
from seem.training.targets import (
    PhraseBook,
    PromptMix,
    absent_request,
    draw_requests,
    make_batch,
    phrase_request,
    phrase_rows,
    reference_request,
    shrink,
    visual_request,
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
        masks=np.stack([mask(box) for _, box in objects]) if objects else np.zeros((0, 64, 64), bool),
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


def marked(request):
    return request.positive | request.bounds


def rng(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------------ requests


def test_something_absent_has_an_empty_truth_and_no_marks():
    request = absent_request(scene(), "kite")
    assert (request.phrase, request.name) == ("kite", "")
    assert request.truth.shape == (64, 64)
    assert not request.truth.any()
    assert not request.positive.any()
    assert not request.negative.any()


def test_only_what_is_certainly_absent_is_asked_for_as_absent():
    mix = PromptMix(text=1.0, absent=1.0)
    for seed in range(20):
        for request in draw_requests(scene(), 3, mix, rng(seed)):
            assert request.phrase == "kite"
            assert not request.truth.any()
    everything_there = replace(scene(), complete_names=frozenset({"square", "disc"}))
    assert all(request.truth.any() for request in draw_requests(everything_there, 3, mix, rng()))


def test_a_bare_class_name_asks_for_all_objects_of_the_class():
    request = phrase_request(scene(), 0, rng())
    assert request.phrase == request.name == "square"
    assert np.array_equal(request.truth, mask(LEFT) | mask(RIGHT))
    assert not (request.positive | request.negative).any()


def test_a_phrase_asks_for_its_own_object():
    sample = scene(phrases=(("the left square", "the first one"), (), ()))
    asked = [phrase_request(sample, 0, rng(seed)) for seed in range(60)]
    by_phrase = {request.phrase: request.truth for request in asked}
    assert set(by_phrase) == {"square", "the left square", "the first one"}
    assert np.array_equal(by_phrase["the left square"], mask(LEFT))
    assert np.array_equal(by_phrase["the first one"], mask(LEFT))
    assert np.array_equal(by_phrase["square"], mask(LEFT) | mask(RIGHT))
    assert {request.name for request in asked} == {"square"}


def test_visual_prompts_are_drawn_on_their_object_and_inside_the_photo():
    sample = scene()
    for seed in range(120):
        request = visual_request(sample, seed % 3, False, replace(VISUAL_ALONE, negative=1.0), rng(seed))
        assert request.truth is sample.masks[seed % 3] or np.array_equal(request.truth, sample.masks[seed % 3])
        assert request.positive.shape == request.negative.shape == (64, 64)
        assert (marked(request) & request.truth).any()
        assert not marked(request)[48:].any()
        if request.positive.any() and request.bounds.any():  # a polygon marks and bounds, a box bounds alone
            assert np.array_equal(request.positive, request.bounds)
        assert request.negative.any()
        assert not request.negative[48:].any()
        assert not request.negative.all()


@pytest.mark.parametrize("corner", [(0, 0, 12, 12), (52, 36, 64, 48), (0, 0, 64, 44)])
def test_prompts_about_objects_at_the_edge_stay_on_the_canvas(corner):
    sample = scene((("square", corner),))
    for seed in range(40):
        request = visual_request(sample, 0, True, PromptMix(negative=1.0), rng(seed))
        assert marked(request).shape == (64, 64)
        assert (marked(request) & request.truth).any()


@pytest.mark.parametrize("rule", ["filled", "curve"])
def test_a_polygon_bounds_its_object_where_it_is_its_outline(rule):
    mix = replace(VISUAL_ALONE, habits=StrokeDistribution({PromptKind.POLYGON: 1.0}, rule))
    batch = make_batch([scene((("disc", LOW),))], ImageConfig(), 2, mix, rng())
    assert batch.positive.flatten(2).any(-1).all()
    assert torch.equal(batch.bounds, batch.positive if rule == "filled" else torch.zeros_like(batch.bounds))
    assert torch.equal(batch.outlines, batch.bounds)
    boxes = make_batch(
        [scene()], ImageConfig(), 2, replace(mix, habits=StrokeDistribution({PromptKind.BOX: 1.0})), rng()
    )
    assert not boxes.outlines.any()


def test_boxes_have_a_map_of_their_own():
    requests = [visual_request(scene(), 0, False, VISUAL_ALONE, rng(seed)) for seed in range(60)]
    boxes = [request for request in requests if request.bounds.any() and not request.positive.any()]
    assert 0 < len(boxes) < len(requests)
    for request in boxes:
        rows, columns = np.nonzero(request.bounds)
        assert request.bounds.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


@pytest.mark.parametrize(
    ("mix", "texts", "marks", "wrong"),
    [
        (VISUAL_ALONE, {""}, True, False),
        (PromptMix(text=0.0, text_and_visual=1.0, negative=0.0), {"square", "disc"}, True, False),
        (PromptMix(text=0.0, text_and_visual=1.0, negative=1.0), {"square", "disc"}, True, True),
        (PromptMix(text=1.0, absent=0.0), {"square", "disc"}, False, False),
    ],
)
def test_the_mix_says_how_objects_are_asked_about(mix, texts, marks, wrong):
    requests = [request for seed in range(10) for request in draw_requests(scene(), 3, mix, rng(seed))]
    assert {request.phrase for request in requests} == texts
    assert {bool(marked(request).any()) for request in requests} == {marks}
    assert {bool(request.negative.any()) for request in requests} == {wrong}
    assert all(request.name for request in requests)


def test_prompt_kinds_come_in_their_proportions():
    mix = PromptMix(text=0.3, text_and_visual=0.2, absent=0.5, negative=0.0)
    requests = [request for seed in range(300) for request in draw_requests(scene(), 3, mix, rng(seed))]
    kinds = [(bool(request.phrase), bool(marked(request).any()), bool(request.truth.any())) for request in requests]
    assert kinds.count((True, False, True)) / len(kinds) == pytest.approx(0.15, abs=0.05)
    assert kinds.count((True, False, False)) / len(kinds) == pytest.approx(0.15, abs=0.05)
    assert kinds.count((True, True, True)) / len(kinds) == pytest.approx(0.2, abs=0.05)
    assert kinds.count((False, True, True)) / len(kinds) == pytest.approx(0.5, abs=0.05)


def test_objects_without_a_class_are_shown_or_described_never_named():
    sample = scene((("", LEFT), ("", RIGHT)), phrases=(("the left one",), ()))
    mix = PromptMix(text=0.5, text_and_visual=0.5, absent=0.0)
    requests = [request for seed in range(20) for request in draw_requests(sample, 2, mix, rng(seed))]
    assert {request.phrase for request in requests} == {"", "the left one"}
    for request in requests:
        assert request.name == ""
        if request.phrase:
            assert np.array_equal(request.truth, mask(LEFT))
        else:
            assert marked(request).any()


def test_a_class_that_is_not_annotated_completely_is_not_asked_for_by_name():
    sample = replace(scene(), complete_names=frozenset({"disc"}))
    assert phrase_request(sample, 0, rng()) is None
    assert phrase_request(sample, 2, rng()).phrase == "disc"
    described = replace(sample, phrases=(("the left square",), (), ()))
    assert {phrase_request(described, 0, rng(seed)).phrase for seed in range(20)} == {"the left square"}


# ------------------------------------------------------------------------------------------------ references

OFTEN = PromptMix(reference=1.0, reference_absent=0.0)


def test_a_reference_shows_one_object_of_the_partner_and_means_all_of_its_class():
    partner = scene((("square", LOW),))
    request = reference_request(scene(), partner, OFTEN, rng())
    assert np.array_equal(request.reference, mask(LOW))
    assert np.array_equal(request.truth, mask(LEFT) | mask(RIGHT))
    assert not (marked(request) | request.negative).any()
    assert request.phrase == request.name == ""  # else the answer would be told


def test_a_reference_may_show_what_is_not_there():
    partner = scene((("kite", LOW), ("square", LEFT)))
    mix = replace(OFTEN, reference_absent=1.0)
    request = reference_request(scene(), partner, mix, rng())
    assert np.array_equal(request.reference, mask(LOW))
    assert not request.truth.any()


def test_photos_that_say_nothing_about_each_other_make_no_reference():
    sample = scene()
    assert reference_request(sample, scene(()), OFTEN, rng()) is None
    assert reference_request(sample, scene((("", LOW),)), OFTEN, rng()) is None
    unsure = replace(sample, complete_names=frozenset())
    assert reference_request(unsure, scene((("square", LOW),)), OFTEN, rng()) is None


def test_references_lie_in_the_partner_of_the_pair():
    first, second = scene((("disc", LEFT),)), scene((("disc", LOW), ("disc", RIGHT)))
    batch = make_batch([first, second, first], ImageConfig(), 1, OFTEN, rng())
    assert any(np.array_equal(batch.reference[0, 0].numpy(), mask(box)) for box in (LOW, RIGHT))
    assert np.array_equal(batch.reference[1, 0].numpy(), mask(LEFT))
    assert not batch.reference[2].any()  # has no partner
    assert np.array_equal(batch.truth[1, 0].numpy(), mask(LOW) | mask(RIGHT))


def test_a_photo_without_objects_gets_requests_that_ask_nothing():
    requests = draw_requests(scene(()), 3, VISUAL_ALONE, rng())
    assert len(requests) == 3
    for request in requests:
        assert request.phrase == request.name == ""
        assert not (request.truth | request.positive | request.negative | request.bounds).any()


def test_a_photo_of_few_objects_is_asked_about_them_again_by_marks():
    requests = draw_requests(scene((("disc", LOW),)), 8, PromptMix(text=1.0, absent=0.0, reference=0.0), rng())
    assert [request.phrase for request in requests] == ["disc"] + [""] * 7
    for request in requests[1:]:
        assert np.array_equal(request.truth, mask(LOW))
        assert request.name == "disc"
        assert (request.positive | request.bounds).any()
    drawn = {(request.positive.tobytes(), request.bounds.tobytes()) for request in requests[1:]}
    assert len(drawn) > 1  # not the same prompt each time


# ------------------------------------------------------------------------------------------------ batches


def test_a_batch_stacks_photos_and_requests():
    samples = [scene(), scene((("disc", LOW),))]
    batch = make_batch(samples, ImageConfig(), 2, VISUAL_ALONE, rng())
    assert batch.truth.shape == batch.positive.shape == batch.negative.shape == (2, 2, 64, 64)
    for b in range(2):
        for n in range(2):
            assert np.array_equal(batch.truth[b, n].numpy(), batch.requests[b][n].truth)
            for name in ("positive", "bounds", "reference"):
                assert np.array_equal(getattr(batch, name)[b, n].numpy(), getattr(batch.requests[b][n], name))
    assert np.array_equal(batch.truth[1, 1].numpy(), mask(LOW))  # the only object, asked about twice
    assert batch.texts() == (("", ""), ("", ""))
    assert batch.images.input_hw == ((48, 64), (48, 64))


def test_padding_is_nearly_zero_to_the_network():
    config = ImageConfig()
    pixels = make_batch([scene()], config, 1, VISUAL_ALONE, rng()).images.pixels
    assert pixels.shape == (1, 3, 64, 64)
    assert pixels[..., 48:, :].abs().max() < 0.01
    assert pixels[0, 0, 0, 0].item() == pytest.approx((200 - config.mean[0]) / config.std[0])


def test_the_same_dice_ask_the_same():
    first, again, other = (make_batch([scene()], ImageConfig(), 3, PromptMix(), rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.positive, again.positive)
    assert first.texts() == again.texts()
    assert not torch.equal(first.positive, other.positive)


# ------------------------------------------------------------------------------------------------ phrases


ENCODED = TextFeatures(
    tokens=torch.tensor([[[1.0], [2.0], [0.0]], [[3.0], [4.0], [5.0]], [[6.0], [0.0], [0.0]]]),
    valid=torch.tensor([[True, True, False], [True, True, True], [True, False, False]]),
    phrases=torch.zeros(3, 1),
)
ROWS = {"two": 0, "three": 1, "one": 2}


def test_phrases_become_rows_owned_by_their_objects():
    rows = phrase_rows((("two", "", "three"), ("", "one", "")), ENCODED, ROWS)
    assert rows is not None
    assert rows.tokens[..., 0].tolist() == [[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]
    assert rows.owner.tolist() == [[0, 0, 2, 2, 2], [1, -1, -1, -1, -1]]


def test_a_photo_without_phrases_is_all_padding_beside_one_with():
    rows = phrase_rows((("", ""), ("two", "two")), ENCODED, ROWS)
    assert rows is not None
    assert rows.tokens[..., 0].tolist() == [[0, 0, 0, 0], [1, 2, 1, 2]]
    assert rows.owner.tolist() == [[-1, -1, -1, -1], [0, 0, 1, 1]]


def test_without_any_phrase_there_are_no_rows():
    assert phrase_rows((("", ""), ("", "")), ENCODED, ROWS) is None


def test_gradients_flow_from_rows_to_the_text_encoder():
    tokens = ENCODED.tokens.clone().requires_grad_()
    rows = phrase_rows((("two",), ("three",)), replace(ENCODED, tokens=tokens), ROWS)
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
    book = PhraseBook(tokenizer)
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

    book = PhraseBook(tokenizer)
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
            return TextFeatures(torch.zeros(*ids.shape, 4), torch.ones(ids.shape, dtype=torch.bool), torch.zeros(2, 4))

    PhraseBook(BytePairTokenizer.nano()).encode(Elsewhere(), ["kite", "disc"])
    assert asked == [("meta", "meta", 2)]


def test_shrinking_says_how_much_of_a_cell_is_covered():
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    masks[0, 0, :2, :3] = True
    assert shrink(masks, 2)[0, 0].tolist() == [[1.0, 0.5], [0.0, 0.0]]
    assert shrink(masks, 4)[0, 0].tolist() == [[6 / 16]]
