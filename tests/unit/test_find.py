"""Everything that a phrase fits, and an embedding for every mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.inference.dense_recognizer import split_components
from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prediction import ImageRegions
from seem.inference.prompt_decoder import PromptDecoder
from seem.models.structures import QueryOutputs
from seem.prompts import Point, Text
from seem.tasks.find import add_rival_logits, content_words, match_phrases, rival_names
from seem.tasks.interactive import distinct_masks, top_queries
from seem.vocabulary import Vocabulary
from tiny import picture, tiny_model, tiny_relative

YES, NO = 9.0, -9.0


def drawn(*masks):
    return torch.tensor(
        [[[YES if pixel == "#" else NO for pixel in row] for row in mask] for mask in masks]
    )


def fits(*rows):
    """Logits whose softmax is what is written, the last entry being the background."""
    return torch.tensor(rows, dtype=torch.float64).log().float()


LEFT, MOST, RIGHT, NOWHERE = ["##..", "##.."], ["##..", "###."], ["..##", "..##"], ["....", "...."]

# --- The rule ---------------------------------------------------------------------------------------------------------


def test_queries_that_fit_come_best_first_with_their_phrase():
    found = match_phrases(
        fits([0.1, 0.7, 0.2], [0.9, 0.0, 0.1], [0.3, 0.3, 0.4]), drawn(LEFT, RIGHT, LEFT), 0.5
    )
    assert found.queries.tolist() == [1, 0]
    assert found.phrases.tolist() == [0, 1]
    assert found.phrase_scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.scores.tolist() == pytest.approx(
        [0.9, 0.7], abs=1e-3
    )  # times a mask that is sure of itself


def test_an_object_is_found_once():
    found = match_phrases(fits([0.7, 0.3], [0.9, 0.1], [0.8, 0.2]), drawn(LEFT, MOST, RIGHT), 0.5)
    assert found.queries.tolist() == [1, 2]


def test_a_mask_that_is_not_sure_of_itself_scores_lower():
    masks = drawn(LEFT, RIGHT)
    masks[0] = masks[0].clamp(max=0.1)  # 52%
    found = match_phrases(fits([0.9, 0.1], [0.8, 0.2]), masks, 0.5)
    assert found.queries.tolist() == [1]
    assert match_phrases(fits([0.9, 0.1], [0.8, 0.2]), masks, 0.4).queries.tolist() == [1, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.95])
def test_an_empty_mask_and_a_low_score_are_left_out(threshold):
    found = match_phrases(fits([0.9, 0.1], [0.2, 0.8]), drawn(NOWHERE, LEFT), threshold)
    assert found.queries.tolist() == ([1] if threshold == 0 else [])
    assert len(found.scores) == len(found.phrases) == len(found.queries)


@pytest.mark.parametrize(
    ("masks", "kept"),
    [
        ((LEFT, LEFT, RIGHT), [0, 2]),
        ((LEFT, MOST, RIGHT), [0, 1, 2]),
        ((LEFT, NOWHERE, RIGHT), [0, 2]),
        ((NOWHERE, NOWHERE), [0]),
    ],
    ids=["the same twice", "nearly", "an empty one", "all empty"],
)
def test_masks_that_are_nearly_the_same_are_one(masks, kept):
    assert distinct_masks(drawn(*masks) > 0) == kept


def test_the_best_queries_of_each_object_are_taken_in_order():
    vectors = torch.arange(6.0)[None, :, None]  # two objects of three queries each
    scores = torch.tensor([[[0.1, 0.3, 0.2], [0.9, 0.1, 0.5]]])
    one, two = (top_queries(QueryOutputs(vectors, vectors * 2), scores, top) for top in (1, 2))
    assert one.queries.tolist() == [[1, 0]]
    assert one.class_vectors.flatten().tolist() == [1.0, 3.0]
    assert two.queries.tolist() == [[1, 2, 0, 2]]
    assert two.mask_embeddings.flatten().tolist() == [2.0, 4.0, 6.0, 10.0]
    assert top_queries(QueryOutputs(vectors, vectors), scores, 9).queries.tolist() == [
        [1, 2, 0, 0, 2, 1]
    ]


def test_words_choose_where_nothing_is_marked_as_meant():
    """A negative click says where the object is not, so it cannot say which query is right."""
    photo = tiny_relative("seem-v0").encode(picture(53, 37))
    beside = Point(40, 30, positive=False)
    ranked = photo.segment(Text("a cat"), beside, candidates=4)
    phrase = photo.model.encode_phrases(["a cat"]).phrases.detach().numpy()[0]
    likeness = ranked.embeddings @ phrase
    assert (np.diff(likeness) <= 1e-6).all()
    assert ranked.kind == "visual, with the phrase"


@pytest.mark.parametrize(
    ("meant", "objects"),
    [
        ("#########", ["#########"]),
        ("##.#####.", ["...#####.", "##......."]),
        ("#." + "#" * 11, [".." + "#" * 11]),
        ("#.#.#.#.#.#.#", ["." * n + "#" + "." * (12 - n) for n in range(0, 13, 2)]),
        (".........", []),
    ],
    ids=["one", "two islands", "a speck", "seven small ones", "nothing"],
)
def test_a_mask_is_divided_into_its_islands(meant, objects):
    logits = torch.tensor([[YES if pixel == "#" else NO for pixel in meant]])
    assert [
        "".join("#" if value > 0 else "." for value in part[0].tolist())
        for part in split_components(logits)
    ] == objects


def test_islands_keep_the_edges_of_the_mask_that_they_were_cut_from():
    meant = torch.full((6, 12), -0.5)
    meant[1:5, 1:5] = 2.0
    meant[1:5, 7:10] = 3.0
    meant[5, 11] = 1.0  # a speck
    large, small = split_components(meant)
    others = meant > 0
    others[1:5, 1:5] = False
    assert torch.equal(large[~others], meant[~others])
    assert torch.equal(large[others], -meant[others])
    assert torch.equal(small > 0, meant == 3.0)
    assert torch.equal(small[meant < 0], meant[meant < 0])


# --- What a phrase competes with --------------------------------------------------------------------------------------

UP, RIGHTWARDS, BETWEEN = [0.0, 1.0], [1.0, 0.0], [0.6, 0.8]


@pytest.mark.parametrize(
    ("phrases", "vectors", "against"),
    [
        (
            ["red car"],
            [BETWEEN],
            ["cat", "wall-brick", "wall"],
        ),  # car points up, and is most like it
        (["cat"], [RIGHTWARDS], ["car", "wall-brick", "wall"]),
        (["the wall"], [RIGHTWARDS], ["car"]),  # cat is most like it here; walls hold its word
        (["red car", "cat"], [BETWEEN, RIGHTWARDS], ["wall-brick", "wall"]),
    ],
)
def test_kin_of_a_phrase_does_not_compete_with_it(phrases, vectors, against):
    names = ["car", "cat", "wall-brick", "wall"]
    table = torch.tensor([UP, RIGHTWARDS, [0.0, -1.0], [-1.0, 0.0]])
    speaks = rival_names(phrases, torch.tensor(vectors), names, table)
    assert [name for name, speak in zip(names, speaks.tolist(), strict=True) if speak] == against


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red  Car", {"red", "car"}),
        ("wall-brick", {"wall", "brick"}),
        ("The", set()),
        ("CD_2", {"cd", "2"}),
    ],
)
def test_words_of_a_phrase(text, expected):
    assert content_words(text) == expected


def test_rivals_take_their_share_of_the_probability():
    logits, rivals = (
        fits([0.5, 0.5], [0.9, 0.1]),
        torch.tensor([[2.0, 1.0], [0.0, -50.0]]).exp().log(),
    )
    joined = add_rival_logits(logits, rivals).softmax(dim=-1)
    apart = torch.cat((logits, rivals), dim=1).softmax(dim=-1)
    torch.testing.assert_close(joined[:, 0], apart[:, 0])
    torch.testing.assert_close(add_rival_logits(logits, rivals[:, :0]), logits)


def pointing(photo, monkeypatch, *names):
    """Let the first object queries show one thing each, and point at class names in the text space."""
    blank = torch.full_like(photo.predictor.recognizer.object_queries().mask_logits, NO)
    vectors = photo.model.classifier(Vocabulary.of(["thing"]))[-1].repeat(
        len(blank), 1
    )  # the background
    for row, name in enumerate(names):
        blank[row, 2 * row : 2 * row + 2, :5] = YES
        vectors[row] = photo.model.classifier(Vocabulary.of([name]))[0]
    monkeypatch.setattr(photo.predictor.recognizer, "_regions", ImageRegions(vectors, blank))
    monkeypatch.setattr(
        photo.model.network.text.logit_scale, "data", torch.tensor(9.0)
    )  # their phrases are very alike


@pytest.fixture(params=["seem-v1", "seem-v0", "seem-demo", "xdecoder"])
def published_photo(request):
    return tiny_relative(request.param).encode(picture(53, 37))


def test_a_phrase_does_not_collect_what_has_a_name_of_its_own(published_photo, monkeypatch):
    pointing(published_photo, monkeypatch, "cat", "dog", "pizza")
    result = published_photo.find("cat")
    assert len(result) == 1
    np.testing.assert_array_equal(
        result.masks[0, :5, :9], published_photo.find("cat", against=["dog"]).masks[0, :5, :9]
    )


def test_a_name_scores_as_it_does_among_instances(published_photo, monkeypatch):
    pointing(published_photo, monkeypatch, "cat", "dog", "pizza")
    instances = {
        r.label: r.score for r in published_photo.instances(threshold=0.0, top=13_000)[::-1]
    }
    for name in ("cat", "pizza"):
        assert published_photo.find(name, threshold=0.0).scores[0] == pytest.approx(
            instances[name], abs=1e-5
        )


def test_a_network_that_knows_nothing_finds_nothing(published_photo):
    """Random vectors fit any phrase about as well as "background": half. Among 133 names they fit none."""
    alone = published_photo.find("cat", threshold=0.3, against=[])
    assert len(alone) > 0
    assert len(published_photo.find("cat", threshold=0.3)) == 0


def test_names_may_be_given_to_compete_with(published_photo, monkeypatch):
    pointing(published_photo, monkeypatch, "cat", "a zebra crossing")
    for against in (
        ["a zebra crossing"],
        Vocabulary.of(["a zebra crossing"]),
        ["A zebra crossing", "cat"],
    ):
        assert len(published_photo.find("cat", against=against)) == 1
    with pytest.raises(ValueError, match="classes is a list of names"):
        published_photo.find("cat", against="zebra")


def test_what_two_phrases_mean_is_there_once(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    logits = torch.full((32, 32), NO)
    logits[:8, :8] = YES
    said = photo.predictor.decoder.answer([ObjectPrompts.of([Text("cat")])])[0][0]
    monkeypatch.setattr(
        PromptDecoder,
        "answer",
        lambda self, objects: [[replace(said, logits=logits)] for _ in objects],
    )
    assert len(photo.find("cat", threshold=0.0)) == 1
    assert len(photo.find(["cat", "dog"], threshold=0.0)) == 1


def test_an_island_that_vanishes_among_pixels_is_no_object(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    logits = torch.full((32, 32), NO)
    logits[:2, :4] = YES
    logits[14, 20] = 0.01  # one cell that is hardly inside
    said = photo.predictor.decoder.answer([ObjectPrompts.of([Text("cat")])])[0][0]
    monkeypatch.setattr(
        PromptDecoder,
        "answer",
        lambda self, objects: [[replace(said, logits=logits)] for _ in objects],
    )
    assert len(split_components(logits)) == 2
    found = photo.find("cat", threshold=0.0)
    assert len(found) == 1
    assert found.areas.min() > 0


def test_places_show_a_phrase_against_the_names_given(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    monkeypatch.setattr(
        photo.model.network.text.logit_scale, "data", torch.tensor(0.0)
    )  # not sure of anything
    among_all, among_one, alone = (
        photo.find("cat", threshold=0.0, against=against).scores for against in (None, ["dog"], [])
    )
    assert (among_all <= alone).all()
    assert (among_one <= alone).all()
    assert alone[0] > 0.3


# --- The question -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["nano", "seem-v1", "seem-demo", "xdecoder"])
def photo(request):
    model = tiny_model("nano") if request.param == "nano" else tiny_relative(request.param)
    return model.encode(picture(53, 37))


def test_a_phrase_finds_scored_objects(photo):
    result = photo.find("red car", threshold=0.0)
    assert len(result) > 0
    assert result.masks.shape == (len(result), 37, 53)
    assert set(result.labels) == {"red car"}
    assert (np.diff(result.scores) <= 0).all()
    assert result.category_ids.tolist() == [1] * len(result)
    assert result.to_coco()["seem"]["task"] == "find"
    assert result.provenance.prompts == ((Text("red car"),),)


def test_several_phrases_are_told_apart(photo):
    result = photo.find(["a sky", "grass"], threshold=0.0)
    assert set(result.labels) <= {"a sky", "grass"}
    assert [category["name"] for category in result.categories] == ["unlabelled", "a sky", "grass"]


def test_each_object_is_there_once(photo):
    masks = photo.find(["cat", "dog"], threshold=0.0).masks.reshape(-1, 37 * 53).astype(np.float64)
    shared = masks @ masks.T
    union = masks.sum(1)[:, None] + masks.sum(1)[None] - shared
    overlap = shared / np.maximum(union, 1) - np.eye(len(masks))
    assert overlap.max() < 0.6  # at most 0.5 where it was measured, at network size


def test_the_object_queries_answer_and_are_kept(photo, monkeypatch):
    if photo.model.network.mask_refiner is not None:
        return  # answers phrases by their places
    mine = torch.full_like(photo.predictor.recognizer.object_queries().mask_logits, NO)
    mine[3, :5, :5] = YES
    mine[7, 8:12, 8:12] = YES
    vectors = torch.zeros_like(photo.predictor.recognizer.object_queries().class_vectors)
    cat, background = photo.model.classifier(Vocabulary.of(["cat"]))
    vectors[:] = background
    vectors[[3, 7]] = cat
    monkeypatch.setattr(photo.predictor.recognizer, "_regions", ImageRegions(vectors, mine))
    monkeypatch.setattr(photo.model.network.text.logit_scale, "data", torch.tensor(12.0))
    result = photo.find("cat")
    assert result.labels == ("cat", "cat")
    np.testing.assert_allclose(result.embeddings, cat.numpy()[None].repeat(2, axis=0), atol=1e-5)
    assert len(photo.find("cat", threshold=1.0)) == 0


def test_a_repeated_phrase_counts_once(photo):
    once, twice = (
        photo.find(phrases, threshold=0.0)
        for phrases in (["cat", "dog"], ["cat", "dog", "Cat", " dog"])
    )
    assert once.labels == twice.labels
    assert [category["name"] for category in twice.categories] == ["unlabelled", "cat", "dog"]


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([], "There is no phrase to look for; say one"),
        ("", "The phrase '' is empty"),
        (["cat", " "], "The phrase ' ' is empty"),
        ("a\x00", "control character"),
    ],
    ids=["none", "empty", "one of them empty", "control"],
)
def test_phrases_that_say_nothing_are_refused(photo, phrases, message):
    with pytest.raises(ValueError, match=message):
        photo.find(phrases)


def test_thousands_of_names_are_asked_at_once():
    photo = tiny_model("nano").encode(picture(53, 37))
    names = [f"thing number {number}" for number in range(5_000)]
    for result in (
        photo.semantic(names),
        photo.instances(names, threshold=0.0),
        photo.find(names, threshold=0.0),
    ):
        assert len(result) > 0
        assert set(result.labels) <= set(names)
        assert len(result.categories) == 5_001


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(photo, threshold):
    with pytest.raises(ValueError, match=r"^threshold is .*; it must be between 0 and 1\.$"):
        photo.find("cat", threshold)


def test_the_default_threshold_is_the_models_own(photo):
    config = photo.model.network.config
    own = (
        min(0.5, config.panoptic_threshold)
        if config.mask_refiner is None
        else config.text_threshold
    )
    assert photo.find("cat").scores.tolist() == photo.find("cat", own).scores.tolist()


# --- Embeddings -------------------------------------------------------------------------------------------------------

QUESTIONS = {
    "panoptic": lambda photo: photo.panoptic(threshold=0.0),
    "instances": lambda photo: photo.instances(threshold=0.0),
    "semantic": lambda photo: photo.semantic(["cat", "grass"]),
    "find": lambda photo: photo.find("cat", threshold=0.0),
    "phrase": lambda photo: photo.segment(Text("cat"), text_threshold=0.0),
    "nothing": lambda photo: photo.panoptic(threshold=1.0),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_mask_has_a_unit_vector_in_the_text_space(photo, question):
    result = QUESTIONS[question](photo)
    assert result.embeddings.shape == (len(result), 16)
    assert result.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1.0, atol=1e-5)
    assert result[:1].embeddings.shape == (min(1, len(result)), 16)


def test_clicked_masks_have_embeddings_too(photo):
    if photo.model.network.decoder.policy.visual is None:
        return
    result = photo.segment_many([[Point(4, 2)], [Point(30, 20)]])
    assert result.embeddings.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1.0, atol=1e-5)


def test_the_embedding_of_a_region_is_that_of_its_class(photo):
    result = photo.semantic(["cat", "grass"])
    classes = photo.model.classifier(Vocabulary.of(["cat", "grass"])).numpy()
    rows = [["cat", "grass"].index(label) for label in result.labels]
    np.testing.assert_allclose(result.embeddings, classes[rows], atol=1e-5)


# --- Candidates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["seem-v1", "seem-v0", "seem-demo"])
def test_candidates_are_alternatives_best_first(policy):
    photo = tiny_relative(policy).encode(picture(53, 37))
    three = photo.segment(Point(4, 2), candidates=3)
    one = photo.segment(Point(4, 2))
    assert 1 <= len(three) <= 3
    np.testing.assert_allclose(three.logits[0], one.logits[0], atol=1e-5)
    assert three.embeddings.shape == (len(three), 16)
    assert len(three.labels) == len(three)
    flat = (three.logits > 0).reshape(len(three), -1).astype(np.float64)
    shared = flat @ flat.T
    overlap = shared / np.maximum(flat.sum(1)[:, None] + flat.sum(1)[None] - shared, 1) - np.eye(
        len(flat)
    )
    assert overlap.max() <= 0.951


def test_seem_v1_has_three_queries_an_object_and_the_others_more():
    counts = {}
    for policy in ("seem-v1", "seem-v0", "seem-demo"):
        photo = tiny_relative(policy).encode(picture(53, 37))
        counts[policy] = len(
            photo.predictor.decoder.answer([ObjectPrompts.of([Point(4, 2)])], top=12)[0]
        )
    assert counts == {"seem-v1": 3, "seem-v0": 12, "seem-demo": 12}


@pytest.mark.parametrize("policy", ["seem-v1", "seem-v0", "seem-demo", "xdecoder"])
def test_a_phrase_has_candidates_too(policy):
    photo = tiny_relative(policy).encode(picture(53, 37))
    three = photo.segment(Text("a cat"), candidates=3, text_threshold=0.0)
    np.testing.assert_allclose(
        three.logits[0], photo.segment(Text("a cat"), text_threshold=0.0).logits[0], atol=1e-5
    )
    assert len(photo.segment(Text("a cat"), candidates=3, text_threshold=1.0)) == 0


def test_nano_has_one_answer_and_says_so():
    photo = tiny_model("nano").encode(picture(53, 37))
    result = photo.segment(Point(4, 2), candidates=3)
    assert len(result) == 1
    assert result.provenance.notes == (
        "nano gives one mask an object: there are no further candidates",
    )
    assert photo.segment(Point(4, 2)).provenance.notes == ()


@pytest.mark.parametrize("candidates", [0, -1])
def test_a_number_of_candidates_below_one_is_refused(photo, candidates):
    with pytest.raises(
        ValueError, match=f"candidates is {candidates}; it is a whole number, at least 1"
    ):
        photo.segment(Text("a cat"), candidates=candidates)


def test_xdecoder_has_no_candidates_for_a_click_and_says_what_it_takes():
    photo = tiny_relative("xdecoder").encode(picture(53, 37))
    with pytest.raises(
        ValueError, match="tiny xdecoder takes no visual prompts; it takes Text, Audio"
    ):
        photo.segment(Point(4, 2), candidates=3)
