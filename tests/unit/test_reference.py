"""A region of another photo as a prompt: who takes it, where its tokens go, what it is drawn from."""

import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import seem
from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prompt_decoder import PromptDecoder
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import POLICIES, RowKind
from seem.models.kind import kind_of
from seem.models.segmenter import Segmenter
from seem.models.structures import DecoderQuery
from seem.prompts import Audio, Box, Mask, Point, Polygon, Reference, Scribble, Stroke, Text
from seem.tasks.postprocess import to_input_size
from seem.tasks.reference import encode_region, join_references
from tiny import picture, tiny_model, tiny_relative

OTHER = picture(60, 40, seed=1)
BOX = Box(10, 10, 30, 30)
POLICY_NAMES = ("seem-v0", "seem-demo", "nano")


def make(policy):
    return tiny_model("nano") if policy == "nano" else tiny_relative(policy)


@pytest.fixture(scope="module", params=POLICY_NAMES)
def photo(request):
    return make(request.param).encode(picture(53, 37))


@pytest.fixture(scope="module")
def nano():
    return tiny_model("nano").encode(picture(53, 37))


def shape(photo, *prompts, **options):
    return photo.segment(*prompts, text_threshold=0.0, **options)


# --- What is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marks",
    [
        (BOX,),
        (Polygon([(5, 5), (40, 5), (40, 30)]),),
        (Stroke([(5, 5), (40, 30)]),),
        (
            Scribble([[(5, 5), (40, 30)], [(5, 30), (40, 5)]]),
            Stroke([(20, 1), (20, 39)], positive=False),
        ),
        (Mask(np.eye(40, 60, dtype=np.bool_)),),
        (Point(20, 20),),
        (Text("a cat"),),
        (Point(20, 20), Text("a cat"), Point(50, 30, positive=False)),
    ],
    ids=[
        "box",
        "polygon",
        "stroke",
        "scribble without a stroke",
        "mask",
        "click",
        "phrase",
        "clicks and a phrase",
    ],
)
def test_a_region_of_another_photo_is_a_prompt(photo, marks):
    result = shape(photo, Reference(OTHER, *marks))
    assert result.masks.shape == (1, 37, 53)
    assert result.kind == "reference"
    assert result.to_coco()["seem"]["prompts"][0][0] == {
        "kind": "reference",
        "photo": None,
        "prompts": [mark.to_dict() for mark in marks],
    }


def test_what_is_shown_decides(photo):
    here, there = (shape(photo, Reference(OTHER, box)).logits for box in (BOX, Box(40, 2, 58, 12)))
    assert not np.allclose(here, there, atol=1e-6)
    again = shape(photo, Reference(picture(60, 40, seed=2), BOX)).logits
    assert not np.allclose(here, again, atol=1e-6)


def test_a_path_an_array_and_an_encoded_photo_are_the_same_photo(photo, tmp_path):
    OTHER.save(tmp_path / "other.png")
    expected = shape(photo, Reference(OTHER, BOX))
    for given in (
        tmp_path / "other.png",
        str(tmp_path / "other.png"),
        np.array(OTHER),
        photo.model.encode(OTHER),
    ):
        np.testing.assert_array_equal(shape(photo, Reference(given, BOX)).logits, expected.logits)


def test_a_photo_that_another_model_has_seen_is_looked_at_again(photo):
    other = tiny_model("seem-focal-t-v1").encode(OTHER)
    np.testing.assert_array_equal(
        shape(photo, Reference(other, BOX)).logits, shape(photo, Reference(OTHER, BOX)).logits
    )


def test_a_reference_is_encoded_once_a_model(photo, monkeypatch):
    encoded = []
    encode = Segmenter.encode_image
    monkeypatch.setattr(
        Segmenter, "encode_image", lambda self, images: encoded.append(1) or encode(self, images)
    )
    reference = Reference(OTHER, Point(20, 20))
    for question in ([reference], [reference, Text("a cat")], [reference]):
        shape(photo, *question)
    shape(photo.model.encode(picture(20, 20)), reference)
    assert len(encoded) == 2  # the other photo, and the last one


def test_the_name_of_the_other_photo_is_kept(photo, tmp_path):
    OTHER.save(tmp_path / "other.png")
    for given in (tmp_path / "other.png", photo.model.encode(tmp_path / "other.png")):
        assert Reference(given, BOX).to_dict()["photo"] == "other.png"


def test_a_result_with_a_reference_can_be_sent_to_another_process(photo):
    result = shape(photo, Reference(photo.model.encode(OTHER), BOX))
    ((sent,),) = pickle.loads(pickle.dumps(result)).provenance.prompts
    assert np.array_equal(np.array(sent.image), np.array(OTHER))
    assert sent.prompts == (BOX,)


# --- Who answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "prompts", "kind"),
    [
        ("nano", (Text("a cat"),), "phrase, with the reference"),
        ("seem-demo", (Point(4, 2),), "visual, with the reference"),
        (
            "seem-demo",
            (Point(4, 2), Text("a cat")),
            "visual, with the phrase, with the reference",
        ),
        ("seem-demo", (Text("a cat"),), "phrase, with the reference"),
        ("seem-v0", (Text("a cat"),), "reference, with the phrase"),
    ],
)
def test_every_prompt_of_a_composition_counts(policy, prompts, kind):
    photo = make(policy).encode(picture(53, 37))
    reference = Reference(OTHER, BOX)
    result = shape(photo, *prompts, reference)
    assert result.kind == kind
    assert not np.allclose(result.logits, shape(photo, *prompts).logits, atol=1e-7)
    assert not np.allclose(result.logits, shape(photo, reference).logits, atol=1e-7)


@pytest.mark.parametrize(
    ("prompts", "kind"),
    [
        ((Point(4, 2),), "visual"),
        ((Box(4, 2, 30, 20), Text("a cat")), "visual, with the phrase"),
    ],
)
def test_nano_was_not_taught_to_see_a_reference_beside_marks_and_says_so(nano, prompts, kind):
    result = nano.segment(*prompts, Reference(OTHER, BOX), text_threshold=0.0)
    assert result.kind == kind
    assert result.provenance.notes == (
        "nano uses no reference beside visual prompts (points, boxes, strokes, masks)",
    )
    alone = nano.segment(*prompts, text_threshold=0.0)
    np.testing.assert_array_equal(result.logits, alone.logits)
    assert alone.notes == ()


@pytest.mark.parametrize("share", [0.9, 0.45, 0.1])
def test_what_a_reference_alone_means_begins_at_a_share_of_its_surest_pixel(share):
    prompts = {
        "shown": [Reference(OTHER, BOX)],
        "said too": [Reference(OTHER, BOX), Text("a cat")],
        "marked": [BOX],
    }
    answers, surest = [], []
    for rule in (None, share):
        model = make("nano")
        model.network.config = replace(model.network.config, reference_peak_ratio=rule)
        photo = model.encode(picture(53, 37))
        answers.append({name: shape(photo, *asked).logits for name, asked in prompts.items()})
        objects = [ObjectPrompts.of((Reference(OTHER, BOX),))]
        answer = photo.predictor.decoder.answer(objects, photo._references(objects))[0][0]
        surest.append(
            float(to_input_size(answer.logits[None], photo.predictor.decoder.frame).max())
        )
    plain, moved = answers
    shift = surest[1] - surest[0]
    assert 1 / (1 + np.exp(-surest[0])) * share == pytest.approx(1 / (1 + np.exp(shift)))
    for name in prompts:
        assert plain[name].size
        np.testing.assert_allclose(
            moved[name] - plain[name], shift if name == "shown" else 0.0, atol=1e-4
        )


def test_objects_with_and_without_a_reference_share_a_pass(photo):
    objects = [
        [Point(4, 2)],
        [Reference(OTHER, BOX)],
        [Reference(OTHER, Box(40, 2, 58, 12))],
        [Text("a cat")],
        [Reference(OTHER, BOX), Text("a cat")],
    ]
    together = photo.segment_many(objects, text_threshold=0.0)
    for row, prompts in enumerate(objects):
        alone = shape(photo, *prompts)
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-4)
        np.testing.assert_allclose(together.embeddings[row], alone.embeddings[0], atol=1e-5)


def test_a_session_may_begin_with_a_reference(nano):
    talk = nano.session()
    talk.add(Reference(OTHER, BOX))
    assert talk.add(Point(4, 2)).kind == "visual"  # from now on marks answer


def test_the_demo_chooses_the_query_that_agrees_with_the_region():
    photo = make("seem-demo").encode(picture(53, 37))
    network = photo.model.network
    other = photo.model.encode(OTHER)
    region = torch.zeros(1, 1, *other.batch.padded_hw, dtype=torch.bool)
    region[..., 16:48, 16:48] = True  # 10 to 30 of 40, at 64
    shown = encode_region(network, other.encoding, region, FairDraws())
    tokens = join_references({0: shown}, 1)
    assert torch.equal(tokens.positive_vectors, shown.tokens.positive_vectors)
    answers = network.decode(photo.encoding, DecoderQuery(reference=tokens, num_objects=1)).object
    best = (answers.mask_embeddings @ shown.tokens.positive_vectors.mT)[0].argmax()
    result = shape(photo, Reference(other, BOX))
    vector = torch.nn.functional.normalize(answers.class_vectors[0, best], dim=0)
    np.testing.assert_allclose(result.embeddings[0], vector.detach().numpy(), atol=1e-5)


def test_tokens_belong_to_their_object(nano):
    network, memory = nano.model.network, nano.encoding
    region = torch.zeros(1, 1, *nano.batch.padded_hw, dtype=torch.bool)
    region[..., :20, :20] = True
    shown = encode_region(network, memory, region, FairDraws())
    joined = join_references({1: shown, 3: shown}, 5)
    count = shown.tokens.owner.shape[1]
    assert joined.owner.tolist() == [[1] * count + [3] * count]
    assert joined.num_objects == 5
    assert joined.positive_vectors[0].abs().sum(dim=-1).gt(0).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "others"), [("seem-v1", "Mask, Text, Audio"), ("xdecoder", "takes Text, Audio")]
)
def test_a_model_that_takes_no_reference_says_what_it_takes(policy, others):
    photo = make(policy).encode(picture(53, 37))
    with pytest.raises(
        ValueError, match=rf"^tiny {policy} takes no Reference; it .*{others}\. Load nano"
    ) as caught:
        photo.segment(Reference(OTHER, BOX))
    assert len(str(caught.value).splitlines()) == 1


def test_seem_v0_takes_it_in_the_place_of_a_click():
    photo = make("seem-v0").encode(picture(53, 37))
    with pytest.raises(
        ValueError,
        match="in the place of visual prompts, not beside them; leave one of the two out",
    ):
        photo.segment(Reference(OTHER, BOX), Point(4, 2))


def test_two_references_about_one_object_are_refused(photo):
    with pytest.raises(ValueError, match="There are 2 References about one object; give one"):
        photo.segment(Reference(OTHER, BOX), Reference(OTHER, BOX))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda: Reference(OTHER),
            "A Reference needs prompts that mark a region of the other image",
        ),
        (lambda: Reference(BOX), r"begins with the other image, got Box\(x0=10"),
        (lambda: Reference(OTHER, Reference(OTHER, BOX)), "A Reference holds no other Reference"),
        (
            lambda: Reference(OTHER, Point(1, 1, positive=False)),
            "All prompts of the Reference are negative",
        ),
    ],
    ids=["no region", "no photo", "nested", "negative"],
)
def test_a_reference_that_cannot_be_meant_is_refused(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        given()
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_prompt_is_refused_in_a_reference():
    with pytest.raises(
        ValueError, match=r"'a cat' is no prompt; a Reference is an image, then Box"
    ):
        inspect.unwrap(Reference.__init__)(object.__new__(Reference), OTHER, "a cat")


def test_a_prompt_outside_the_other_photo_is_refused(photo):
    outside = "lies outside the image of 60 x 40 pixels"
    with pytest.raises(ValueError, match=outside):
        Reference(photo.model.encode(OTHER), Point(70, 2))
    for mark in (Point(70, 2), Box(70, 2, 80, 9)):
        with pytest.raises(ValueError, match=rf"^In the reference, an image: .*{outside}"):
            photo.segment(Reference(OTHER, mark))


def test_an_empty_region_is_refused(photo):
    wiped = Reference(
        OTHER, Stroke([(5, 5), (9, 9)], 2), Stroke([(0, 0), (20, 20)], 30, positive=False)
    )
    with pytest.raises(
        ValueError, match="its prompts mark no pixel there; mark a region with a Box or a Mask"
    ):
        photo.segment(wiped)


def test_a_phrase_that_finds_nothing_there_is_refused(nano, monkeypatch):
    answer = PromptDecoder._answer_pass

    def nothing(self, objects, references, previous, top):
        given = answer(self, objects, references, previous, top)
        return [[replace(one, logits=one.logits * 0 - 1) for one in mine] for mine in given]

    monkeypatch.setattr(PromptDecoder, "_answer_pass", nothing)
    with pytest.raises(ValueError, match="its prompts mark no pixel there"):
        nano.segment(Reference(OTHER, Text("a cat")))


def test_a_missing_photo_is_named(photo):
    with pytest.raises(seem.SeemError, match=r"There is no photo at nowhere\.png"):
        photo.segment(Reference("nowhere.png", BOX))


# --- The table --------------------------------------------------------------------------------------------------------


def test_the_table_of_models_says_who_takes_what():
    for card in seem.list_models():
        policy = card.config().decoder.policy
        assert ("reference" in card.prompts) == (POLICIES[policy].reference is not None)
        assert ("point" in card.prompts) == (POLICIES[policy].visual is not None)
        assert ("interactive" in card.tasks) == (POLICIES[policy].visual is not None)
        captions = POLICIES[policy].group(RowKind.CAPTION) is not None
        assert ("captioning" in card.tasks) == captions
        scores_presence = kind_of(card.config()).scores_presence
        assert ("retrieval" in card.tasks) == (captions or scores_presence)
        assert {"text", "audio"} <= set(card.prompts)


def test_a_policy_with_rows_for_references_uses_them():
    for policy in POLICIES.values():
        has_rows = policy.group(RowKind.REFERENCE_TOKENS) is not None
        assert (policy.reference is RowKind.REFERENCE_TOKENS) == has_rows


def test_a_spoken_region_is_segmented_too(nano):
    tone = np.sin(np.arange(8_000) / 9).astype(np.float32) / 2
    audio = Audio(tone, 16_000, transcribe=lambda sound: "a cat")
    spoken, written = (shape(nano, Reference(OTHER, prompt)) for prompt in (audio, Text("a cat")))
    np.testing.assert_array_equal(spoken.logits, written.logits)
