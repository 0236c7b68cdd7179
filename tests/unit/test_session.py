from dataclasses import replace

import numpy as np
import pytest

import seem
from seem.inference.prompt_decoder import PromptDecoder
from tiny import CONFIGS, picture, tiny_model

HERE, THERE, NOT_THERE = seem.Point(4, 2), seem.Point(40, 30), seem.Point(44, 8, positive=False)


@pytest.fixture(scope="module", params=CONFIGS)
def photo(request):
    return tiny_model(request.param).encode(picture(53, 37))


@pytest.fixture
def talk(photo):
    return photo.session()


def test_a_session_begins_with_nothing(talk):
    assert talk.result is None
    assert talk.prompts == ()
    assert repr(talk) == "<Session on image: 0 rounds, 0 prompts>"


def test_the_first_round_is_a_plain_answer(photo, talk):
    first, plain = talk.add(HERE), photo.segment(HERE)
    assert (first.masks == plain.masks).all()
    assert (first.logits == plain.logits).all()
    assert first.scores.tolist() == plain.scores.tolist()


def test_later_rounds_remember_the_mask(photo, talk):
    talk.add(HERE)
    second = talk.add(NOT_THERE)
    assert not np.allclose(second.logits, photo.segment(HERE, NOT_THERE).logits, atol=1e-7)
    assert second.provenance.prompts == ((HERE, NOT_THERE),)


def test_a_session_is_what_its_logits_say(photo, talk):
    first = talk.add(HERE)
    by_hand = photo.segment(HERE, NOT_THERE, seem.Mask(logits=first.logits))
    np.testing.assert_allclose(talk.add(NOT_THERE).logits, by_hand.logits, atol=1e-6)


def test_mask_logits_take_the_place_of_the_previous_mask(photo, talk):
    other = photo.segment(THERE)
    talk.add(HERE)
    handed_in = talk.add(seem.Mask(logits=other.logits))
    np.testing.assert_array_equal(
        handed_in.logits, photo.segment(HERE, seem.Mask(logits=other.logits)).logits
    )
    after = talk.add(NOT_THERE)
    by_hand = photo.segment(HERE, NOT_THERE, seem.Mask(logits=handed_in.logits))
    np.testing.assert_allclose(after.logits, by_hand.logits, atol=1e-6)


def test_to_nano_a_new_outline_takes_the_place_of_the_previous_mask(photo, talk):
    outline = seem.Polygon([(30, 20), (46, 22), (40, 34)])
    talk.add(HERE)
    drawn, without_memory = talk.add(outline), photo.segment(HERE, outline)
    is_nano = photo.model.name == "nano"
    assert np.allclose(drawn.logits, without_memory.logits, atol=1e-6) is is_nano
    by_hand = photo.segment(HERE, outline, NOT_THERE, seem.Mask(logits=drawn.logits))
    np.testing.assert_allclose(
        talk.add(NOT_THERE).logits, by_hand.logits, atol=1e-6
    )  # its answer is remembered


def test_a_session_refuses_words_as_a_single_question_does(photo, talk, monkeypatch):
    ask = PromptDecoder.answer

    def unsure(self, *arguments):
        return [[replace(one, score=0.3) for one in given] for given in ask(self, *arguments)]

    monkeypatch.setattr(PromptDecoder, "answer", unsure)
    giraffe = seem.Text("a giraffe")
    assert (
        len(talk.add(giraffe))
        == len(photo.segment(giraffe))
        == (0 if photo.model.name == "nano" else 1)
    )
    assert len(talk.add(HERE)) == 1  # a mark is always answered


def test_two_sessions_on_one_photo_know_nothing_of_each_other(photo):
    one, other = photo.session(), photo.session()
    one.add(HERE)
    other.add(THERE)
    alone = photo.session()
    alone.add(HERE)
    assert (one.add(NOT_THERE).logits == alone.add(NOT_THERE).logits).all()
    assert other.prompts == (THERE,)


def test_undo_returns_to_exactly_the_same_masks(talk):
    talk.add(HERE)
    second = talk.add(NOT_THERE)
    third = talk.add(THERE)
    assert talk.undo() is second
    assert talk.prompts == (HERE, NOT_THERE)
    again = talk.add(THERE)
    assert (again.masks == third.masks).all()
    assert (again.logits == third.logits).all()


def test_undo_goes_back_to_the_beginning_and_no_further(talk):
    talk.add(HERE)
    assert talk.undo() is None
    assert (talk.result, talk.prompts) == (None, ())
    with pytest.raises(ValueError, match="There is nothing to undo"):
        talk.undo()


def test_reset_forgets_everything(photo, talk):
    talk.add(HERE)
    talk.add(NOT_THERE)
    talk.reset()
    assert (talk.result, talk.prompts) == (None, ())
    assert (talk.add(THERE).logits == photo.segment(THERE).logits).all()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ((), "at least one prompt"),
        ((seem.Point(99, 99),), "lies outside the image"),
        ((NOT_THERE, seem.Mask(np.ones((3, 3), dtype=np.bool_))), "The mask is 3 x 3 pixels"),
        ((seem.Mask(logits=np.ones((3, 3), dtype=np.float32)),), r"[Mm]ask logits"),
    ],
    ids=["nothing", "outside", "wrong mask", "wrong logits"],
)
def test_a_failed_add_leaves_the_session_as_it_was(photo, talk, prompts, message):
    first = talk.add(HERE)
    with pytest.raises(ValueError, match=message):
        talk.add(*prompts)
    assert talk.result is first
    assert talk.prompts == (HERE,)
    fresh = photo.session()
    fresh.add(HERE)
    assert (talk.add(THERE).logits == fresh.add(THERE).logits).all()


def test_a_failure_of_the_network_leaves_the_session_as_it_was(monkeypatch, talk):
    first = talk.add(HERE)
    with monkeypatch.context() as patch:

        def out_of_memory(*arguments, **options):
            raise RuntimeError("out of memory")

        patch.setattr(PromptDecoder, "_answer_pass", out_of_memory)
        with pytest.raises(RuntimeError):
            talk.add(THERE)
    assert (talk.result, talk.prompts) == (first, (HERE,))


def test_negative_prompts_come_after_a_positive_one(talk):
    with pytest.raises(ValueError, match="All prompts are negative"):
        talk.add(NOT_THERE)
    talk.add(HERE)
    assert talk.add(NOT_THERE).masks.shape == (1, 37, 53)


def test_a_session_may_begin_with_a_phrase_and_go_on_with_clicks(photo, talk, monkeypatch):
    network = photo.model.network
    monkeypatch.setattr(network, "config", replace(network.config, text_threshold=0.0))
    talk.add(seem.Text("the red car"))
    result = talk.add(HERE)
    assert result.kind == "visual, with the phrase"
    assert talk.prompts == (seem.Text("the red car"), HERE)
    assert talk.add(seem.Text("on the left")).masks.shape == (1, 37, 53)


def test_several_prompts_may_be_added_at_once(talk):
    talk.add(HERE, NOT_THERE)
    assert talk.prompts == (HERE, NOT_THERE)
    assert talk.undo() is None


@pytest.mark.parametrize("name", CONFIGS)
def test_a_round_that_found_nothing_is_a_round_without_memory(monkeypatch, name):
    photo = tiny_model(name).encode(picture(53, 37))
    talk = photo.session()
    original = PromptDecoder._answer_pass

    def nothing(self, objects, references, previous, top):
        answers = original(self, objects, references, previous, top)
        return [
            [replace(answer, logits=answer.logits * 0 - 1) for answer in mine] for mine in answers
        ]

    with monkeypatch.context() as patch:
        patch.setattr(PromptDecoder, "_answer_pass", nothing)
        assert len(talk.add(seem.Text("the red car"))) == 0
    plain = photo.segment(seem.Text("the red car"), HERE)
    assert (talk.add(HERE).logits == plain.logits).all()
    assert len(talk.undo()) == 0
