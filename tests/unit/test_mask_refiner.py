"""The dense prompt head: what its maps say, that it listens to each, and that it fits every canvas."""

from __future__ import annotations

import pytest
import torch

from seem.config import MaskRefinerConfig, TextMapConfig
from seem.models.mask_refiner import NUM_MAPS, MaskRefiner, prompt_maps, proximity_maps
from seem.models.ops.masks import resize
from seem.models.structures import DecoderQuery, ImageBatch, VisualPrompts
from seem.models.text_embedding_head import (
    TextEmbeddingHead,
    pooled_text_vectors,
    text_similarity_maps,
)
from tiny import tiny_network


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def refiner():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskRefiner(MaskRefinerConfig(dims=(4, 6, 8)), mask_dim=5, query_dim=7).eval()


def nothing(*shape):
    return torch.zeros(*shape, dtype=torch.bool)


# ------------------------------------------------------------------------------------------------ maps


@pytest.mark.parametrize(
    ("distance", "near"),
    [
        (0, 1.0),
        (1, 0.8),
        (2, 0.8),
        (3, 0.6),
        (5, 0.6),
        (6, 0.4),
        (11, 0.4),
        (12, 0.2),
        (23, 0.2),
        (24, 0.0),
        (29, 0.0),
    ],
)
def test_nearness_is_one_on_a_mark_and_falls_in_steps(distance, near):
    marks = torch.zeros(1, 1, 61, 61)
    marks[0, 0, 30, 30] = 1.0
    answer = proximity_maps(marks)[0, 0]
    for dy, dx in ((0, 1), (1, 0), (-1, 0), (0, -1), (1, 1), (-1, 1)):
        assert answer[30 + dy * distance, 30 + dx * distance].item() == pytest.approx(near)


def test_nothing_is_near_where_nothing_is_marked():
    assert not proximity_maps(torch.zeros(2, 3, 7, 9)).any()


def test_the_nearest_of_several_marks_counts():
    marks = torch.zeros(1, 1, 1, 40)
    marks[..., 0] = marks[..., 6] = 1.0
    assert proximity_maps(marks)[0, 0, 0, 3].item() == pytest.approx(0.6)
    assert proximity_maps(marks)[0, 0, 0, 5].item() == pytest.approx(0.8)


def test_a_single_marked_pixel_is_one_cell_of_the_map():
    positive, negative = nothing(1, 2, 32, 32), nothing(1, 2, 32, 32)
    positive[0, 0, 5, 9] = True
    negative[0, 1, 31, 0] = True
    maps = prompt_maps(VisualPrompts(positive, negative), torch.zeros(1, 2, 8, 8), None)
    assert maps.shape == (1, 2, NUM_MAPS, 8, 8)
    assert maps[0, 0, 0].nonzero().tolist() == [[1, 2]]
    assert maps[0, 1, 1].nonzero().tolist() == [[7, 0]]
    assert maps[0, 0, 2, 1, 2] == 1.0
    assert maps[0, 1, 3, 7, 0] == 1.0
    assert not maps[0, 0, [1, 3]].any()
    assert not maps[0, 1, [0, 2]].any()


def test_maps_stay_in_their_ranges():
    marks = noise(2, 3, 64, 96) > 2.5
    maps = prompt_maps(
        VisualPrompts(marks, ~marks), 50 * noise(2, 3, 16, 24), 50 * noise(2, 3, 16, 24, seed=1)
    )
    assert maps.shape == (2, 3, NUM_MAPS, 16, 24)
    assert set(maps[:, :, :2].unique().tolist()) <= {0.0, 1.0}
    assert maps[:, :, 2:4].min() >= 0.0
    assert maps[:, :, 2:4].max() == 1.0
    assert maps[:, :, 4:].abs().max() <= 1.0
    assert maps[:, :, 4:].min() < -0.9


def test_masks_are_squashed_and_a_missing_round_is_zero():
    coarse = torch.tensor([[[[0.0, 2.0], [-2.0, 60.0]]]])
    marks = nothing(1, 1, 8, 8)
    first = prompt_maps(VisualPrompts(marks, marks), coarse, None)[0, 0]
    assert not first[4].any()
    assert first[5].tolist() == [[0.0, pytest.approx(0.761594)], [pytest.approx(-0.761594), 1.0]]
    later = prompt_maps(VisualPrompts(marks, marks), coarse, torch.full((1, 1, 2, 2), 2.0))[0, 0]
    assert later[4].flatten().tolist() == pytest.approx([0.761594] * 4)


def test_boxes_are_a_map_of_their_own():
    marks, box = nothing(1, 1, 32, 32), nothing(1, 1, 32, 32)
    box[..., 8:24, 4:12] = True
    maps = prompt_maps(VisualPrompts(marks, marks, box), torch.zeros(1, 1, 8, 8), None)[0, 0]
    assert maps[6].nonzero().tolist() == [[row, column] for row in range(2, 6) for column in (1, 2)]
    assert not maps[:6].any()
    assert not prompt_maps(VisualPrompts(marks, marks), torch.zeros(1, 1, 8, 8), None)[
        0, 0, 6
    ].any()


def test_what_is_said_is_a_map_too():
    marks = nothing(1, 2, 32, 32)
    likeness = torch.tensor([[[[0.5, -1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    maps = prompt_maps(VisualPrompts(marks, marks), torch.zeros(1, 2, 2, 2), None, likeness)
    assert maps[0, :, 7].tolist() == [[[1.5, -3.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]]


# ------------------------------------------------------------------------------------------------ meaning


PYRAMID = (noise(2, 2, 16, 24), noise(2, 4, 8, 12), noise(2, 5, 4, 6), noise(2, 7, 2, 3))


def meaning():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TextEmbeddingHead((2, 4, 5, 7), 6, TextMapConfig(hidden=3, fine=4))


def test_every_place_has_one_direction_of_the_text_space():
    said = meaning()(PYRAMID)
    assert said.shape == (2, 6, 16, 24)
    assert torch.allclose(said.norm(dim=1), torch.ones(2, 16, 24))


def test_what_is_fine_begins_unheard_and_is_then_heard_in_its_place():
    module, other = meaning(), PYRAMID[0].clone()
    other[:, :, 3, 5] += 1.0
    assert torch.equal(module(PYRAMID), module((other, *PYRAMID[1:])))
    torch.nn.init.normal_(module.correct.weight)
    apart = (module(PYRAMID) != module((other, *PYRAMID[1:]))).any(dim=1)[0]
    assert apart[2:5, 4:7].any()
    assert not apart[:2].any()
    assert not apart[5:].any()


def test_places_are_compared_by_cosine_and_silence_is_nothing():
    places = torch.tensor([[[[1.0, 0.0, 0.6]], [[0.0, 1.0, 0.8]]]])
    vectors = torch.tensor([[[3.0, 0.0], [0.0, 0.0]]])
    assert text_similarity_maps(places, vectors)[0, :, 0].tolist() == [
        [1.0, 0.0, pytest.approx(0.6)],
        [0.0, 0.0, 0.0],
    ]


def test_a_region_means_what_its_places_mean():
    places = torch.zeros(1, 2, 2, 2)
    places[0, 0, 0], places[0, 1, 1] = 1.0, 1.0
    regions = torch.zeros(1, 3, 4, 4)
    regions[0, 0, :2] = 1.0
    regions[0, 1, :] = 1.0
    assert pooled_text_vectors(places, regions)[0].tolist() == [[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]


def test_maps_follow_the_precision_of_the_coarse_mask():
    marks = noise(1, 1, 32, 32) > 1
    maps = prompt_maps(VisualPrompts(marks, marks), noise(1, 1, 8, 8).bfloat16(), None)
    assert maps.dtype is torch.bfloat16


# ------------------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize("hw", [(1, 1), (1, 7), (5, 9), (6, 11), (8, 8), (13, 10), (15, 31)])
def test_the_answer_is_twice_as_fine_as_the_maps_at_any_size(hw):
    answer = refiner()(noise(2, 5, *hw), noise(2, 3, NUM_MAPS, *hw), noise(2, 3, 7))
    assert answer.logits.shape == (2, 3, 2 * hw[0], 2 * hw[1])
    assert answer.quality_logits.shape == (2, 3)


@pytest.mark.parametrize("hw", [(32, 32), (32, 96), (96, 64), (160, 224)])
@torch.inference_mode()
def test_every_canvas_of_whole_thirty_twos_fits(hw):
    network = tiny_network("nano")
    image = network.encode_image(ImageBatch(noise(1, 3, *hw), (hw,)))
    marks = nothing(1, 1, *hw)
    marks[..., :3, :3] = True
    prompts = VisualPrompts(marks, ~marks)
    tokens = network.encode_prompts(prompts, image)
    output = network.decode(
        image,
        DecoderQuery(visual=tokens, num_objects=1),
        frozenset({network.decoder.policy.visual}),
    )
    coarse = image.pixels.mask_features.logits(output.visual.mask_embeddings)
    maps = prompt_maps(prompts, coarse, None)
    assert maps.shape[-2:] == (hw[0] // 4, hw[1] // 4)
    refined = network.mask_refiner(
        image.pixels.mask_features.maps, maps, output.visual.class_vectors
    )
    assert refined.logits.shape == (1, 1, hw[0] // 2, hw[1] // 2)


@pytest.mark.parametrize("canvas", [(30, 46), (33, 61)])
def test_canvases_that_strides_do_not_divide_fit_too(canvas):
    hw = (-(-canvas[0] // 4), -(-canvas[1] // 4))
    marks = noise(1, 2, *canvas) > 2
    maps = prompt_maps(VisualPrompts(marks, marks), noise(1, 2, *hw), noise(1, 2, *hw, seed=1))
    assert (maps[:, :, 0].flatten(2).any(dim=2) == marks.flatten(2).any(dim=2)).all()
    answer = refiner()(noise(1, 5, *hw), maps, noise(1, 2, 7))
    assert answer.logits.shape == (1, 2, 2 * hw[0], 2 * hw[1])


def test_final_masks_fit_the_next_round():
    final = torch.tensor([[[[1.0, 3.0, 0.0, 0.0], [5.0, 7.0, 0.0, 8.0]]]])
    assert resize(final, (1, 2)).tolist() == [[[[4.0, 2.0]]]]
    assert torch.equal(resize(final, (2, 4)), final)


def test_photos_and_objects_do_not_influence_each_other():
    network = refiner()
    features, maps, queries = noise(2, 5, 9, 12), noise(2, 3, NUM_MAPS, 9, 12), noise(2, 3, 7)
    together = network(features, maps, queries)
    for b in range(2):
        for n in range(3):
            alone = network(
                features[b : b + 1], maps[b : b + 1, n : n + 1], queries[b : b + 1, n : n + 1]
            )
            assert torch.allclose(alone.logits[0, 0], together.logits[b, n], atol=1e-5)
            assert torch.allclose(
                alone.quality_logits[0, 0], together.quality_logits[b, n], atol=1e-5
            )


def test_training_and_evaluation_mode_agree():
    network, seen = refiner(), (noise(1, 5, 8, 8), noise(1, 1, NUM_MAPS, 8, 8), noise(1, 1, 7))
    assert torch.equal(network.eval()(*seen).logits, network.train()(*seen).logits)


def test_every_map_and_the_query_are_listened_to():
    features, maps, queries = (noise(1, 5, 8, 8), noise(1, 1, NUM_MAPS, 8, 8), noise(1, 1, 7))
    for seen in (features, maps, queries):
        seen.requires_grad_()
    for answer in (
        refiner()(features, maps, queries).logits,
        refiner()(features, maps, queries).quality_logits,
    ):
        by_features, by_maps, by_queries = torch.autograd.grad(
            answer.sum(), (features, maps, queries)
        )
        assert by_features.any()
        assert by_queries.any()
        assert all(by_maps[0, 0, i].any() for i in range(NUM_MAPS))
