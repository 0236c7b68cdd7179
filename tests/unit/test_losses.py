import zlib
from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from seem.models.ops.points import uniform
from seem.training.criterion import (
    CriterionOptions,
    CriterionTerms,
    CriterionWeights,
    GroupTerms,
    GroupWeights,
    HeadPrediction,
    HeadTerms,
    ImageTargets,
    ObjectPrediction,
    ObjectTargets,
    PhrasePrediction,
    PhraseTargets,
    VisualPrediction,
    VisualTargets,
    criterion,
    object_terms,
    phrase_terms,
)
from seem.training.losses import (
    class_cross_entropy,
    mask_bce,
    mask_dice,
    phrase_cross_entropy,
    phrase_similarity,
    visual_cross_entropy,
)

HALF, THREE_QUARTERS = 0.0, log(3)  # logits of these scores
FEW_POINTS = CriterionOptions(num_points=16)


def by_shape(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(
        shape, generator=torch.Generator().manual_seed(zlib.crc32(str(shape).encode()))
    )


# ------------------------------------------------------------------------------------------------ masks


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (mask_bce, (log(4 / 3) + log(2)) / 2),
        (mask_dice, 1 - (2 * 0.75 + 1) / (0.75 + 0.5 + 1 + 1)),
    ],
)
def test_mask_loss_of_two_points(loss: Callable[..., Tensor], value: float) -> None:
    logits, targets = torch.tensor([[THREE_QUARTERS, HALF]]), torch.tensor([[1.0, 0.0]])
    assert loss(logits, targets).item() == pytest.approx(value)
    assert loss(logits.repeat(3, 1), targets.repeat(3, 1)).item() == pytest.approx(value)
    assert loss(logits.repeat(3, 1), targets.repeat(3, 1), 6.0).item() == pytest.approx(value / 2)


@pytest.mark.parametrize("loss", [mask_bce, mask_dice])
def test_right_masks_cost_nothing(loss: Callable[..., Tensor]) -> None:
    targets = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    assert loss(200 * targets - 100, targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [mask_bce, mask_dice])
def test_no_masks_cost_nothing(loss: Callable[..., Tensor]) -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    cost = loss(logits, torch.zeros(0, 5))
    (slope,) = torch.autograd.grad(cost, logits)
    assert cost.item() == 0
    assert slope.shape == (0, 5)


@pytest.mark.parametrize("loss", [mask_bce, mask_dice])
def test_mask_loss_has_the_right_gradient(loss: Callable[..., Tensor]) -> None:
    logits = torch.tensor(
        [[0.3, -1.2, 2.0], [0.7, -0.1, -3.0]], dtype=torch.float64, requires_grad=True
    )
    targets = torch.tensor([[1.0, 0.0, 0.4], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, 1.5), logits)


# ------------------------------------------------------------------------------------------------ names


def test_queries_without_an_object_weigh_less() -> None:
    logits = torch.tensor([[[log(2), 0.0, 0.0], [0.0, 0.0, 0.0]]])  # 1/2 for class 0; 1/3 for all
    cost = class_cross_entropy(logits, torch.tensor([[0, 2]]), no_object_weight=0.1)
    assert cost.item() == pytest.approx((log(2) + 0.1 * log(3)) / 1.1)


def test_class_loss_has_the_right_gradient() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    classes = torch.tensor([[0, 3, 1], [3, 3, 2]])
    assert torch.autograd.gradcheck(lambda x: class_cross_entropy(x, classes), logits)


def test_similarity_is_a_scaled_cosine() -> None:
    queries, phrases = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[5.0, 0.0]])
    assert phrase_similarity(queries, phrases, 10.0)[:, 0].tolist() == pytest.approx([6.0, 0.0])
    assert phrase_similarity(0 * queries, phrases, 10.0).abs().max() == 0


def test_similarity_has_the_right_gradient() -> None:
    queries, phrases = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (3, 2))
    scale = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(phrase_similarity, (queries, phrases, scale))


SAID = torch.tensor(
    [[THREE_QUARTERS, HALF], [0.0, HALF]]
)  # phrase 0: 3/4 and 1/4; phrase 1: 1/2 and 1/2


@pytest.mark.parametrize(
    ("queries", "hashes", "value"),
    [
        ([0, 1], [5, 6], (log(4 / 3) + log(2)) / 2),
        ([1, 0], [5, 6], (log(4) + log(2)) / 2),
        (
            [0, 1],
            [5, 5],
            ((log(4 / 3) + log(4)) / 2 + log(2)) / 2,
        ),  # both queries share both phrases
    ],
)
def test_phrases_ask_for_their_query(queries: list[int], hashes: list[int], value: float) -> None:
    cost = phrase_cross_entropy(
        SAID, torch.tensor(queries), torch.tensor([0, 1]), torch.tensor(hashes)
    )
    assert cost.item() == pytest.approx(value)


def test_phrase_loss_has_the_right_gradient() -> None:
    similarity = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    indices = torch.tensor([0, 2, 3]), torch.tensor([2, 0, 1]), torch.tensor([9, 4, 9])
    assert torch.autograd.gradcheck(lambda x: phrase_cross_entropy(x, *indices), similarity)


def test_prompted_objects_ask_for_their_query() -> None:
    cost = visual_cross_entropy(
        torch.tensor([[THREE_QUARTERS, 0.0], [HALF, HALF]]), torch.tensor([0, 1])
    )
    assert cost.item() == pytest.approx((log(4 / 3) + log(2)) / 2)


def test_visual_loss_has_the_right_gradient() -> None:
    similarity = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: visual_cross_entropy(x, torch.tensor([1, 4])), similarity
    )


def test_nobody_asked_costs_nothing() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert phrase_cross_entropy(torch.zeros(4, 0), none, none, none).item() == 0
    assert visual_cross_entropy(torch.zeros(0, 4), none).item() == 0


# ------------------------------------------------------------------------------------------------ all together


def group(*values: float) -> GroupTerms:
    return GroupTerms(*(torch.tensor(float(value)) for value in values))


def test_total_weighs_every_term_of_every_head() -> None:
    heads = (
        HeadTerms(objects=group(1, 2, 3), phrases=group(4, 5, 6)),
        HeadTerms(objects=group(7, 8, 9)),
    )
    weights = CriterionWeights(
        objects=GroupWeights(ce=1.0, bce=10.0, dice=100.0),
        phrases=GroupWeights(ce=0.1, bce=0.0, dice=2.0),
    )
    assert CriterionTerms(heads).total(weights).item() == pytest.approx(321 + 12.4 + 987)


def test_terms_have_their_official_names() -> None:
    terms = CriterionTerms((HeadTerms(visual=group(1, 2, 3)), HeadTerms(objects=group(4, 5, 6))))
    assert {name: value.item() for name, value in terms.named()} == {
        "loss_spatial_ce_0": 1,
        "loss_spatial_bce_0": 2,
        "loss_spatial_dice_0": 3,
        "loss_mask_ce_1": 4,
        "loss_mask_bce_1": 5,
        "loss_mask_dice_1": 6,
    }


def scene(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[ImageTargets]]:
    """Two photos of 8x8 with 4 object queries, 4 phrase queries and 2 places of 3 visual queries."""
    chance = torch.Generator().manual_seed(3)
    shapes = [(2, 4, 3), (2, 4, 4, 4), (2, 4, 5), (2, 4, 4, 4), (2, 6, 5), (2, 6, 4, 4), (2, 2, 5)]
    said = [torch.randn(shape, generator=chance, dtype=torch.float64).to(dtype) for shape in shapes]
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :, :4] = masks[1, 5:, 2:] = True
    vectors = torch.randn(2, 5, generator=chance)
    photos = [
        ImageTargets(
            ObjectTargets(torch.tensor([1, 0]), masks),
            PhraseTargets(vectors, masks, torch.tensor([8, 9])),
            VisualTargets(masks),
        ),
        ImageTargets(
            ObjectTargets(torch.tensor([0]), masks[1:]),
            PhraseTargets(vectors[:0], masks[:0], torch.zeros(0, dtype=torch.long)),
            VisualTargets(masks[:1]),
        ),
    ]
    return said, photos


def predict(*said: Tensor) -> HeadPrediction:
    return HeadPrediction(
        ObjectPrediction(said[0], said[1]),
        PhrasePrediction(said[2], said[3], 10.0),
        VisualPrediction(said[4], said[5], said[6]),
    )


def test_the_whole_criterion_has_the_right_gradient() -> None:
    said, photos = scene(torch.float64)
    inputs = [tensor.requires_grad_() for tensor in said]

    def total(*said: Tensor) -> Tensor:
        return criterion([predict(*said)], photos, by_shape, options=FEW_POINTS).total()

    assert torch.autograd.gradcheck(total, inputs, fast_mode=True)


def test_a_seed_fixes_the_loss() -> None:
    said, photos = scene()
    first, second, other = (
        criterion(
            [predict(*said)],
            photos,
            uniform(torch.Generator().manual_seed(seed)),
            options=FEW_POINTS,
        ).total()
        for seed in (7, 7, 8)
    )
    assert first == second != other


def test_half_precision_is_judged_in_float32() -> None:
    said, photos = scene()
    half = [tensor.bfloat16() for tensor in said]
    expected = criterion(
        [predict(*(tensor.float() for tensor in half))], photos, by_shape, options=FEW_POINTS
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = criterion([predict(*half)], photos, by_shape, options=FEW_POINTS)
    for (_, ours), (_, theirs) in zip(terms.named(), expected.named(), strict=True):
        assert ours.dtype == torch.float32
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_photos_without_anything_still_have_gradients() -> None:
    said, photos = scene()
    nothing = ImageTargets(
        ObjectTargets(torch.zeros(0, dtype=torch.long), torch.zeros(0, 8, 8, dtype=torch.bool)),
        photos[1].phrases,
        VisualTargets(torch.zeros(2, 8, 8, dtype=torch.bool)),
    )
    inputs = [tensor.requires_grad_() for tensor in said]
    terms = criterion([predict(*inputs)], [nothing, nothing], by_shape, options=FEW_POINTS)
    slopes = torch.autograd.grad(terms.total(), inputs)
    assert all(slope.isfinite().all() for slope in slopes)
    assert {name for name, value in terms.named() if value.item() > 0} == {"loss_mask_ce_0"}


def test_object_masks_are_divided_by_the_objects_of_all_processes() -> None:
    said, photos = scene()
    truth = [photo.objects for photo in photos if photo.objects is not None]
    own = object_terms(ObjectPrediction(said[0], said[1]), truth, by_shape, FEW_POINTS)
    shared = object_terms(
        ObjectPrediction(said[0], said[1]), truth, by_shape, FEW_POINTS, num_objects=6.0
    )
    assert shared.bce.item() == pytest.approx(own.bce.item() / 2)
    assert shared.dice.item() == pytest.approx(own.dice.item() / 2)
    assert shared.ce == own.ce


def test_photos_without_phrases_do_not_dilute_the_others() -> None:
    said, photos = scene()
    truth = [photo.phrases for photo in photos if photo.phrases is not None]
    both = phrase_terms(PhrasePrediction(said[2], said[3], 10.0), truth, by_shape, FEW_POINTS)
    first = phrase_terms(
        PhrasePrediction(said[2][:1], said[3][:1], 10.0), truth[:1], by_shape, FEW_POINTS
    )
    assert both.ce.item() == pytest.approx(first.ce.item())


def test_a_head_must_answer_for_something() -> None:
    with pytest.raises(ValueError, match="no group"):
        HeadPrediction()


def test_every_photo_needs_its_truth() -> None:
    said, photos = scene()
    with pytest.raises(ValueError, match="2 images but the truth about 1"):
        criterion([predict(*said)], photos[:1], by_shape, options=FEW_POINTS)
