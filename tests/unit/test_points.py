import pytest
import torch
from torch import Tensor

from seem.models.ops.points import features_at, patches_at, sample_at, uncertain_points, uniform

MAP = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


@pytest.mark.parametrize(
    ("point", "align_corners", "value"),
    [
        ((0.25, 0.25), False, 1.0),  # centre of the first pixel
        ((0.75, 0.25), False, 2.0),  # x comes first
        ((0.25, 0.75), False, 3.0),
        ((0.5, 0.5), False, 2.5),  # the middle of all four
        ((0.0, 0.0), False, 0.25),  # a corner of the map: three quarters lie outside
        ((0.0, 0.0), True, 1.0),
        ((1.0, 0.0), True, 2.0),
        ((1.0, 1.0), True, 4.0),
        ((0.25, 0.0), True, 1.25),
        ((1.5, 0.5), False, 0.0),  # outside
        ((-1.5, 0.5), True, 0.0),
    ],
)
def test_map_is_read_at_a_point(
    point: tuple[float, float], align_corners: bool, value: float
) -> None:
    read = sample_at(MAP, torch.tensor([[point]]), align_corners=align_corners)
    assert read.shape == (1, 1, 1)
    assert read.item() == pytest.approx(value)


def test_every_map_is_read_at_the_points_of_its_row() -> None:
    maps = torch.cat([MAP, 10 * MAP]).expand(2, 3, 2, 2)
    points = torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]])
    assert sample_at(maps, points, align_corners=False)[..., 0].tolist() == [[1.0] * 3, [40.0] * 3]


def test_half_precision_maps_are_read_in_the_precision_of_the_points() -> None:
    ramp = torch.arange(1024.0)[None, None, None]
    point = torch.tensor([[[(700.5 + 0.25) / 1024, 0.5]]])
    read = sample_at(ramp.bfloat16(), point, align_corners=False)
    assert read.dtype == torch.float32
    assert read.item() == pytest.approx(
        sample_at(ramp.bfloat16().float(), point, align_corners=False).item()
    )


@pytest.mark.parametrize(("maps", "points"), [((0, 1, 2, 2), (0, 3, 2)), ((1, 0, 2, 2), (1, 3, 2))])
def test_nothing_is_read_from_nothing(maps: tuple[int, ...], points: tuple[int, ...]) -> None:
    assert sample_at(torch.zeros(maps), torch.zeros(points), align_corners=False).shape == (
        maps[0],
        maps[1],
        3,
    )


def test_reading_has_the_right_gradient() -> None:
    maps = torch.rand(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[[0.3, 0.4]], [[0.61, 0.77]]], dtype=torch.float64, requires_grad=True)
    for align_corners in (False, True):
        assert torch.autograd.gradcheck(
            lambda m, p, a=align_corners: sample_at(m, p, align_corners=a), (maps, points)
        )


class Recorded:
    """Answers with prepared numbers, in order."""

    def __init__(self, *answers: Tensor) -> None:
        self.answers = list(answers)

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        answer = self.answers.pop(0)
        assert answer.shape == shape
        return answer


def test_points_lie_where_the_mask_hesitates() -> None:
    logits = torch.tensor([[[-8.0, -1.0, 0.5, 9.0]]])
    centres = torch.tensor([0.125, 0.375, 0.625, 0.875, 0.125, 0.875])
    candidates = torch.stack([centres, torch.full((6,), 0.5)], dim=-1)[None]
    draw = Recorded(candidates, torch.empty(1, 0, 2))
    chosen = uncertain_points(logits, draw, 2, oversample=3.0, importance=1.0)
    assert sorted(chosen[0, :, 0].tolist()) == [0.375, 0.625]


def test_the_rest_of_the_points_is_drawn_afresh() -> None:
    candidates, rest = torch.rand(2, 12, 2), torch.rand(2, 1, 2)
    chosen = uncertain_points(torch.randn(2, 5, 5), Recorded(candidates, rest), 4)
    assert chosen.shape == (2, 4, 2)
    assert torch.equal(chosen[:, 3:], rest)
    for mask in range(2):
        assert all((candidates[mask] == point).all(dim=-1).any() for point in chosen[mask, :3])


def test_a_seed_fixes_the_points() -> None:
    logits = torch.randn(3, 6, 6, requires_grad=True)
    first, second, other = (
        uncertain_points(logits, uniform(torch.Generator().manual_seed(seed)), 10)
        for seed in (7, 7, 8)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not first.requires_grad
    assert first.min() >= 0
    assert first.max() < 1


def test_no_mask_needs_no_points() -> None:
    assert uncertain_points(torch.zeros(0, 4, 4), uniform(torch.Generator()), 8).shape == (0, 8, 2)


@pytest.mark.parametrize(
    ("num_points", "oversample", "importance"),
    [(0, 3.0, 0.75), (4, 0.5, 0.75), (4, 3.0, 1.5), (4, 3.0, -0.1)],
)
def test_impossible_choice_of_points_is_rejected(
    num_points: int, oversample: float, importance: float
) -> None:
    with pytest.raises(ValueError, match="Need num_points >= 1"):
        uncertain_points(
            torch.zeros(1, 2, 2),
            uniform(torch.Generator()),
            num_points,
            oversample=oversample,
            importance=importance,
        )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_four_corners_read_what_sampling_the_map_reads(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 5, 7, generator=generator).contiguous(memory_format=layout)
    points = 1.6 * torch.rand(2, 200, 2, generator=generator) - 0.3  # a third lie outside
    points[:, :4] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    expected = sample_at(maps, points, align_corners=True).mT
    torch.testing.assert_close(features_at(maps, points), expected, rtol=0, atol=1e-5)


def test_a_map_of_one_pixel_is_read() -> None:
    points = torch.tensor([[[0.0, 0.0], [0.7, 0.3]]])
    assert features_at(torch.full((1, 1, 1, 1), 4.0), points)[0, :, 0].tolist() == [4.0, 4.0]


def test_patches_hold_the_neighbours_row_by_row_and_zero_outside() -> None:
    counted = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    corner, centre = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[0.5, 0.5]]])
    assert patches_at(counted, centre, 3).flatten().tolist() == list(range(1, 10))
    assert patches_at(counted, corner, 3).flatten().tolist() == [0, 0, 0, 0, 1, 2, 0, 4, 5]


def test_reading_a_few_points_has_the_right_gradient() -> None:
    maps = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(1, 5, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda each: features_at(each, points), maps)
