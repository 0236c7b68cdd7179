"""The decoder on tiny networks in float64: who influences whom, and what padding must not change."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from seem.config import DecoderConfig
from seem.models.decoder.decoder import MaskDecoder
from seem.models.decoder.draws import FairDraws, RandomDraws
from seem.models.decoder.policy import POLICIES, RowKind
from seem.models.mask_features import MaskFeatures
from seem.models.ops.attention import Attention
from seem.models.ops.masks import shrink_or_grow, visible_pixels
from seem.models.prompt_encoder import PromptEncoder
from seem.models.structures import DecoderQuery, PhraseTokens, PixelFeatures, VisualPrompts

OBJECT, PHRASE, VISUAL = RowKind.OBJECT, RowKind.PHRASE, RowKind.VISUAL
DIM, QUERIES, SLOTS, SIZE = 16, 7, 4, 32


class Tiny:
    """A decoder with its prompt encoder, and photos for it."""

    def __init__(self, policy, layers=4):
        torch.manual_seed(0)
        config = DecoderConfig(
            policy,
            dim=DIM,
            layers=layers,
            num_heads=2,
            ffn=32,
            num_queries=QUERIES,
            num_memory=SLOTS,
        )
        self.decoder = MaskDecoder(config, mask_dim=DIM, context=8).double().requires_grad_(False)
        self.prompts = PromptEncoder(DIM, POLICIES[policy]).double().requires_grad_(False)

    def photos(self, count=1, seed=1):
        draw = torch.Generator().manual_seed(seed)

        def maps(size):
            return torch.randn(count, DIM, size, size, generator=draw, dtype=torch.float64)

        return self.decoder.read(
            PixelFeatures(
                MaskFeatures(maps(SIZE // 4)), tuple(maps(SIZE // stride) for stride in (16, 8, 4))
            )
        )

    def tokens(self, photos, positive, negative=None):
        negative = torch.zeros_like(positive) if negative is None else negative
        return self.prompts(VisualPrompts(positive, negative), photos.pixels, FairDraws())

    def ask(self, photos, *asked, draws=None, **question):
        return self.decoder(
            photos, DecoderQuery(**question), frozenset(asked), draws or FairDraws()
        )

    def about(self, photos, positive, *asked, draws=None, **question):
        """Ask about the objects whose positive masks are given."""
        visual = self.tokens(photos, positive)
        count = visual.num_objects
        return self.ask(
            photos, *(asked or [VISUAL]), draws=draws, visual=visual, num_objects=count, **question
        )


@pytest.fixture(scope="module")
def v1():
    return Tiny("seem-v1")


@pytest.fixture(scope="module")
def nano():
    return Tiny("nano")


@pytest.fixture(scope="module", params=["seem-v1", "seem-v0", "nano"])
def tiny(request):
    return Tiny(request.param)


def boxes(*corners):
    """One mask for each (left, top, right, bottom), of one photo."""
    masks = torch.zeros(1, len(corners), SIZE, SIZE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks[0], corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


THREE = boxes((2, 2, 5, 5), (10, 8, 14, 20), (20, 20, 31, 30))


def phrase(length=3, padding=0, seed=5):
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, length + padding, DIM, generator=draw, dtype=torch.float64)
    return PhraseTokens(tokens, torch.tensor([[0] * length + [-1] * padding]))


def logits(count=1, seed=9):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(1, count, SIZE // 4, SIZE // 4, generator=draw, dtype=torch.float64)


def same(ours, theirs):
    """Equal but for the order of sums."""
    return torch.allclose(
        ours.class_vectors, theirs.class_vectors, rtol=0, atol=1e-9
    ) and torch.allclose(ours.mask_embeddings, theirs.mask_embeddings, rtol=0, atol=1e-9)


def rows(answers, first, last):
    return answers.class_vectors[:, first:last], answers.mask_embeddings[:, first:last]


# ------------------------------------------------------------------------------------------------ who sees whom


def test_objects_never_see_prompts(v1):
    photos = v1.photos()
    alone = v1.ask(photos, OBJECT).object
    beside = v1.about(
        photos, THREE, OBJECT, PHRASE, VISUAL, phrases=phrase(), previous=logits(3)
    ).object
    assert same(alone, beside)


def test_visual_queries_never_see_a_phrase_unless_composed(v1):
    photos = v1.photos()
    alone = v1.about(photos, THREE).visual
    assert same(alone, v1.about(photos, THREE, VISUAL, PHRASE, phrases=phrase()).visual)
    composed = v1.about(photos, THREE, phrases=phrase(), composed=True).visual
    assert not same(alone, composed)
    assert not same(composed, v1.about(photos, THREE, phrases=phrase(seed=6), composed=True).visual)


def test_composition_leaves_phrase_queries_alone(v1):
    photos = v1.photos()
    plain = v1.ask(photos, PHRASE, phrases=phrase()).phrase
    assert same(
        plain, v1.about(photos, THREE, PHRASE, VISUAL, phrases=phrase(), composed=True).phrase
    )


def test_phrase_queries_hear_the_phrase(v1):
    photos = v1.photos()
    said = [
        v1.ask(photos, PHRASE, phrases=asked).phrase for asked in (phrase(), phrase(seed=6), None)
    ]
    assert not same(said[0], said[1])
    assert not same(said[0], said[2])


def test_visual_queries_of_nano_hear_the_phrase_of_their_own_object(nano):
    photos = nano.photos()
    for_second = PhraseTokens(phrase().tokens, torch.ones(1, 3, dtype=torch.long))
    plain = nano.about(photos, THREE).visual
    spoken = nano.about(photos, THREE, phrases=for_second).visual
    assert torch.allclose(
        spoken.class_vectors[:, [0, 2]], plain.class_vectors[:, [0, 2]], rtol=0, atol=1e-9
    )
    assert not torch.allclose(
        spoken.class_vectors[:, 1], plain.class_vectors[:, 1], rtol=0, atol=1e-3
    )


def test_an_objects_answer_does_not_depend_on_the_others(tiny):
    photos = tiny.photos()
    together = tiny.about(photos, THREE).visual
    per_object = together.class_vectors.shape[1] // 3
    for number in range(3):
        alone = tiny.about(photos, THREE[:, number : number + 1]).visual
        mine = rows(together, number * per_object, (number + 1) * per_object)
        assert torch.allclose(alone.class_vectors, mine[0], rtol=0, atol=1e-9)
        assert torch.allclose(alone.mask_embeddings, mine[1], rtol=0, atol=1e-9)


def test_memory_is_of_the_objects_own_mask(v1):
    photos, before = v1.photos(), logits(3)
    other = before.clone()
    other[:, 2] = -before[:, 2]
    first, second = (
        v1.about(photos, THREE, previous=previous).visual for previous in (before, other)
    )
    assert not same(first, v1.about(photos, THREE).visual)
    assert torch.allclose(
        first.class_vectors[:, :6], second.class_vectors[:, :6], rtol=0, atol=1e-9
    )
    assert not torch.allclose(
        first.class_vectors[:, 6:], second.class_vectors[:, 6:], rtol=0, atol=1e-3
    )


def test_asking_together_is_asking_one_after_the_other(v1):
    photos = v1.photos()
    given = {"phrases": phrase(), "previous": logits(3)}
    together = v1.about(photos, THREE, OBJECT, PHRASE, VISUAL, **given)
    assert same(together.object, v1.about(photos, THREE, OBJECT, **given).object)
    assert same(together.phrase, v1.about(photos, THREE, PHRASE, **given).phrase)
    assert same(together.visual, v1.about(photos, THREE, VISUAL, **given).visual)


def test_only_what_was_asked_is_answered(v1):
    output = v1.about(v1.photos(), THREE, VISUAL, phrases=phrase())
    assert output.object is None
    assert output.phrase is None
    assert output.visual.class_vectors.shape == (1, 9, DIM)


# ------------------------------------------------------------------------------------------------ rows and layers


@pytest.mark.parametrize(
    ("asked", "given", "count"),
    [
        ({OBJECT}, {"phrases": phrase(), "previous": logits(3)}, QUERIES),
        ({PHRASE}, {"phrases": phrase()}, QUERIES + 3),
        ({PHRASE}, {}, QUERIES),
        ({VISUAL}, {}, 3 * 3),
        ({VISUAL}, {"phrases": phrase()}, 3 * 3),
        ({VISUAL}, {"previous": logits(3)}, 3 * 3 + 3 * SLOTS),
        ({VISUAL}, {"phrases": phrase(), "composed": True}, 3 * 3 + QUERIES + 3),
        ({OBJECT, PHRASE}, {"phrases": phrase()}, 2 * QUERIES + 3),
    ],
    ids=["object", "phrase", "no-phrase", "visual", "visual-phrase", "memory", "composed", "both"],
)
def test_rows_that_cannot_matter_are_not_computed(v1, asked, given, count):
    computed = []
    hook = v1.decoder.layers[0].fc1.register_forward_hook(
        lambda layer, given, out: computed.append(given[0].shape[1])
    )
    v1.about(v1.photos(), THREE, *asked, **given)
    hook.remove()
    assert computed == [count]


def test_intermediate_answers_are_those_of_a_shorter_decoder(v1):
    photos = v1.photos()
    question = DecoderQuery(visual=v1.tokens(photos, THREE), num_objects=3)
    output = v1.decoder(
        photos, question, frozenset({VISUAL, OBJECT}), FairDraws(), intermediate=True
    )
    assert len(output.intermediate) == len(v1.decoder.layers)
    for depth, earlier in enumerate(output.intermediate):
        shorter = Tiny("seem-v1", layers=depth)
        shorter.decoder.load_state_dict(v1.decoder.state_dict(), strict=False)
        assert same(
            earlier.visual,
            shorter.decoder(photos, question, frozenset({VISUAL}), FairDraws()).visual,
        )
        assert same(
            earlier.object,
            shorter.decoder(photos, question, frozenset({OBJECT}), FairDraws()).object,
        )
    assert v1.ask(photos, OBJECT).intermediate == ()


# ------------------------------------------------------------------------------------------------ padding


@pytest.mark.parametrize("asked", [{PHRASE}, {VISUAL, PHRASE}])
def test_padding_of_phrases_changes_nothing(v1, asked):
    photos = v1.photos()
    long = phrase(length=3, padding=4)
    short = PhraseTokens(long.tokens[:, :3], long.owner[:, :3])
    said = [
        v1.about(photos, THREE, *asked, phrases=given, composed=True) for given in (short, long)
    ]
    assert same(said[0].phrase, said[1].phrase)
    if VISUAL in asked:
        assert same(said[0].visual, said[1].visual)


def test_padding_of_phrases_changes_nothing_in_nano(nano):
    photos = nano.photos()
    long = phrase(length=3, padding=4)
    short = PhraseTokens(long.tokens[:, :3], long.owner[:, :3])
    assert same(*(nano.about(photos, THREE, phrases=given).visual for given in (short, long)))


def test_a_batch_answers_what_its_photos_answer_alone(tiny):
    both = tiny.photos(count=2)
    few = boxes((1, 1, 3, 3), (0, 0, 0, 0), (4, 4, 5, 5))  # fewer pixels, and a missing object
    together = tiny.about(both, torch.cat((THREE, few))).visual
    for number, masks in enumerate((THREE, few)):
        one = PixelFeatures(
            MaskFeatures(both.pixels.mask_features.cells[number : number + 1]),
            tuple(
                level[number : number + 1] - embedding[:, None, None]
                for level, embedding in zip(
                    both.pixels.levels, tiny.decoder.level_embedding, strict=True
                )
            ),
        )
        alone = tiny.about(tiny.decoder.read(one), masks).visual
        assert torch.allclose(
            together.class_vectors[number], alone.class_vectors[0], rtol=0, atol=1e-9
        )


def test_an_object_without_prompt_still_answers_finite(tiny):
    nothing = torch.zeros_like(THREE)
    given = {"previous": logits(3)} if tiny.decoder.policy.group(RowKind.MEMORY) else {}
    output = tiny.about(tiny.photos(), nothing, **given).visual
    assert output.class_vectors.isfinite().all()
    assert output.mask_embeddings.isfinite().all()


def test_an_empty_previous_mask_lets_memory_look_everywhere(v1):
    photos = v1.photos()
    empty, full = torch.full_like(logits(3), -5.0), torch.full_like(logits(3), 5.0)
    assert same(*(v1.about(photos, THREE, previous=previous).visual for previous in (empty, full)))


def test_a_query_that_sees_nothing_gets_the_output_bias():
    torch.manual_seed(0)
    attention = Attention(8, num_heads=2)
    x = torch.randn(1, 3, 8, requires_grad=True)
    visible = torch.tensor([[[True, True, False], [False, False, False], [True, False, False]]])
    answer = attention(x, attention.project(x, x), visible)
    assert torch.equal(answer[0, 1], attention.out.bias)
    answer.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "seen"),
    [
        ([1.0, -1.0, 0.0, -0.1], [True, False, True, False]),
        ([-1.0, -2.0, -3.0, -4.0], [True] * 4),
        ([1.0] * 4, [True] * 4),
    ],
)
def test_queries_look_at_their_foreground_or_everywhere(logits, seen):
    assert visible_pixels(torch.tensor(logits).reshape(1, 1, 2, 2)).flatten().tolist() == seen


# ------------------------------------------------------------------------------------------------ chance and threads


def test_the_same_seed_gives_the_same_answer(v1):
    photos = v1.photos()

    def answer(seed):
        draws = RandomDraws(torch.Generator().manual_seed(seed))
        return v1.about(photos, THREE, draws=draws, previous=logits(3)).visual

    assert torch.equal(answer(1).mask_embeddings, answer(1).mask_embeddings)
    assert not same(answer(1), answer(2))


def test_nothing_is_left_to_chance_by_default(tiny):
    photos = tiny.photos()
    first = tiny.about(photos, THREE).visual
    torch.manual_seed(1234)
    assert torch.equal(first.mask_embeddings, tiny.about(photos, THREE).visual.mask_embeddings)


def test_threads_share_a_decoder(v1):
    photos = [v1.photos(seed=seed) for seed in range(4)]

    def answer(number):
        masks = THREE.roll(number, dims=-1)
        return v1.about(photos[number % 4], masks, VISUAL, PHRASE, phrases=phrase(seed=number))

    alone = [answer(number) for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answer, range(16)))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.visual.mask_embeddings, other.visual.mask_embeddings)
        assert torch.equal(one.phrase.class_vectors, other.phrase.class_vectors)


@pytest.mark.parametrize("rule", ["bilinear", "bicubic"])
@pytest.mark.parametrize("hw", [(3, 4), (16, 20)])
def test_maps_are_resized_in_half_precision_too(rule, hw):
    maps = torch.randn(1, 2, 8, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    resized = shrink_or_grow(maps, hw, rule)
    assert resized.dtype is torch.bfloat16
    torch.testing.assert_close(
        resized.float(), shrink_or_grow(maps.float(), hw, rule), atol=0.05, rtol=0.01
    )
