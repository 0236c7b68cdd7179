"""Mask features whose convolution is left out answer as if it had been applied."""

import pytest
import torch
from torch import nn

from seem import config
from seem.models.build import build
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.mask_features import MAX_PLANES, MaskFeatures
from seem.models.ops.masks import dot, resize
from seem.models.structures import DecoderQuery, ImageBatch, VisualPrompts
from seem.tasks.interactive import segment_objects
from tiny import tiny_network, tiny_relative

IN, OUT, HEIGHT, WIDTH = 6, 5, 16, 24


def noise(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture(params=[1, 3], ids=["1x1", "3x3"])
def features(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = nn.Conv2d(IN, OUT, request.param, padding=request.param // 2).double()
    cells = noise(2, IN, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    return MaskFeatures(cells, convolution.requires_grad_(False))


@pytest.mark.parametrize(
    "num_queries", [0, 1, MAX_PLANES // 9, MAX_PLANES // 9 + 1, MAX_PLANES + 1]
)
def test_masks_of_few_and_many_queries_are_products_with_the_mask_features(features, num_queries):
    embeddings = noise(2, num_queries, OUT, seed=1)
    masks = features.logits(embeddings)
    torch.testing.assert_close(masks, dot(embeddings, features.maps), rtol=0, atol=1e-12)
    torch.testing.assert_close(masks, features.applied().logits(embeddings), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_shrunk_maps_are_shrunk_mask_features(features, factor):
    hw = (HEIGHT // factor, WIDTH // factor)
    expected = resize(features.maps, hw)
    torch.testing.assert_close(features.shrunk(hw), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(features.applied().shrunk(hw), expected, rtol=0, atol=1e-12)


POINTS = {
    "inside": (0.31, 0.77),
    "on a cell": (3 / (WIDTH - 1), 5 / (HEIGHT - 1)),
    "corner": (0.0, 0.0),
    "opposite corner": (1.0, 1.0),
    "at the border": (0.999, 0.5),
    "partly outside": (1 + 0.4 / (WIDTH - 1), 0.5),
    "outside": (-0.5, 2.0),
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_sums_at_points_are_sums_of_mask_features(features, point):
    points = torch.tensor([[point, (0.5, 0.5)]], dtype=torch.float64).expand(2, -1, -1)
    weights = torch.tensor([[[1.0, 0.0], [0.25, 2.0]]], dtype=torch.float64).expand(2, -1, -1)
    expected = features.applied().sums_at(points, weights)
    torch.testing.assert_close(features.sums_at(points, weights), expected, rtol=0, atol=1e-12)
    if point == POINTS["outside"]:
        assert not expected[:, 0].any()


def test_half_precision_masks_are_those_of_single_precision():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    cells = resize(noise(1, 64, 6, 8, dtype=torch.float32), (48, 64)).relu()
    for num_queries in (2, 20):
        embeddings = noise(1, num_queries, 64, seed=1, dtype=torch.float32)
        exact = dot(embeddings, convolution(cells)) > 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            halves = MaskFeatures(cells.bfloat16(), convolution).logits(embeddings)
        assert halves.dtype == torch.bfloat16
        inside = halves > 0
        assert (inside & exact).sum() / (inside | exact).sum() > 0.98


# --- In the network ---------------------------------------------------------------------------------------------------


def photo(hw=(64, 96)):
    return ImageBatch(noise(1, 3, *hw), (hw,))


@torch.no_grad()
def test_an_image_answers_alike_with_and_without_the_convolution():
    network = tiny_network("seem-focal-t-v1").double()
    folded, dense = (network.encode_image(photo(), many_masks=many) for many in (False, True))
    assert folded.pixels.mask_features.convolution is not None
    assert dense.pixels.mask_features.convolution is None
    marks = torch.zeros(1, 2, 64, 96, dtype=torch.bool)
    marks[0, 0, 0:3, 90:96] = True
    marks[0, 1, 20:40, 20:60] = True
    previous, answers = [None, None], []
    for _ in range(3):
        for index, image in enumerate((folded, dense)):
            prompts = VisualPrompts(marks, marks.flip(1))
            answer = segment_objects(network, image, prompts, FairDraws(), previous=previous[index])
            previous[index] = answer.logits
            answers.append((answer.logits, answer.class_vectors))
        for mine, theirs in zip(*answers[-2:], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)
    both = [
        network.decode(image, DecoderQuery(), frozenset({RowKind.OBJECT})).object
        for image in (folded, dense)
    ]
    torch.testing.assert_close(both[0].class_vectors, both[1].class_vectors, rtol=0, atol=1e-9)


@pytest.mark.parametrize("network", ["nano", "xdecoder"])
def test_who_reads_the_map_itself_gets_it(network):
    model = tiny_network("nano") if network == "nano" else tiny_relative("xdecoder").network
    pixels = photo().pixels.float()
    with torch.no_grad():
        image = model.encode_image(ImageBatch(pixels, ((64, 96),)))
    assert image.pixels.mask_features.convolution is None


def test_every_published_model_has_a_convolution_that_can_be_left_out():
    for make in (config.seem_focal_t_v1, config.seem_samvit_b_v1, config.seem_davit_d3_v1):
        with torch.device("meta"):
            convolution = build(make()).mask_convolution
        assert convolution.kernel_size in ((1, 1), (3, 3))
        assert convolution.padding == (convolution.kernel_size[0] // 2,) * 2
        assert convolution.bias is not None
