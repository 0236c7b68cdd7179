import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import seem
from seem.encoded_image import EncodedImage
from seem.inference import dense_recognizer, runtime
from seem.inference.dense_recognizer import ClassComponents, DenseRecognizer
from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prompt_decoder import PromptDecoder
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.preprocess import check_short_side
from seem.rasterize import RasterFrame
from seem.tasks.interactive import ObjectAnswer
from tiny import CONFIGS, picture, tiny_model

RED_CAR = seem.Text("the red car")


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def photo(model):
    return model.encode(picture(53, 37))


def region(width=53, height=37):
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[: height // 2 + 1, : width // 2 + 1] = True
    return mask


def test_marks_need_no_vocabulary(model, monkeypatch):
    monkeypatch.setattr(
        type(model), "tokenizer", property(lambda self: pytest.fail("it was asked for"))
    )
    assert len(model.encode(picture(53, 37)).segment(seem.Point(20, 20)))


def same(one, other, tolerance=0.0):
    """Compare two results: exactly, or as far as sums in another order let them differ."""
    if tolerance:
        np.testing.assert_allclose(one.logits, other.logits, atol=tolerance)
        np.testing.assert_allclose(one.scores, other.scores, atol=tolerance)
        return (one.masks != other.masks).mean() < 0.01
    logits_agree = one.logits is None or (one.logits == other.logits).all()
    return (
        logits_agree
        and one.scores.tolist() == other.scores.tolist()
        and (one.masks == other.masks).all()
    )


# --- The first example ------------------------------------------------------------------------------------------------

CALLS = {
    "panoptic": lambda photo: photo.panoptic(threshold=0.0),
    "instances": lambda photo: photo.instances(threshold=0.0),
    "semantic": lambda photo: photo.semantic(),
    "click": lambda photo: photo.segment(seem.Point(4, 2)),
    "clicks and a phrase": lambda photo: photo.segment(
        seem.Point(4, 2), seem.Point(8, 4, positive=False), RED_CAR
    ),
    "box": lambda photo: photo.segment(seem.Box(3, 4, 30, 40)),
    "stroke": lambda photo: photo.segment(seem.Stroke([(1, 1), (6, 8)], width=8)),
    "scribble": lambda photo: photo.segment(seem.Scribble([[(1, 1), (6, 8)], [(2, 9), (9, 2)]])),
    "polygon": lambda photo: photo.segment(seem.Polygon([(1, 1), (20, 1), (20, 20)])),
    "mask": lambda photo: photo.segment(seem.Mask(region())),
    "phrase": lambda photo: photo.segment(RED_CAR, text_threshold=0.0),
    "several": lambda photo: photo.segment_many([[seem.Point(1, 2)], [seem.Box(3, 4, 50, 60)]]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_question_gets_an_answer_in_the_photos_frame(photo, call):
    result = call(photo)
    count = len(result)
    assert count > 0
    assert result.masks.shape == (count, 37, 53)
    assert result.boxes.shape == (count, 4)
    assert len(result.labels) == len(result.label_scores) == len(result.category_ids) == count
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    assert result.overlay().size == (53, 37)


def test_what_is_not_found_is_said_and_the_others_keep_their_numbers():
    photo = tiny_model("nano").encode(picture(53, 37))
    asked = [
        [seem.Point(4, 2)],
        [seem.Text("a zebra")],
        [seem.Box(3, 4, 30, 20)],
        [seem.Reference(photo, seem.Box(1, 1, 9, 9))],
    ]
    result = photo.segment_many(asked, text_threshold=1.0)
    assert result.ids.tolist() == [1, 3]
    assert result.provenance.notes == (
        "object 2, 'a zebra', was not found",
        "object 4, what the reference shows, was not found",
    )
    assert photo.segment_many(asked, text_threshold=0.0).ids.tolist() == [1, 2, 3, 4]
    found = photo.find(["a zebra", "a lion"], threshold=1.0)
    assert found.provenance.notes == ("'a zebra' was not found", "'a lion' was not found")
    for alone in (
        photo.find("a zebra", threshold=1.0),
        photo.segment(seem.Text("a zebra"), text_threshold=1.0),
    ):
        assert alone.notes == ("'a zebra' was not found",)


def test_of_masks_that_are_one_object_the_likelier_name_stays_and_the_note_says_so(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    height, width = (side // 4 for side in photo.predictor.decoder.frame.padded_hw)
    left = torch.full((height, width), -4.0)
    left[:8, :8] = 4.0
    right = torch.full((height, width), -4.0)
    right[:8, 8:12] = 4.0
    answers = ClassComponents(
        [1, 0, 2], torch.stack((left, left, right)), torch.tensor([0.9, 0.8, 0.7])
    )
    monkeypatch.setattr(DenseRecognizer, "components", lambda *_, **__: answers)
    assert photo.instances(["cow", "sheep", "dog"]).labels == ("sheep", "dog")
    assert photo.instances(["cow", "sheep", "dog"], top=1).labels == ("sheep",)
    assert photo.instances(["cow", "sheep", "dog"], mask_nms_threshold=1).labels == (
        "sheep",
        "cow",
        "dog",
    )
    monkeypatch.setattr(DenseRecognizer, "_locate", lambda *_, **__: answers)
    monkeypatch.setattr(
        DenseRecognizer, "presence", lambda _, rows, *__, **___: rows.new_ones(len(rows))
    )
    found = photo.find(["cow", "sheep", "dog"], threshold=0.5)
    assert found.labels == ("sheep", "dog")
    assert found.notes == ("'cow' fits what another phrase fits better",)


def test_words_for_what_is_not_there_leave_the_marks_to_answer():
    photo = tiny_model("nano").encode(picture(53, 37))
    marks, words = (seem.Point(4, 2), seem.Point(40, 30, positive=False)), seem.Text("a zebra")
    alone = photo.segment(*marks)
    unheard, heard = (photo.segment(*marks, words, text_threshold=limit) for limit in (1.0, 0.0))
    assert (unheard.masks == alone.masks).all()
    assert unheard.labels == alone.labels
    assert unheard.notes == ("'a zebra' was not found: only the visual prompts are used",)
    assert (heard.labels, heard.notes) == (("a zebra",), ())
    many = photo.segment_many([marks, [*marks, words]], text_threshold=1.0)
    assert (many.masks[0] == many.masks[1]).all()
    talk = photo.session()
    assert talk.add(*marks, words).provenance.prompts == ((*marks, words),)
    published = tiny_model("seem-focal-t-v1").encode(picture(53, 37))  # which cannot tell
    assert published.segment(*marks, words, text_threshold=1.0).labels == ("a zebra",)


def count_encoded_phrases(monkeypatch):
    """Keep how many phrases each pass through the text encoder has, those of classes included."""
    counts = []
    for name in ("encode_tokens", "encode_class_phrases"):
        original = getattr(runtime, name)

        def counted(encoder, tokens, *further, original=original):
            counts.append(len(tokens.ids))
            return original(encoder, tokens, *further)

        monkeypatch.setattr(runtime, name, counted)
    return counts


def test_what_was_said_is_encoded_once(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    encoded = count_encoded_phrases(monkeypatch)
    talk = photo.session()
    first = talk.add(seem.Point(4, 2), seem.Text("a zebra"))
    assert encoded == [1, 134]  # the words, and the names that compete with them
    talk.add(seem.Point(40, 30))
    assert encoded == [1, 134]
    again = photo.segment(seem.Point(4, 2), seem.Text("a zebra"))
    assert encoded == [1, 134]
    assert (again.masks == first.masks).all()
    for number in range(40):  # what was said last stays, not all that ever was
        photo.model.encode_phrases([f"zebra {number}"])
    photo.model.encode_phrases(["a zebra"])
    assert encoded == [1, 134, *[1] * 41]


def test_a_mask_is_called_what_was_said(photo):
    assert photo.segment(RED_CAR, text_threshold=0.0).labels == ("the red car",)
    result = photo.segment_many([[RED_CAR], [seem.Text("cat")]], text_threshold=0.0)
    assert result.labels == ("the red car", "cat")
    assert result.category_ids.tolist() == [0, 17]
    assert result.label_scores == pytest.approx(result.scores.tolist())


def test_a_phrase_that_is_too_long_is_said_to_be_cut():
    photo = tiny_model("nano").encode(picture(53, 37))
    long = " ".join(["cat"] * 40)
    (note,) = photo.segment(seem.Point(4, 2), seem.Text(long), text_threshold=0.0).notes
    assert note.endswith("...' is cut after 32 tokens")
    assert len(note) < 100
    assert (
        photo.segment(seem.Point(4, 2), seem.Text(" ".join(["cat"] * 30)), text_threshold=0.0).notes
        == ()
    )


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_same_question_gets_the_same_answer(model, photo, call):
    assert same(call(photo), call(photo))
    assert same(call(photo), call(model.encode(picture(53, 37))))


def test_a_session_answers_in_rounds(photo):
    talk = photo.session()
    talk.add(seem.Point(41, 22))
    result = talk.add(seem.Point(50, 8, positive=False))
    assert talk.result is result
    assert result.masks.shape == (1, 37, 53)
    talk.undo()
    assert talk.prompts == (seem.Point(41, 22),)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (3, 5000), (5000, 3), (37, 53), (200, 64), (64, 200), (32, 32), (2, 2)],
)
def test_masks_have_the_photos_size_whatever_it_is(model, width, height):
    photo = model.encode(picture(width, height))
    asked = seem.Point(width - 1, height - 1), seem.Mask(region(width, height))
    for result in (
        photo.segment_many([[prompt] for prompt in asked]),
        photo.panoptic(["cat", "sky"], threshold=0.0),
        photo.instances(["cat", "sky"], threshold=0.0),
        photo.semantic(["cat", "sky"]),
    ):
        assert result.masks.shape == (len(result), height, width)
        assert result.overlay().size == (width, height)


def test_a_turned_photo_is_answered_upright(model, tmp_path):
    upright = picture(53, 37)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    photo = model.encode(tmp_path / "turned.png")
    turned = photo.segment(seem.Point(50, 3))
    assert photo.hw == (37, 53)
    assert same(turned, model.encode(upright).segment(seem.Point(50, 3)))
    assert turned.to_coco()["seem"]["orientation"] == 6
    assert turned.to_coco()["images"][0] == {
        "id": 1,
        "file_name": "turned.png",
        "width": 53,
        "height": 37,
    }


@pytest.mark.parametrize(
    "given", [np.asarray, lambda p: torch.from_numpy(np.array(p)).permute(2, 0, 1)]
)
def test_arrays_and_tensors_are_photos_too(model, photo, given):
    assert same(
        model.encode(given(picture(53, 37))).segment(seem.Point(4, 2)),
        photo.segment(seem.Point(4, 2)),
    )


def test_the_working_size_can_be_chosen(model):
    photo = model.encode(picture(53, 37), size=32)
    assert photo.batch.input_hw == ((32, 46),)
    assert photo.segment(seem.Point(4, 2)).masks.shape == (1, 37, 53)
    with pytest.raises(
        ValueError, match=r"^size is 31; the short side is .*, at least 32, at most 4096\.$"
    ):
        model.encode(picture(53, 37), size=31)


@pytest.mark.parametrize("size", ["big", 400.5, 0, -64, 4097])
def test_a_working_size_that_is_no_size_is_refused(photo, size):
    with pytest.raises(ValueError, match=rf"^size is {size!r}; the short side is a whole number"):
        check_short_side(size, photo.model.network.config.image)


def test_a_photo_above_the_limit_is_refused(model):
    with pytest.raises(ValueError, match="53 x 37 pixels, more than the limit of 100;"):
        model.encode(picture(53, 37), max_pixels=100)


def test_reprs_say_what_they_are(model, photo):
    assert repr(model).startswith(f"<Model {model.name}: 0.")
    assert repr(photo) == f"<EncodedImage image, 53 x 37 pixels, by {model.name}>"


def test_photos_can_be_kept_in_lists_and_sets(model, photo):
    other = model.encode(picture(53, 37))
    assert other not in [photo]
    assert len({photo, other, photo}) == 2


# --- What is asked, and how it is answered ----------------------------------------------------------------------------

OBJECTS = [
    [seem.Point(4, 2)],
    [seem.Point(40, 30), RED_CAR],
    [RED_CAR],
    [seem.Point(20, 10), seem.Point(44, 30, positive=False)],
    [seem.Text("a small dog"), seem.Point(30, 20)],
]


def test_several_objects_at_once_are_answered_as_one_by_one(photo):
    together = photo.segment_many(OBJECTS, text_threshold=0.0)
    assert len(together) == len(OBJECTS)
    for row, prompts in enumerate(OBJECTS):
        assert same(
            together[row : row + 1], photo.segment(*prompts, text_threshold=0.0), tolerance=1e-5
        )


def test_objects_that_remember_a_mask_are_answered_as_one_by_one(photo):
    before = photo.segment(seem.Point(4, 2))
    objects = [[seem.Point(40, 30)], [seem.Mask(logits=before.logits), seem.Point(9, 9)], [RED_CAR]]
    together = photo.segment_many(objects, text_threshold=0.0)
    for row, prompts in enumerate(objects):
        assert same(
            together[row : row + 1], photo.segment(*prompts, text_threshold=0.0), tolerance=1e-5
        )


def test_the_order_of_objects_is_kept(photo):
    forward, backward = (
        photo.segment_many(order, text_threshold=0.0) for order in (OBJECTS, OBJECTS[::-1])
    )
    assert same(forward, backward[::-1], tolerance=1e-5)


def test_the_order_of_prompts_does_not_matter(photo):
    prompts = [
        seem.Point(4, 2),
        seem.Point(40, 30, positive=False),
        RED_CAR,
        seem.Box(2, 2, 9, 9),
        seem.Text("a car"),
    ]
    assert same(photo.segment(*prompts), photo.segment(*prompts[::-1]), tolerance=1e-5)


def test_every_prompt_of_a_call_counts(photo):
    click = seem.Point(4, 2)
    alone = photo.segment(click)
    for more in (
        RED_CAR,
        seem.Point(44, 30, positive=False),
        seem.Point(44, 30),
        seem.Box(10, 10, 40, 30),
    ):
        assert not np.allclose(
            photo.segment(click, more, text_threshold=0.0).logits, alone.logits, atol=1e-7
        )


def test_the_answer_says_which_rule_it_follows(photo):
    click, box = seem.Point(4, 2), seem.Box(3, 4, 30, 40)
    assert photo.segment(click).kind == "visual"
    assert photo.segment(click, RED_CAR, text_threshold=0.0).kind == "visual, with the phrase"
    assert photo.segment(RED_CAR, text_threshold=0.0).kind == "phrase"
    polygon = seem.Polygon([(1, 1), (20, 1), (20, 20)])
    result = photo.segment_many([[click], [box, RED_CAR], [polygon]], text_threshold=0.0)
    assert result.kind == "visual, visual, with the phrase"
    rule = {
        "nano": "polygon: filled, bounds the object and is its mask so far",
        "seem-focal-t-v1": "polygon: closed curve, one network pixel wide",
    }
    assert result.provenance.rules == (
        "box: filled",
        "point: 3 x 3 network pixels",
        rule[photo.model.name],
    )
    assert result.provenance.prompts[1] == (box, RED_CAR)


def marks_of(photo, *prompts):
    drawn, _ = photo.predictor.decoder.rasterize([ObjectPrompts.of(prompts)])
    bounds = None if drawn.bounds is None else drawn.bounds[0, 0].numpy()
    return drawn.positive[0, 0].numpy(), drawn.negative[0, 0].numpy(), bounds


def previous_of(photo, *prompts, before=None):
    asked = [ObjectPrompts.of(prompts)]
    return photo.predictor.decoder._previous_masks(
        asked, before, photo.predictor.decoder.rasterize(asked)[1]
    )


def test_a_polygon_is_an_outline_where_the_model_takes_one_and_marks_elsewhere(photo):
    square = seem.Polygon([(2, 2), (34, 2), (34, 26), (2, 26)])
    positive, negative, bounds = marks_of(photo, square)
    assert positive.any()
    assert not negative.any()
    so_far = previous_of(photo, square)
    if photo.model.name != "nano":
        assert bounds is None
        assert so_far is None
        return
    np.testing.assert_array_equal(bounds, positive)
    assert so_far.shape == (1, 1, 16, 24)
    height, width = photo.predictor.decoder.frame.input_hw
    inside = positive[:height, :width].reshape(height // 4, 4, width // 4, 4).all(axis=(1, 3))
    outside = ~positive[:height, :width].reshape(height // 4, 4, width // 4, 4).any(axis=(1, 3))
    told = so_far[0, 0, : height // 4, : width // 4].numpy()
    assert (told[inside] == 3.0).all()
    assert (told[outside] == -3.0).all()
    other = seem.Polygon([(40, 20), (50, 20), (50, 30)])
    both = previous_of(photo, square, other)
    assert (both >= so_far).all()
    assert (both > so_far).any()


def test_what_was_answered_before_comes_before_an_outline(photo):
    outline = seem.Polygon([(2, 2), (34, 2), (34, 26), (2, 26)])
    logits = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    handed = previous_of(photo, outline, seem.Mask(logits=logits))
    np.testing.assert_array_equal(handed[0, 0], logits)
    before = torch.zeros(1, 1, 16, 24)
    assert previous_of(photo, outline, before=before) is before


def test_marks_correct_an_outline():
    """What is clicked away is neither marked nor in the mask so far, and what is clicked beside it may belong to it."""
    photo = tiny_model("nano").encode(picture(53, 37))
    square = seem.Polygon([(2, 2), (34, 2), (34, 26), (2, 26)])
    away, beside = seem.Point(20, 14, positive=False), seem.Point(40, 14)
    plain, corrected = marks_of(photo, square), marks_of(photo, square, away, beside)
    assert not (corrected[0] & corrected[1]).any()
    assert (corrected[2] & ~plain[2]).any()
    assert (corrected[2] >= plain[2]).all()
    assert (previous_of(photo, square, away, beside) < previous_of(photo, square)).any()


def test_outlines_and_clicks_of_one_call_do_not_disturb_each_other():
    photo = tiny_model("nano").encode(picture(53, 37))
    asked = [
        [seem.Point(4, 2)],
        [seem.Polygon([(2, 2), (34, 2), (34, 26), (2, 26)])],
        [seem.Box(3, 4, 30, 20)],
    ]
    together = photo.segment_many(asked)
    for row, prompts in enumerate(asked):
        assert same(together[row : row + 1], photo.segment(*prompts), tolerance=1e-4)


def test_nano_keeps_to_an_outline():
    photo = seem.load("nano").encode("examples/photos/coffee.jpg")
    height, width = photo.hw
    corners = [(0.3, 0.25), (0.55, 0.2), (0.75, 0.4), (0.7, 0.7), (0.4, 0.75), (0.25, 0.5)]
    outline = seem.Polygon([(x * width, y * height) for x, y in corners])
    drawn = outline.rasterize(RasterFrame(photo.hw, photo.hw))
    found = photo.segment(outline).masks[0]
    assert (found & drawn).sum() > 0.75 * (found | drawn).sum()
    marked = photo.segment(seem.Mask(drawn)).masks[0]  # the same area as a mark
    assert (found & drawn).sum() / (found | drawn).sum() > (marked & drawn).sum() / (
        marked | drawn
    ).sum()


def test_mask_logits_go_out_and_in_again(photo):
    first = photo.segment(seem.Point(4, 2))
    assert first.logits.shape == (1, 16, 24)
    again = photo.segment(seem.Mask(logits=first.logits[0]))
    refined = photo.segment(seem.Mask(logits=first[0].logits), seem.Point(40, 30, positive=False))
    assert again.masks.shape == refined.masks.shape == (1, 37, 53)
    assert not np.allclose(again.logits, refined.logits, atol=1e-7)
    clicked = photo.segment(seem.Point(9, 9))
    remembered = photo.segment(seem.Point(9, 9), seem.Mask(logits=first.logits))
    assert not np.allclose(remembered.logits, clicked.logits, atol=1e-7)


@pytest.mark.parametrize("shape", [(15, 24), (16, 23), (17, 24), (32, 48), (1, 1)])
@pytest.mark.parametrize("more", [(), (seem.Point(4, 2),)], ids=["alone", "with a click"])
def test_mask_logits_of_another_size_are_refused(photo, shape, more):
    with pytest.raises(ValueError, match=r"[Mm]ask logits") as caught:
        photo.segment(seem.Mask(logits=np.ones(shape, dtype=np.float32)), *more)
    assert len(str(caught.value).splitlines()) == 1


def test_a_phrase_that_is_not_there_gives_an_empty_result(photo):
    nothing = photo.segment(RED_CAR, text_threshold=1.0)
    assert len(nothing) == 0
    assert nothing.masks.shape == (0, 37, 53)
    assert nothing.labels == ()
    assert nothing.provenance.prompts == ((RED_CAR,),)
    some = photo.segment_many([[RED_CAR], [seem.Point(4, 2)]], text_threshold=1.0)
    assert same(some, photo.segment(seem.Point(4, 2)), tolerance=1e-5)


@pytest.mark.parametrize(
    "phrase", ["x" * 10_000, "a " * 5_000, "🦊 fox", "ein Mädchen", "<|endoftext|>"]
)
def test_any_phrase_is_read(photo, phrase):
    assert photo.segment(seem.Text(phrase), text_threshold=0.0).masks.shape[1:] == (37, 53)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ((), "There is no prompt; pass a Point"),
        (
            (seem.Point(4, 2, positive=False),),
            "All prompts are negative; add at least one that says what is meant",
        ),
        ((seem.Point(53, 2),), r"Point\(53, 2\) lies outside the image of 53 x 37 pixels"),
        ((seem.Point(2, -1),), "lies outside the image"),
        (
            (seem.Box(60, 1, 70, 9),),
            r"Box\(60, 1, 70, 9\) lies outside the image of 53 x 37 pixels",
        ),
        ((seem.Point(4, 2), seem.Stroke([(60, 1), (70, 9)])), "This stroke, which begins at"),
        ((seem.Mask(region(37, 53)),), "The mask is 37 x 53 pixels, the image 53 x 37"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(photo, prompts, message):
    for ask in (
        photo.segment,
        photo.session().add,
        lambda *prompts: photo.segment_many([[seem.Point(1, 1)], prompts]),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            ask(*prompts)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ((4, 2), r"\(4, 2\) is no prompt; pass seem.Point\(x, y\)"),
        ("a cat", "'a cat' is no prompt; pass seem.Point.* seem.Text"),
        ([seem.Point(4, 2)], r"is no prompt; pass the prompts one by one, segment\(\*prompts\)"),
        (np.ones((37, 53), dtype=np.bool_), r"ndarray is no prompt; pass seem.Point"),
    ],
)
def test_what_is_no_prompt_is_refused(prompt, message):
    of = inspect.unwrap(ObjectPrompts.of.__func__)  # without the type checks of these tests
    with pytest.raises(ValueError, match=message) as caught:
        of(ObjectPrompts, [prompt])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("objects", "message"), [([], "There is no object"), ([[seem.Point(1, 1)], []], "no prompt")]
)
def test_a_list_without_objects_is_refused(photo, objects, message):
    with pytest.raises(ValueError, match=message):
        photo.segment_many(objects)


@pytest.mark.parametrize(
    "objects", [[seem.Point(1, 1)], seem.Point(1, 1), [3], ["a cat"], None, 3, "a cat"]
)
def test_a_list_of_what_is_no_list_is_refused(photo, objects):
    segment_many = inspect.unwrap(
        EncodedImage.segment_many
    )  # without the type checks of these tests
    with pytest.raises(
        ValueError, match="segment_many takes a list of lists of prompts, one list for each object"
    ):
        segment_many(photo, objects)


# --- Thresholds and classes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_thresholds_outside_0_to_1_are_refused(photo, value):
    for call in (photo.panoptic, photo.instances):
        with pytest.raises(ValueError, match=r"^threshold is .*; it must be between 0 and 1\.$"):
            call(threshold=value)
    with pytest.raises(ValueError, match=r"^text_threshold is .*; it must be between 0 and 1\.$"):
        photo.segment(RED_CAR, text_threshold=value)


@pytest.mark.parametrize("value", ["high", 1j, [0.5]])
def test_a_threshold_that_is_no_number_is_refused(photo, value):
    panoptic = inspect.unwrap(EncodedImage.panoptic)  # without the type checks of these tests
    with pytest.raises(ValueError, match=r"^threshold is .*; it must be between 0 and 1"):
        panoptic(photo, threshold=value)


def test_nothing_passes_the_highest_threshold(photo):
    for result in (photo.panoptic(threshold=1.0), photo.instances(threshold=1.0)):
        assert len(result) == 0
        assert result.masks.shape == (0, 37, 53)
        assert result.overlay(labels=False).size == (53, 37)


def test_instances_come_best_first_and_at_most_top(photo):
    result = photo.instances(threshold=0.0, top=7)
    assert 0 < len(result) <= 7
    assert (np.diff(result.scores) <= 0).all()
    assert photo.instances(threshold=0.0, top=10**6).scores.max() <= 1


def test_of_instances_that_repeat_each_other_the_better_may_stay_alone(photo):
    everyone = photo.instances(threshold=0.0, mask_nms_threshold=1.0)
    alone = photo.instances(threshold=0.0, mask_nms_threshold=0.9)
    repeated = len({mask.tobytes() for mask in everyone.masks}) < len(
        everyone
    )  # a query under several names
    assert len(alone) < len(everyone) if repeated else 0 < len(alone) <= len(everyone)
    assert alone.scores[0] == everyone.scores[0]
    with pytest.raises(ValueError, match="mask_nms_threshold"):
        photo.instances(mask_nms_threshold=1.5)


@pytest.mark.parametrize("top", [0, -1, 1.5, True, "ten"])
def test_a_top_that_is_no_number_of_instances_is_refused(photo, top):
    instances = inspect.unwrap(EncodedImage.instances)  # without the type checks of these tests
    with pytest.raises(ValueError, match=rf"top is {top!r}; it is a whole number, at least 1"):
        instances(photo, top=top)


def test_panoptic_masks_do_not_overlap_and_semantic_masks_fill_the_photo(photo):
    assert (photo.panoptic(threshold=0.0).masks.sum(axis=0) <= 1).all()
    assert (photo.semantic().masks.sum(axis=0) == 1).all()


def test_nano_finds_instances_as_islands_of_what_is_there(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    decoded = count_calls(monkeypatch, Segmenter, "decode")
    result = photo.instances(["fox", "owl", "sky"], threshold=0.0)
    assert result.kind == "phrases, connected components"
    assert set(result.labels) <= {"fox", "owl"}  # sky has no instances
    assert len(decoded) == 1  # both are asked for in one pass
    assert len(photo.instances(["fox", "owl"], threshold=0.0, top=1)) <= 1
    assert len(photo.instances(["fox", "owl"], threshold=1.0)) == 0
    assert (np.diff(result.scores) <= 0).all()


def all_present_with(monkeypatch, presence):
    """Let every class be in the image with one presence."""

    def class_presence(_, vocabulary):
        return torch.full((len(vocabulary),), presence), torch.ones(len(vocabulary))

    monkeypatch.setattr(DenseRecognizer, "_class_presence", class_presence)


def test_islands_of_a_thing_are_instances_and_stuff_stays_whole(monkeypatch):
    photo = tiny_model("nano").encode(picture(64, 64))
    frame = photo.predictor.decoder.frame
    logits = torch.full((frame.padded_hw[0] // 2, frame.padded_hw[1] // 2), -9.0)
    logits[2:10, 2:10] = logits[2:10, 20:24] = 9.0  # two islands
    answer = ObjectAnswer(logits, 0.5, "phrase", torch.zeros(1))

    def presence(self, vectors, against=None, among=None, regions=None):
        return torch.where(regions.sum(dim=(1, 2)) > 40, 0.9, 0.5)

    monkeypatch.setattr(DenseRecognizer, "presence", presence)
    all_present_with(monkeypatch, 0.8)
    monkeypatch.setattr(PromptDecoder, "answer", lambda self, objects: [[answer] for _ in objects])
    vocabulary = seem.Vocabulary.of(["fox", "grass"], stuff=["grass"])
    result = photo.instances(vocabulary, threshold=0.0)
    assert result.labels == (
        "fox",
        "fox",
    )  # the larger island first: its places show a fox more surely
    assert result.scores == pytest.approx([0.8 * 0.9, 0.8 * 0.5], abs=0.03)  # edges are soft
    assert photo.instances(vocabulary, threshold=0.5).labels == ("fox",)
    whole = photo.panoptic(seem.Vocabulary.of(["grass"], stuff=["grass"]), threshold=0.0)
    assert whole.labels == ("grass",)
    assert whole.areas[0] == pytest.approx(result.areas.sum(), rel=0.05)


def test_of_thousands_of_names_only_the_likeliest_are_asked_for(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    judged = count_calls(monkeypatch, dense_recognizer, "presence_and_limit")
    photo.panoptic([f"thing {number}" for number in range(2000)], threshold=0.0)
    assert len(judged[0][0]) == dense_recognizer.SHORTLIST


def test_own_classes_are_the_only_ones_that_answer(photo):
    names = ["fox", "the sky at night"]
    assert set(photo.semantic(names).labels) <= set(names)
    result = photo.panoptic(names, threshold=0.0)
    assert {category["name"] for category in result.categories} == {"unlabelled", *names}
    mine = photo.semantic(seem.Vocabulary.of(names))
    assert same(mine, photo.semantic(names))
    assert (
        set(photo.instances(["sky", "grass"], threshold=0.0).labels) == set()
    )  # stuff has no instances
    assert len(photo.semantic(["fox"])) == 1


def test_places_answer_for_pixels_where_a_model_knows_what_they_mean(model, monkeypatch):
    decoded = count_calls(monkeypatch, Segmenter, "decode")
    photo = model.encode(picture(53, 37))
    names = ["sky", "grass", "road"]
    result = photo.semantic(names)
    if model.name != "nano":
        assert (result.kind, len(decoded)) == ("object queries", 1)
        return
    assert (result.kind, len(decoded)) == ("text map", 0)
    cosines = np.einsum(
        "dhw,kd->khw", photo.encoding.text_map[0], model.classifier(seem.Vocabulary.of(names))[:-1]
    )
    like = cosines.argmax(axis=0)[
        : photo.batch.input_hw[0][0] // 8, : photo.batch.input_hw[0][1] // 8
    ]
    told = np.zeros(photo.hw, int)
    for name, mask in zip(result.labels, result.masks, strict=True):
        told[mask] = names.index(name)
    middles = [
        [int((at + 0.5) * whole / count) for at in range(count)]
        for whole, count in zip(told.shape, like.shape, strict=True)
    ]
    assert (told[np.ix_(*middles)] == like).mean() > 0.9  # growing to the photo moves borders


@pytest.mark.parametrize(("there", "notes"), [(0.9, 0), (0.5, 1)])
def test_a_map_of_pixels_says_when_the_photo_surely_shows_no_class(monkeypatch, there, notes):
    photo = tiny_model("nano").encode(picture(53, 37))
    all_present_with(monkeypatch, there)
    result = photo.semantic(["fox"])
    assert result.labels == ("fox",)
    assert result.scores == pytest.approx([there])  # its share of all names is 1: there is no other
    assert (
        result.notes
        == ("nano is sure of none of the classes; it names the likeliest alone",)[:notes]
    )


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "A list of classes needs at least one name; pass None"),
        (["cat", "Cat"], "'Cat' repeats 'cat'"),
        (["cat", " "], "which says nothing"),
        ("cat,dog", "classes is a list of names, got the text 'cat,dog'"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(photo, classes, message):
    for call in (photo.panoptic, photo.instances, photo.semantic):
        with pytest.raises(ValueError, match=message):
            call(classes)


def count_calls(monkeypatch, owner, name):
    """Count calls of a method, and keep what each was asked."""
    original, calls = getattr(owner, name), []

    def counted(self, *arguments, **options):
        calls.append(arguments)
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_classes_are_encoded_once_a_model(monkeypatch):
    model = tiny_model("nano")
    encoded = count_encoded_phrases(monkeypatch)
    for seed in range(2):
        photo = model.encode(picture(53, 37, seed))
        photo.semantic(["cat", "dog"])
        photo.semantic(seem.Vocabulary.of(["cat", "dog"]))
    assert len(encoded) == 2  # the two, and COCO's names, which compete for what they see
    photo.semantic(["dog", "cat"])
    assert len(encoded) == 3


# --- Labels of interactive masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_a_click_never_pays_for_labels(monkeypatch, name):
    photo = tiny_model(name).encode(picture(53, 37))
    decoded = count_calls(monkeypatch, Segmenter, "decode")
    encoded = count_encoded_phrases(monkeypatch)
    results = [photo.segment(seem.Point(4, 2)), photo.segment(seem.Box(3, 4, 30, 40))]
    assert [result.masks.any() and repr(result) for result in results]
    assert all(RowKind.OBJECT not in asked for _, _, asked, *_ in decoded)
    assert encoded == []
    for result in results:
        assert len(result.labels) == 1
        assert "labels" in result.seconds
    photo.panoptic()
    photo.instances()
    by_queries = name != "nano"  # nano asks its places, then for classes by their names
    assert sum(RowKind.OBJECT in asked for _, _, asked, *_ in decoded) == (1 if by_queries else 0)
    assert len(encoded) == (1 if by_queries else 3)


def test_a_mask_is_named_after_what_its_places_mean(monkeypatch):
    photo = tiny_model("nano").encode(picture(53, 37))
    meaning = photo.encoding.text_map
    dog = photo.model.classifier(seem.Vocabulary.coco_panoptic())[16]
    decoder = photo.predictor.decoder
    encoding = replace(photo.encoding, text_map=dog[None, :, None, None].expand_as(meaning))
    photo = EncodedImage(PromptDecoder(decoder.runtime, decoder.image, decoder.batch, encoding))
    monkeypatch.setattr(
        photo.model.network.text.logit_scale, "data", torch.tensor(12.0)
    )  # sure of itself
    named = photo.segment(seem.Point(4, 2))
    assert named.labels == ("dog",)
    assert named.category_ids.tolist() == [18]
    assert 0.2 <= named.label_scores[0] <= 1
    monkeypatch.setattr(
        photo.model.network.text.logit_scale, "data", torch.tensor(-9.0)
    )  # everything alike
    assert photo.segment(seem.Point(4, 2)).labels == (None,)


def test_a_mask_is_named_after_the_object_query_that_fits_it(monkeypatch, photo):
    if photo.encoding.text_map is not None:
        return
    clicked = photo.segment(seem.Point(4, 2))
    found = photo.predictor.recognizer.object_queries()
    small = torch.from_numpy(np.array(clicked.logits[0]))
    masks = found.mask_logits.clone()
    masks[5] = small
    vectors = found.class_vectors.clone()
    dog = photo.model.classifier(seem.Vocabulary.coco_panoptic())[16]
    vectors[5] = dog
    monkeypatch.setattr(photo.predictor.recognizer, "_regions", type(found)(vectors, masks))
    monkeypatch.setattr(
        photo.model.network.text.logit_scale, "data", torch.tensor(12.0)
    )  # sure of itself
    named = photo.segment(seem.Point(4, 2))
    assert named.labels == ("dog",)
    assert named.category_ids.tolist() == [18]
    assert 0.15 <= named.label_scores[0] <= 1


def test_results_outlive_their_photo(model):
    result = model.encode(picture(53, 37)).segment(seem.Point(4, 2))
    assert len(result.labels) == 1
    assert isinstance(result.image, Image.Image)


def test_provenance_says_what_ran(model, photo):
    record = photo.segment(seem.Point(4, 2), RED_CAR, text_threshold=0.0).to_coco()["seem"]
    assert (record["model"], record["sha256"], record["precision"]) == (
        model.name,
        "ab" * 32,
        "float32",
    )
    assert record["task"] == "interactive"
    assert record["prompts"] == [
        [{"kind": "point", "x": 4, "y": 2, "positive": True}, RED_CAR.to_dict()]
    ]
    assert record["seconds"].keys() == {"encode", "interactive"}  # it is called what was said
    assert photo.segment(seem.Point(4, 2)).to_coco()["seem"]["seconds"].keys() == {
        "encode",
        "interactive",
        "labels",
    }
    assert photo.panoptic(threshold=0.0).provenance.task == "panoptic"
    assert photo.instances().provenance.task == "instance"
    assert photo.semantic().provenance.task == "semantic"


def test_questions_change_nothing_on_a_model(model):
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    photo = model.encode(picture(53, 37))
    for call in CALLS.values():
        call(photo)
    assert isinstance(photo, EncodedImage)
    assert not any(p.grad is not None for p in model.network.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.network.state_dict().items())
