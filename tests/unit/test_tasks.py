import math

import pytest
import torch

from seem.models.decoder.draws import FairDraws
from seem.models.structures import QueryOutputs, VisualPrompts
from seem.tasks import instance, panoptic, semantic
from seem.tasks.interactive import apply_outlines, clip_to_bounds, prompt_agreement, top_queries
from seem.tasks.labels import categories_from_queries
from seem.tasks.postprocess import (
    ImageFrame,
    each_to_image_size,
    to_image_masks,
    to_image_size,
    to_input_size,
)

YES, NO = 9.0, -9.0  # logits that are certain
FRAME = ImageFrame((2, 4), (2, 4), (2, 4))


def drawn(*masks):
    """Draw mask logits: '#' inside."""
    return torch.tensor(
        [[[YES if pixel == "#" else NO for pixel in row] for row in mask] for mask in masks]
    )


def classes(*rows):
    """Class logits whose softmax is what is written, the last entry being "no object"."""
    return torch.tensor(rows, dtype=torch.float64).log().float()


CAT, SKY, NOTHING = 0, 1, 2
IS_THING = torch.tensor([True, False])
LEFT, RIGHT, ALL = ["##..", "##.."], ["..##", "..##"], ["####", "####"]


# --- Panoptic ---------------------------------------------------------------------------------------------------------


def merged_queries(class_logits, mask_logits, threshold=0.8):
    confident = panoptic.select_confident(class_logits, threshold)
    return panoptic.merge_masks(confident, mask_logits[confident.queries], (2, 4), IS_THING)


def test_only_confident_queries_take_part():
    sure = panoptic.select_confident(
        classes([0.9, 0.05, 0.05], [0.1, 0.7, 0.2], [0.1, 0.1, 0.8], [0.2, 0.75, 0.05]), 0.72
    )
    assert sure.queries.tolist() == [0, 3]
    assert sure.categories.tolist() == [CAT, SKY]
    assert sure.scores.tolist() == pytest.approx([0.9, 0.75])


@pytest.mark.parametrize(
    ("scores", "masks", "ids", "segments"),
    [
        (
            [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]],
            (LEFT, RIGHT),
            [1, 1, 2, 2],
            [(1, CAT, True), (2, SKY, False)],
        ),
        (
            [[0.9, 0.05, 0.05]] * 2,
            (LEFT, RIGHT),
            [1, 1, 2, 2],
            [(1, CAT, True), (2, CAT, True)],
        ),  # two cats
        ([[0.05, 0.9, 0.05]] * 2, (LEFT, RIGHT), [1, 1, 1, 1], [(1, SKY, False)]),  # one sky
        (
            [[0.95, 0.02, 0.03], [0.02, 0.85, 0.13]],
            (ALL, RIGHT),
            [1, 1, 1, 1],
            [(1, CAT, True)],
        ),  # all of it taken
        (
            [[0.9, 0.05, 0.05], [0.02, 0.95, 0.03]],
            (ALL, RIGHT),
            [0, 0, 1, 1],
            [(1, SKY, False)],
        ),  # half of it taken
        ([[0.05, 0.05, 0.9]] * 2, (LEFT, RIGHT), [0, 0, 0, 0], []),
    ],
    ids=["thing and stuff", "two things", "stuff is one", "hidden", "cut in half", "no object"],
)
def test_queries_compete_for_pixels(scores, masks, ids, segments):
    merged = merged_queries(classes(*scores), drawn(*masks))
    assert merged.ids.tolist() == [ids, ids]
    assert [(s.id, s.category, s.is_thing) for s in merged.segments] == segments


def test_a_mask_that_is_nowhere_is_no_segment():
    merged = merged_queries(classes([0.9, 0.05, 0.05]), drawn(["....", "...."]))
    assert merged.segments == ()
    assert not merged.ids.any()


def test_equal_claims_go_to_the_first():
    owner, masks = panoptic.assign_pixels(torch.tensor([0.5, 0.5]), drawn(ALL, ALL), (2, 4))
    assert owner.unique().tolist() == [0]
    assert [mask.all().item() for mask in masks] == [True, True]


def test_masks_that_come_one_by_one_are_merged_alike():
    class_logits, masks = classes([0.9, 0.05, 0.05], [0.05, 0.9, 0.05]), drawn(LEFT, RIGHT)
    sure = panoptic.select_confident(class_logits, 0.5)
    together, apart = (
        panoptic.merge_masks(sure, given, (2, 4), IS_THING) for given in (masks, iter(masks))
    )
    assert torch.equal(together.ids, apart.ids)
    assert together.segments == apart.segments
    assert len(apart.segments) == 2


def test_no_query_at_all_is_an_empty_map():
    sure = panoptic.select_confident(classes([0.1, 0.1, 0.8]), 0.5)
    merged = panoptic.merge_masks(
        sure, each_to_image_size(drawn(ALL)[sure.queries], FRAME), (2, 4), IS_THING
    )
    assert merged.segments == ()
    assert merged.ids.shape == (2, 4)


# --- Instances --------------------------------------------------------------------------------------------------------


def test_the_best_pairs_of_query_and_thing_are_instances():
    found = instance.top_query_classes(classes([0.6, 0.3, 0.1], [0.8, 0.1, 0.1]), IS_THING, top=3)
    assert found.queries.tolist() == [1, 0]  # the third best pair is stuff
    assert found.classes.tolist() == [CAT, CAT]
    assert found.scores.tolist() == pytest.approx([0.8, 0.6], abs=1e-3)


def test_one_query_may_stand_for_several_things():
    found = instance.top_query_classes(classes([0.5, 0.4, 0.1]), torch.tensor([True, True]), top=2)
    assert (found.queries.tolist(), found.classes.tolist()) == ([0, 0], [0, 1])


def test_stuff_alone_has_no_instances():
    found = instance.top_query_classes(classes([0.6, 0.3, 0.1]), torch.tensor([False, False]))
    assert len(found.queries) == len(found.scores) == len(found.classes) == 0


@pytest.mark.parametrize(
    ("logits", "sureness"),
    [
        ([[YES, NO]], 1.0),
        ([[math.log(3), NO]], 0.75),
        ([[math.log(3), YES]], 0.875),
        ([[NO, NO]], 0.0),
        ([[0, 0]], 0),
    ],
)
def test_a_mask_is_as_sure_as_its_pixels(logits, sureness):
    assert float(instance.foreground_probability(torch.tensor(logits).float())) == pytest.approx(
        sureness, abs=1e-3
    )


# --- Semantic ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [1 << 28, 0], ids=["masks resized", "scores resized"])
def test_the_best_class_of_every_pixel_wins(monkeypatch, largest):
    monkeypatch.setattr(semantic, "MAX_RESIZED_VALUES", largest)
    scores, masks = classes([0.9, 0.05, 0.05], [0.1, 0.8, 0.1]), drawn(LEFT, ALL)
    best = semantic.classify_by_queries(scores, masks, FRAME)
    assert best.classes.tolist() == [[CAT, CAT, SKY, SKY]] * 2
    probability = scores.softmax(dim=-1).T[:-1]
    expected = torch.stack([*semantic.class_scores(probability, masks.sigmoid())]).max(dim=0)
    torch.testing.assert_close(best.scores, expected.values)
    assert torch.equal(best.classes, expected.indices)


def test_blocks_of_pixels_choose_the_classes_that_all_pixels_together_choose(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    # fractions of two, whose sums are exact in any order
    probability = torch.randint(0, 9, (5, 7), generator=generator) / 8
    masks = torch.randint(0, 9, (7, 23), generator=generator) / 8
    probability[4] = probability[3]  # the first of equals wins
    expected = (probability @ masks).max(dim=0)
    assert set(expected.indices.tolist()) >= {0, 3}
    for size in (1, 10, 23, 100):
        monkeypatch.setattr(semantic, "PIXELS_OF_BLOCK", size)
        scores, winners = semantic.best_class_in_blocks(probability, masks)
        torch.testing.assert_close(scores, expected.values)
        assert torch.equal(winners, expected.indices)


def test_with_a_background_a_pixel_may_be_none_of_the_classes():
    scores, masks = classes([0.9, 0.05, 0.05], [0.1, 0.2, 0.7]), drawn(LEFT, RIGHT)
    assert (
        semantic.classify_by_queries(scores, masks, FRAME).classes.tolist()
        == [[CAT, CAT, SKY, SKY]] * 2
    )
    best = semantic.classify_by_queries(scores, masks, FRAME, background=True)
    assert best.classes.tolist() == [[CAT, CAT, NOTHING, NOTHING]] * 2


def test_places_take_the_name_that_they_are_most_like():
    places = torch.tensor(
        [[[3.0, 0.0]], [[1.0, 2.0]], [[9.0, -9.0]]]
    )  # cat, sky, background at two places
    best = semantic.classify_by_text_map(places, FRAME)
    assert best.classes.tolist() == [[CAT, CAT, SKY, SKY]] * 2
    assert best.scores[0, 0] == pytest.approx(1 / (1 + math.exp(-2)), abs=0.02)
    assert (
        semantic.classify_by_text_map(places, FRAME, background=True).classes.tolist()
        == [[NOTHING, NOTHING, SKY, SKY]] * 2
    )


def test_classes_are_shown_that_a_photo_surely_holds_and_some_places_surely_show():
    few = torch.zeros(3, 10, 20)
    few[2, 0, :2] = 2.0  # e^2 to 1 and 1: 0.79, in one place of a hundred

    def shown(*there):
        rows, sure = semantic.classes_in_image(few, torch.tensor(there))
        return rows.tolist(), sure

    assert shown(0.9, 0.6, 0.9) == ([2], True)
    assert shown(0.9, 0.8, 0.6) == ([2], False)  # none is sure: 0.6 of 0.79 is most
    assert shown(0.9, 0.8, 0.3) == ([0], False)
    few[:2] = 3.0
    assert shown(0.8, 0.8, 1.0) == ([0, 1], True)


def test_the_first_of_equal_scores_wins():
    assert semantic.best_class_per_pixel(
        [torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])]
    ).classes.tolist() == [[0, 1]]


# --- Labels -----------------------------------------------------------------------------------------------------------

OBJECTS = drawn(LEFT, ["...#", "...#"], ALL)
NAMES = classes([0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.1, 0.2, 0.7])


@pytest.mark.parametrize(
    ("mask", "category", "score"),
    [
        (LEFT, CAT, 0.8),
        (["##..", "#..."], CAT, 0.75 * 0.8),
        (["..##", "..##"], SKY, 0.5 * 0.6),
        (ALL, SKY, 0.2),  # the best name that is not "no object"
        (["...#", "...."], SKY, 0.5 * 0.6),
        ([".#..", "...."], None, 0.0),  # a quarter of the best fit
        (["....", "...."], None, 0.0),
    ],
)
def test_a_mask_gets_the_name_of_the_object_that_fits_it_best(mask, category, score):
    named = categories_from_queries(drawn(mask), OBJECTS, NAMES)
    assert named.categories == (category,)
    assert named.scores == pytest.approx((score,))


def test_a_name_that_is_hardly_meant_is_not_said():
    assert categories_from_queries(
        drawn(LEFT), drawn(LEFT), classes([0.1, 0.04, 0.86])
    ).categories == (None,)


def test_masks_of_another_size_are_compared_at_the_objects_size():
    fine = torch.nn.functional.interpolate(drawn(LEFT, ALL)[None], scale_factor=2, mode="nearest")[
        0
    ]
    assert categories_from_queries(fine, OBJECTS, NAMES).categories == (CAT, SKY)


def test_no_mask_needs_no_name():
    assert categories_from_queries(torch.zeros(0, 2, 4), OBJECTS, NAMES).categories == ()


# --- Which query answers ----------------------------------------------------------------------------------------------


def test_each_object_is_answered_by_the_query_nearest_to_its_prompt():
    queries = torch.tensor(
        [[[1.0, 0], [0, 1], [1, 0], [0, 1]]]
    )  # two queries for each of two objects
    prompt_vectors = torch.tensor([[[0.0, 1], [1, 0]]])
    answers = QueryOutputs(class_vectors=queries * 2, mask_embeddings=queries)
    chosen = top_queries(answers, prompt_agreement(answers, prompt_vectors))
    assert chosen.queries.tolist() == [[1, 0]]
    assert chosen.mask_embeddings.tolist() == [[[0, 1], [1, 0]]]
    assert chosen.class_vectors.tolist() == [[[0, 2], [2, 0]]]


def filled(x0, y0, x1, y1):
    """Fill a box on a network input of 64 x 96."""
    canvas = torch.zeros(64, 96, dtype=torch.bool)
    canvas[y0:y1, x0:x1] = True
    return canvas


def test_a_mask_ends_near_what_bounds_it():
    nothing, box = filled(0, 0, 0, 0), filled(16, 8, 56, 48)  # 40 x 40: four pixels of slack
    far_click = filled(80, 30, 83, 33)
    bounds = torch.stack([box, nothing, box, box])[None]
    positive = torch.stack([nothing, box, far_click, filled(30, 30, 33, 33)])[None]
    logits = torch.full((1, 4, 32, 48), 5.0)  # stride 2
    kept = clip_to_bounds(logits, VisualPrompts(positive, torch.zeros_like(positive), bounds))[0]
    inside = filled(12, 4, 60, 52)[::2, ::2]
    for row in (0, 3):  # a box alone, or with a click in it
        assert torch.equal(kept[row] > 0, inside)
        assert (kept[row][~inside] == -3).all()
    for row in (1, 2):  # marks alone bound nothing, and who clicks beyond a box means it
        assert torch.equal(kept[row], logits[0, row])
    unbounded = VisualPrompts(positive, torch.zeros_like(positive))
    assert clip_to_bounds(logits, unbounded) is logits
    low = clip_to_bounds(
        torch.full((1, 4, 32, 48), -9.0),
        VisualPrompts(positive, torch.zeros_like(positive), bounds),
    )
    assert (low == -9).all()  # nothing comes closer


def test_an_outline_marks_and_bounds_its_object_but_where_marks_correct_it():
    nothing, outline = (
        filled(0, 0, 0, 0),
        filled(16, 8, 56, 48),
    )  # 40 x 40: about two pixels around a mark
    wrong, missed = filled(50, 40, 51, 41), filled(60, 20, 61, 21)
    positive, negative = (
        torch.stack([nothing, missed, missed])[None],
        torch.stack([nothing, wrong, wrong])[None],
    )
    areas = torch.stack([outline, outline, nothing])[None]
    prompts, kept = apply_outlines(
        VisualPrompts(positive, negative, torch.zeros_like(areas)), areas
    )
    assert torch.equal(prompts.negative, negative)
    assert torch.equal(prompts.positive[0, 0], outline)  # alone
    assert torch.equal(prompts.bounds[0, 0], outline)
    assert not (prompts.positive & negative).any()
    assert torch.equal(
        prompts.positive[0, 1], (outline & ~filled(48, 38, 54, 44)) | missed
    )  # cells around the click
    assert torch.equal(prompts.bounds[0, 1], outline | filled(58, 18, 64, 24))
    assert torch.equal(kept[0, 1], outline & ~filled(48, 38, 54, 44))
    assert torch.equal(prompts.positive[0, 2], missed)  # no outline: as it was
    assert not prompts.bounds[0, 2].any()
    untouched = VisualPrompts(positive, negative, torch.zeros_like(areas))
    assert apply_outlines(untouched, torch.zeros_like(areas))[0] is untouched


def test_every_object_has_a_fair_share_of_the_points():
    owner = torch.tensor([0] * 9 + [1] * 100 + [2] * 9)
    kept = FairDraws().points(owner, 48)
    assert torch.bincount(owner[kept]).tolist() == [9, 30, 9]


# --- Back to the photo ------------------------------------------------------------------------------------------------


def test_padding_is_cut_off_before_masks_grow():
    frame = ImageFrame(padded_hw=(4, 8), input_hw=(4, 6), output_hw=(8, 12))
    logits = torch.full((1, 4, 8), NO)
    logits[..., 6:] = YES  # only the padding is inside
    assert to_input_size(logits, frame).shape == (1, 4, 6)
    assert not to_image_masks(logits, frame).any()


@pytest.mark.parametrize("output", [(1, 1), (3, 500), (37, 53), (4, 6)])
def test_masks_have_the_photos_size(output):
    frame = ImageFrame((4, 8), (4, 6), output)
    logits = torch.linspace(-1, 1, 2 * 1 * 2).reshape(2, 1, 2)
    assert to_image_size(logits, frame).shape == (2, *output)
    assert torch.equal(to_image_masks(logits, frame), to_image_size(logits, frame) > 0)


def test_no_mask_stays_none():
    frame = ImageFrame((4, 8), (4, 6), (37, 53))
    assert to_image_size(torch.zeros(0, 1, 2), frame).shape == (0, 37, 53)
    assert to_image_masks(torch.zeros(0, 1, 2), frame).shape == (0, 37, 53)
    assert to_input_size(torch.zeros(0, 1, 2), frame).shape == (0, 4, 6)


def test_a_threshold_other_than_zero_is_honoured():
    assert to_image_masks(torch.full((1, 2, 4), 1.0), FRAME, threshold=2.0).any().item() is False
