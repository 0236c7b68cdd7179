import json
import wave

import numpy as np
import pytest
from PIL import Image

from seem.adapters import speech
from seem.cli.prompts import read_objects
from seem.errors import SeemError
from seem.prompts import Audio, Box, Mask, Point, Polygon, Reference, Scribble, Stroke, Text


@pytest.mark.parametrize(
    ("name", "value", "prompt"),
    [
        ("point", "410,220", Point(410, 220)),
        ("point", " 410 , 220 ", Point(410, 220)),
        ("point", "-3,+4", Point(-3, 4)),
        ("point", "4.0,2.5", Point(4.0, 2.5)),
        ("not_point", "1,2", Point(1, 2, positive=False)),
        ("box", "30,40,300.5,400", Box(30, 40, 300.5, 400)),
        ("stroke", "10,10  60,80", Stroke([(10, 10), (60, 80)])),
        ("not_stroke", "10,10 60,80 5,5", Stroke([(10, 10), (60, 80), (5, 5)], positive=False)),
        ("scribble", "1,1 2,2; 3,3 4,4", Scribble([[(1, 1), (2, 2)], [(3, 3), (4, 4)]])),
        ("scribble", "1,1 2,2;", Scribble([[(1, 1), (2, 2)]])),
        ("not_scribble", "1,1 2,2", Scribble([[(1, 1), (2, 2)]], positive=False)),
        ("polygon", "0,0 9,0 9,9", Polygon([(0, 0), (9, 0), (9, 9)])),
        ("text", "the red car", Text("the red car")),
        ("text", "🐈, a cat; 1,2", Text("🐈, a cat; 1,2")),
    ],
)
def test_each_option_becomes_its_prompt(name, value, prompt):
    assert read_objects([(name, value)]) == ((prompt,),)


def test_whole_numbers_and_others_name_the_same_pixel():
    ((point,),) = read_objects([("point", "4,4.0")])
    assert point.position == (4.5, 4.5)
    assert json.dumps(point.to_dict()) == '{"kind": "point", "x": 4, "y": 4.0, "positive": true}'


def test_object_starts_the_next_object():
    given = [
        ("point", "1,2"),
        ("text", "a dog"),
        ("object", ""),
        ("box", "1,2,3,4"),
        ("object", ""),
        ("point", "5,6"),
    ]
    assert read_objects(given) == ((Point(1, 2), Text("a dog")), (Box(1, 2, 3, 4),), (Point(5, 6),))


def test_object_may_also_stand_before_the_first():
    assert read_objects([("object", ""), ("point", "1,2")]) == ((Point(1, 2),),)


def test_nothing_given_is_no_object():
    assert read_objects([]) == ()


@pytest.mark.parametrize("first", ["stroke", "width"])
def test_a_width_is_that_of_its_object_wherever_it_stands(first):
    one = [("stroke", "1,1 2,2"), ("width", "12")]
    one = one if first == "stroke" else one[::-1]
    objects = read_objects([*one, ("object", ""), ("scribble", "1,1 2,2")])
    assert [prompts[0].width for prompts in objects] == [12.0, 8.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("point", "1")], "--point '1': '1' is not of the form X,Y"),
        ([("point", "1,2,3")], "--point '1,2,3': '1,2,3' is not of the form X,Y"),
        ([("point", "")], "--point '': '' is not of the form X,Y"),
        ([("point", "a,2")], "--point 'a,2': 'a' is no number"),
        ([("point", "1e400,2")], "inf; it must be a finite number"),
        (
            [("not_point", "nan,2")],
            "--not-point 'nan,2': The x of a point is nan; it must be a finite number",
        ),
        ([("box", "1,2,3")], "--box '1,2,3': '1,2,3' is not of the form X0,Y0,X1,Y1"),
        ([("box", "9,2,3,4")], r"Box\(9, 2, 3, 4\) is inverted; give the left top corner"),
        ([("box", "3,2,3,4")], r"Box\(3, 2, 3, 4\) is empty"),
        ([("stroke", "3,4")], "--stroke '3,4': A stroke needs at least 2 points, got 1; use Point"),
        ([("stroke", "")], "A stroke needs at least 2 points, got 0"),
        ([("scribble", "1,1 2,2; 3,3")], "at least 2 points, got 1"),
        ([("scribble", "")], "A scribble needs at least one stroke"),
        ([("polygon", "1,1 2,2")], "A polygon needs at least 3 points"),
        ([("polygon", "1,1 2,2 3,3")], "lie on one line, it is empty"),
        ([("text", "")], "The phrase '' is empty; say what to look for"),
        ([("text", "\n")], "is empty"),
        (
            [("text", "a\x00b")],
            r"--text 'a\\x00b': The phrase holds the control character U\+0000; remove it",
        ),
        (
            [("text", "a" * 100_001)],
            r"--text 'a{60}\.\.\.': A phrase has at most 100,000 characters",
        ),
        ([("stroke", "1,1 2,2"), ("width", "0")], "The width of a stroke is 0; it must be above 0"),
        ([("stroke", "1,1 2,2"), ("width", "wide")], "--width 'wide': 'wide' is no number"),
        (
            [("stroke", "1,1 2,2"), ("width", "1"), ("width", "2")],
            r"Object 1 has 2 widths \(1, 2\); give --width once",
        ),
        (
            [("point", "1,2"), ("width", "5")],
            "--width 5 has no effect: object 1 has no --stroke and no --scribble",
        ),
        ([("width", "5")], "--width 5 has no effect"),
        ([("object", "")], "Object 1 has no prompt; put a --point"),
        ([("point", "1,2"), ("object", "")], "Object 2 has no prompt"),
        ([("object", ""), ("object", ""), ("point", "1,2")], "Object 1 has no prompt"),
    ],
)
def test_what_is_no_prompt_is_refused_by_name_and_value(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_objects(given)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_long_phrases_are_taken(length):
    assert len(read_objects([("text", "a" * length)])[0][0].phrase) == length


INSIDE = np.array([[0, 0, 1], [0, 1, 1]], dtype=bool)


def palette_picture():
    picture = Image.fromarray(INSIDE.astype(np.uint8) * 3).convert("P")
    picture.putpalette([200, 0, 0] * 256)  # colours say nothing here, numbers do
    return picture


def cutout():
    pixels = np.full((2, 3, 4), 90, dtype=np.uint8)
    pixels[..., 3] = INSIDE * 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(INSIDE),
        Image.fromarray(INSIDE.astype(np.uint8)),
        Image.fromarray(INSIDE.astype(np.uint16) * 300),
        Image.fromarray(INSIDE.astype(np.uint8) * 255).convert("RGB"),
        palette_picture(),
        cutout(),
    ],
    ids=["1 bit", "grey", "16 bit", "RGB", "palette", "cut-out"],
)
def test_a_mask_is_read_from_a_picture(tmp_path, picture):
    picture.save(tmp_path / "mask.png")
    ((mask,),) = read_objects([("mask", str(tmp_path / "mask.png"))])
    assert isinstance(mask, Mask)
    assert mask.array.tolist() == INSIDE.tolist()


def test_an_empty_mask_is_refused(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "mask.png")
    with pytest.raises(
        ValueError, match="The mask of 4 x 3 pixels is empty; mark at least one pixel"
    ):
        read_objects([("mask", str(tmp_path / "mask.png"))])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "There is no photo at"), (b"", "is empty"), (b"x" * 99, "is not a picture")],
)
def test_a_mask_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "mask.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SeemError, match=rf"mask\.png.*|{message}") as caught:
        read_objects([("mask", str(path))])
    assert message in str(caught.value)


# --- Other photos, and speech -----------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "other.png")
    return str(tmp_path / "other.png")


def test_a_reference_holds_what_is_marked_there(other):
    given = [
        ("reference_box", "1,2,30,20"),
        ("point", "4,2"),
        ("reference", other),
        ("reference_text", "a dog"),
    ]
    ((click, reference),) = read_objects(given)
    assert click == Point(4, 2)
    assert isinstance(reference, Reference)
    assert reference.image == other
    assert reference.prompts == (Box(1, 2, 30, 20), Text("a dog"))


def test_every_object_has_its_own_reference(other):
    one = [("reference", other), ("reference_point", "4,2")]
    first, second = read_objects(
        [*one, ("object", ""), ("reference", other), ("reference_box", "1,2,3,4")]
    )
    assert (first[0].prompts, second[0].prompts) == ((Point(4, 2),), (Box(1, 2, 3, 4),))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [("reference_box", "1,2,3,4")],
            "--reference-box 1,2,3,4 has no effect: object 1 has no --reference PHOTO",
        ),
        (
            [("reference", "OTHER")],
            "does not mark the object in that photo; add one of --reference-point, --",
        ),
        (
            [("reference", "OTHER"), ("reference", "OTHER"), ("reference_point", "1,2")],
            r"Object 1 has 2 references \(.*\); give --reference once",
        ),
        (
            [("reference", "OTHER"), ("reference_point", "1")],
            "--reference-point '1': '1' is not of the form X,Y",
        ),
        (
            [("reference", "OTHER"), ("reference_text", "")],
            "--reference-text '': The phrase '' is empty",
        ),
    ],
    ids=["no photo", "no region", "two photos", "no point", "no phrase"],
)
def test_a_reference_that_is_half_said_is_refused(other, given, message):
    given = [(name, other if value == "OTHER" else value) for name, value in given]
    with pytest.raises(ValueError, match=message) as caught:
        read_objects(given)
    assert len(str(caught.value).splitlines()) == 1


def test_a_reference_that_is_no_photo_is_named():
    with pytest.raises(SeemError, match=r"There is no photo at nowhere\.png"):
        read_objects([("reference", "nowhere.png"), ("reference_point", "1,2")])


@pytest.fixture
def tone(tmp_path):
    samples = (np.sin(np.arange(8_000) / 5) * 20_000).astype("<i2")
    with wave.open(str(tmp_path / "say.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return str(tmp_path / "say.wav")


def test_speech_is_heard_as_it_is_read(monkeypatch, tone):
    monkeypatch.setattr(speech, "transcribe", lambda sound: "the red car")
    ((audio,),) = read_objects([("audio", tone)])
    assert isinstance(audio, Audio)
    assert audio.to_dict() == {"kind": "audio", "phrase": "the red car", "file": "say.wav"}


def test_speech_that_cannot_be_heard_is_refused(monkeypatch, tone, tmp_path):
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    with pytest.raises(SeemError, match=r'pip install "seem\[audio\]"'):
        read_objects([("audio", tone)])
    with pytest.raises(SeemError, match="There is no sound at nowhere"):
        read_objects([("audio", "nowhere.wav")])
    monkeypatch.setattr(speech, "transcribe", lambda sound: "")
    with pytest.raises(ValueError, match=r"^--audio .*: No words were heard in say\.wav"):
        read_objects([("audio", tone)])
