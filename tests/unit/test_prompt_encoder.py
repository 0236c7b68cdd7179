"""Prompted pixels to tokens, on maps whose answers can be read off."""

from dataclasses import replace

import pytest
import torch

from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import SEEM_V0, SEEM_V1
from seem.models.mask_features import MaskFeatures
from seem.models.ops.points import features_at
from seem.models.prompt_encoder import PromptEncoder, SampledPixels, mean_by_owner
from seem.models.structures import PixelFeatures, VisualPrompts

SIZE = 16  # network pixels; masks are a quarter of it


def ramps(height, width):
    """A map whose two channels are each pixel's x and y, 0 to 1."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack((x, y))[None]


def pixels(batch=1):
    """A photo that shows coordinates at every level."""
    levels = tuple(ramps(size, size).expand(batch, -1, -1, -1) for size in (2, 4, 8))
    return PixelFeatures(MaskFeatures(ramps(4, 4).expand(batch, -1, -1, -1)), levels)


def encoder(policy=SEEM_V1, **changes):
    """An encoder that shows what it reads: projections are one, a positive token gains 10, a negative 20."""
    made = PromptEncoder(dim=2, policy=replace(policy, **changes))
    with torch.no_grad():
        made.signs.copy_(torch.tensor([[10.0, 10.0], [20.0, 20.0]]))
        for projection in made.level_projections:
            projection.copy_(torch.eye(2))
    return made.requires_grad_(False)


def drawn(*objects):
    """Masks of the objects of one photo; each is a list of (x, y) pixels."""
    masks = torch.zeros(1, len(objects), SIZE, SIZE, dtype=torch.bool)
    for mask, places in zip(masks[0], objects, strict=True):
        for x, y in places:
            mask[y, x] = True
    return masks


def encode(positive, negative, made=None):
    made = made or encoder()
    return made(VisualPrompts(positive, negative), pixels(len(positive)), FairDraws())


def test_coordinates_are_the_pixel_index_by_the_size():
    tokens = encode(drawn([(4, 8)]), drawn([]))
    for level in tokens.levels:
        assert level[0, 0].tolist() == pytest.approx([10 + 4 / SIZE, 10 + 8 / SIZE])
    assert tokens.positive_vectors[0, 0].tolist() == pytest.approx([4 / SIZE, 8 / SIZE])


def test_zero_and_one_are_the_middles_of_the_outermost_pixels():
    corners = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]]])
    assert features_at(ramps(3, 5), corners)[0].tolist() == [[0, 0], [1, 0], [0.5, 1]]


def test_half_precision_reads_a_map_at_the_same_place():
    points = torch.rand(1, 500, 2, generator=torch.Generator().manual_seed(0))
    counted = torch.arange(256.0).expand(
        1, 1, 256, 256
    )  # whole numbers up to 256 are exact in bfloat16
    coarse, fine = (
        features_at(counted.to(kind), points).float() for kind in (torch.bfloat16, torch.float32)
    )
    assert (coarse - fine).abs().max() <= 0.5  # the rounding of what was read
    assert (coarse - fine).abs()[fine < 64].max() <= 0.125


def test_positive_tokens_come_first_and_signs_tell_them_apart():
    tokens = encode(drawn([(0, 0)]), drawn([(0, 0), (8, 0)]))
    assert tokens.levels[0][0, :, 0].tolist() == [10, 20, 20.5]


def test_every_token_knows_its_object():
    tokens = encode(drawn([(1, 1)], [], [(2, 2), (3, 3)]), drawn([], [(5, 5)], []))
    assert tokens.owner.tolist() == [[0, 2, 2, 1]]
    assert tokens.num_objects == 3


def test_a_pixel_of_two_objects_is_two_tokens():
    tokens = encode(drawn([(1, 1)], [(1, 1)]), drawn([], []))
    assert tokens.owner.tolist() == [[0, 1]]
    assert torch.equal(tokens.levels[0][0, 0], tokens.levels[0][0, 1])


def test_vectors_are_means_over_an_objects_own_pixels():
    tokens = encode(drawn([(0, 0), (8, 0)], [(4, 12)]), drawn([], [(0, 8)]))
    assert tokens.positive_vectors[0].tolist() == [[0.25, 0.0], [0.25, 0.75]]
    assert tokens.negative_vectors[0].tolist() == [[SEEM_V1.no_points] * 2, [0.0, 0.5]]


@pytest.mark.parametrize(("policy", "component"), [(SEEM_V1, -1.0), (SEEM_V0, 0.0)])
def test_an_object_without_pixels_has_no_tokens_and_the_official_vector(policy, component):
    tokens = encode(drawn([]), drawn([]), encoder(policy))
    assert [level.shape for level in tokens.levels] == [(1, 0, 2)] * 3
    assert torch.cat((tokens.positive_vectors, tokens.negative_vectors)).unique().tolist() == [
        component
    ]


BOX = [(x, y) for x in range(10) for y in range(10)]


@pytest.mark.parametrize(
    ("policy", "owner"),
    [(SEEM_V1, [0] * 6 + [1] + [0] * 7), (SEEM_V0, [0] * 7 + [1] + [0] * 7)],
    ids=["v1", "v0"],
)
def test_at_most_so_many_pixels_of_each_sign_together_or_for_each_object(policy, owner):
    tokens = encode(drawn(BOX, [(15, 15)]), drawn(BOX, []), encoder(policy, max_points=7))
    assert tokens.owner.tolist() == [owner]


def test_the_shorter_photo_of_a_batch_is_padded():
    one, three = drawn([(4, 8)], []), drawn([(0, 0), (1, 0)], [(2, 0)])
    both = encode(torch.cat((one, three)), drawn([], []).expand(2, -1, -1, -1))
    assert both.owner.tolist() == [[0, -1, -1], [0, 0, 1]]
    alone = encode(one, drawn([], []))
    assert torch.equal(both.levels[2][:1, :1], alone.levels[2])
    assert torch.equal(both.positive_vectors[:1], alone.positive_vectors)


def test_padding_belongs_to_nobody():
    marks = SampledPixels(torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]), torch.tensor([[0, -1]]))
    assert mean_by_owner(MaskFeatures(ramps(4, 4)), marks, 2, default=-1.0)[0].tolist() == [
        [0, 0],
        [-1, -1],
    ]
