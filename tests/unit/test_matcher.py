import pytest
import torch
import torch.nn.functional as F

from seem.models.ops.points import uniform
from seem.training.matcher import (
    MatchCosts,
    assign,
    bce_costs,
    dice_costs,
    match_nouns,
    match_object_queries,
    match_phrase_queries,
    match_visual_queries,
)

LEFT = torch.tensor([[True, True, False, False]] * 4)
TOP = LEFT.T
NOTHING = torch.zeros(4, 4, dtype=torch.bool)
FLAT = torch.zeros(4, 4)


def drawn(mask: torch.Tensor, strength: float = 8.0) -> torch.Tensor:
    """Logits of someone who sees exactly this mask."""
    return strength * (2 * mask.float() - 1)


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_pair_costs_are_those_of_every_pair() -> None:
    logits, targets = torch.randn(3, 20), torch.rand(2, 20)
    for q in range(3):
        for n in range(2):
            bce = F.binary_cross_entropy_with_logits(logits[q], targets[n])
            scores = logits[q].sigmoid()
            dice = 1 - (2 * (scores * targets[n]).sum() + 1) / (scores.sum() + targets[n].sum() + 1)
            assert bce_costs(logits, targets)[q, n].item() == pytest.approx(bce.item(), rel=1e-5)
            assert dice_costs(logits, targets)[q, n].item() == pytest.approx(dice.item(), rel=1e-5)


def test_the_assign_pairs_are_assign_together() -> None:
    match = assign(
        torch.tensor([[1.0, 2.0], [2.0, 9.0], [9.0, 9.0]])
    )  # 0 would like object 0, but 1 needs it more
    assert match.queries.tolist() == [0, 1]
    assert match.objects.tolist() == [1, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_overflow_is_explained(value: float) -> None:
    with pytest.raises(ValueError, match="learning rate"):
        assign(torch.tensor([[value, 1.0]]))


def test_masks_find_their_objects() -> None:
    masks = torch.stack([drawn(TOP), FLAT, drawn(LEFT)])
    match = match_object_queries(
        torch.zeros(3, 5),
        masks,
        torch.tensor([1, 1]),
        torch.stack([LEFT, TOP]),
        uniform(chance()),
        num_points=50,
    )
    assert match.queries.tolist() == [0, 2]
    assert match.objects.tolist() == [1, 0]


def test_names_decide_between_equal_masks() -> None:
    class_logits = torch.tensor([[0.0, 5.0, 0.0], [5.0, 0.0, 0.0]])
    match = match_object_queries(
        class_logits,
        drawn(LEFT).repeat(2, 1, 1),
        torch.tensor([0, 1]),
        torch.stack([LEFT, LEFT]),
        uniform(chance()),
        num_points=50,
    )
    assert match.objects.tolist() == [1, 0]


def test_nouns_of_other_photos_make_a_query_less_willing() -> None:
    similarity = torch.tensor(
        [[5.0, 0.0, 9.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    )  # 0 is most like another's noun
    match = match_nouns(similarity, torch.tensor([0, 1]))
    assert (match.queries.tolist(), match.objects.tolist()) == ([1, 2], [0, 1])
    assert match_nouns(similarity, torch.tensor([0])).queries.tolist() == [1]
    assert match_nouns(similarity[:, [0, 1]], torch.tensor([0])).queries.tolist() == [0]
    assert len(match_nouns(similarity, torch.tensor([], dtype=torch.long)).queries) == 0


def test_prices_decide_between_name_and_mask() -> None:
    class_logits, masks = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.stack([FLAT, drawn(LEFT)])
    truth = torch.tensor([0]), LEFT[None]
    for costs, query in ((MatchCosts(name=100.0), 0), (MatchCosts(), 1)):
        match = match_object_queries(
            class_logits, masks, *truth, uniform(chance()), num_points=50, costs=costs
        )
        assert match.queries.tolist() == [query]


def test_truth_may_be_finer_than_the_prediction() -> None:
    fine = torch.stack([TOP, LEFT]).repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    match = match_object_queries(
        torch.zeros(2, 2),
        torch.stack([drawn(LEFT), drawn(TOP)]),
        torch.tensor([0, 0]),
        fine,
        uniform(chance()),
        num_points=50,
    )
    assert match.objects.tolist() == [1, 0]


@pytest.mark.parametrize(("num_queries", "num_objects"), [(3, 0), (2, 5), (4, 4)])
def test_as_many_pairs_as_there_can_be(num_queries: int, num_objects: int) -> None:
    match = match_object_queries(
        torch.randn(num_queries, 3),
        torch.randn(num_queries, 4, 4),
        torch.zeros(num_objects, dtype=torch.long),
        torch.rand(num_objects, 4, 4) > 0.5,
        uniform(chance()),
        num_points=50,
    )
    assert len(match.queries) == len(set(match.objects.tolist())) == min(num_queries, num_objects)


def test_a_phrase_compares_queries() -> None:
    masks = drawn(LEFT).repeat(2, 1, 1)  # a softmax over the single phrase would see no difference
    match = match_phrase_queries(
        torch.tensor([[0.0], [3.0]]), masks, LEFT[None], uniform(chance()), num_points=50
    )
    assert match.queries.tolist() == [1]


def test_a_prompted_object_keeps_to_its_own_queries() -> None:
    masks = torch.stack([FLAT, FLAT, drawn(TOP), drawn(LEFT), FLAT, drawn(TOP)])
    match = match_visual_queries(
        torch.zeros(6, 2), masks, torch.stack([LEFT, TOP]), uniform(chance()), num_points=50
    )
    assert match.objects.tolist() == [0, 1]
    assert match.queries[0] in (0, 1)  # its perfect mask, query 3, belongs to the other object
    assert match.queries[1] == 5


def test_the_prompt_decides_between_equal_masks() -> None:
    similarity = torch.tensor(
        [[0.0, 9.0], [1.0, 0.0], [0.0, 0.0], [9.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    )
    masks = drawn(LEFT).repeat(6, 1, 1)
    match = match_visual_queries(
        similarity, masks, torch.stack([LEFT, LEFT]), uniform(chance()), num_points=50
    )
    assert match.queries.tolist() == [1, 5]


def test_empty_and_missing_objects_are_left_out() -> None:
    match = match_visual_queries(
        torch.randn(9, 3),
        torch.randn(9, 4, 4),
        torch.stack([NOTHING, TOP]),
        uniform(chance()),
        num_points=50,
    )
    assert match.objects.tolist() == [1]
    assert 3 <= match.queries.item() < 6


def test_no_prompted_object_is_no_match() -> None:
    match = match_visual_queries(
        torch.randn(6, 2), torch.randn(6, 4, 4), NOTHING[None], uniform(chance()), num_points=50
    )
    assert len(match.queries) == len(match.objects) == 0


@pytest.mark.parametrize(
    ("num_queries", "num_objects", "num_masks"), [(7, 2, 2), (6, 2, 3), (6, 0, 0)]
)
def test_uneven_queries_are_rejected(num_queries: int, num_objects: int, num_masks: int) -> None:
    with pytest.raises(ValueError, match="same number of queries"):
        match_visual_queries(
            torch.zeros(num_queries, num_objects),
            torch.zeros(num_queries, 4, 4),
            torch.ones(num_masks, 4, 4, dtype=torch.bool),
            uniform(chance()),
        )


def test_matching_has_no_gradient_and_is_repeatable() -> None:
    masks = torch.randn(4, 4, 4, requires_grad=True)
    truth = torch.tensor([0, 1]), torch.stack([LEFT, TOP])
    first, second = (
        match_object_queries(torch.zeros(4, 3), masks, *truth, uniform(chance()), num_points=50)
        for _ in range(2)
    )
    assert torch.equal(first.queries, second.queries)
    assert torch.equal(first.objects, second.objects)
