"""Spoken prompts: which sounds are taken, who listens, and that the transcript is what is asked."""

import math
import pickle
import struct
import sys
import types
import wave

import numpy as np
import pytest

import seem
from seem import sounds
from seem.adapters import speech
from seem.prompts import Audio, Box, Point, Text
from seem.sounds import Sound
from tiny import picture, tiny_model, tiny_relative
from unchecked import import_unchecked

RATE = 8_000
TONE = (np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE) / 2).astype(np.float32)  # a second


def say(phrase):
    """Make a listener that always hears the same words."""
    return lambda sound: phrase


def spoken(phrase, sound=TONE):
    return Audio(sound, RATE, transcribe=say(phrase))


def write_wav(path, samples, width=2, rate=RATE, channels=1):
    """Write floats in -1 to 1 as whole numbers of so many bytes."""
    full = 2 ** (8 * width - 1) - 1
    numbers = np.round(np.asarray(samples, dtype=np.float64) * full).astype(np.int64)
    if width == 1:
        numbers = numbers + 128
    raw = b"".join(int(number).to_bytes(width, "little", signed=width > 1) for number in numbers)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    """No test reaches a speech model that happens to be installed."""
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    speech.listener.cache_clear()


@pytest.fixture(scope="module")
def photo():
    return tiny_model("nano").encode(picture(53, 37))


# --- What is said is what is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["nano", "seem-v1", "seem-v0", "xdecoder"])
def test_a_spoken_phrase_is_answered_as_a_written_one(policy):
    model = tiny_model("nano") if policy == "nano" else tiny_relative(policy)
    photo = model.encode(picture(53, 37))
    questions = [()] if policy == "xdecoder" else [(), (Point(4, 2),)]
    for others in questions:
        heard = photo.segment(*others, spoken("the red car"), text_threshold=0.0)
        read = photo.segment(*others, Text("the red car"), text_threshold=0.0)
        np.testing.assert_array_equal(heard.logits, read.logits)
        assert heard.kind == read.kind


def test_the_demo_has_rows_of_their_own_for_spoken_words():
    photo = tiny_relative("seem-demo").encode(picture(53, 37))
    heard = photo.segment(spoken("the red car"))
    assert heard.kind == "phrase"
    both = photo.segment(spoken("the red car"), Text("a dog"))
    twice = photo.segment(Text("the red car"), Text("a dog"))
    assert heard.masks.shape == both.masks.shape == (1, 37, 53)
    assert not np.allclose(both.logits, twice.logits, atol=1e-7)


def test_the_result_shows_what_was_heard(photo, tmp_path):
    said = Audio(write_wav(tmp_path / "car.wav", TONE), transcribe=say(" The  red car. "))
    assert said.to_dict() == {"kind": "audio", "phrase": None, "file": "car.wav"}
    record = photo.segment(Point(4, 2), said, text_threshold=0.0).to_coco()["seem"]
    assert record["prompts"][0][1] == {"kind": "audio", "phrase": "The red car.", "file": "car.wav"}
    assert record["kind"] == "visual, with the phrase"


def test_it_is_heard_once(photo):
    heard = []
    audio = Audio(TONE, RATE, transcribe=lambda sound: heard.append(sound) or "a cat")
    for _ in range(2):
        photo.segment(audio, text_threshold=0.0)
    assert audio.phrase == "a cat"
    assert len(heard) == 1
    np.testing.assert_array_equal(heard[0].samples, TONE)
    assert heard[0].rate == RATE


def test_what_was_heard_goes_to_another_process(tmp_path):
    audio = Audio(write_wav(tmp_path / "a.wav", TONE), transcribe=say("a cat"))
    assert audio.phrase == "a cat"
    sent = pickle.dumps(audio)
    (tmp_path / "a.wav").unlink()
    assert pickle.loads(sent).to_dict() == {"kind": "audio", "phrase": "a cat", "file": "a.wav"}


def test_a_session_and_several_objects_take_it(photo):
    talk = photo.session()
    talk.add(spoken("a cat"))
    assert talk.add(Point(4, 2)).provenance.prompts == ((talk.prompts[0], Point(4, 2)),)
    assert (
        photo.segment(spoken("a cat"), Point(4, 2), text_threshold=0.0).kind
        == "visual, with the phrase"
    )
    result = photo.segment_many([[Box(1, 1, 20, 20)], [spoken("a cat")]], text_threshold=0.0)
    assert result.kind == "visual, phrase"


@pytest.mark.parametrize("words", ["", "  ", "\u200b"])
def test_a_sound_without_words_is_refused(photo, words):
    with pytest.raises(
        ValueError, match=r"No words were heard in the sound \(1\.0 s\); repeat it, or use Text"
    ):
        photo.segment(spoken(words))


# --- Which sounds are taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_every_width_are_read(tmp_path, width):
    sound = sounds.read_wav(write_wav(tmp_path / "a.wav", TONE, width))
    assert (sound.rate, len(sound.samples), sound.seconds) == (RATE, RATE, 1.0)
    np.testing.assert_allclose(sound.samples, TONE, atol=0.01 if width == 1 else 1e-4)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([TONE, np.zeros_like(TONE)], axis=1)
    read = sounds.read_wav(write_wav(tmp_path / "a.wav", stereo.ravel(), channels=2))
    for sound in (read, sounds.sound_from_array(stereo, RATE)):
        np.testing.assert_allclose(sound.samples, TONE / 2, atol=1e-4)


@pytest.mark.parametrize(
    "samples",
    [
        TONE,
        TONE.astype(np.float64),
        (TONE * 32767).astype(np.int16),
        (TONE * 127 + 128).astype(np.uint8),
    ],
    ids=["float32", "float64", "int16", "uint8"],
)
def test_arrays_of_every_kind_are_read(samples):
    np.testing.assert_allclose(sounds.sound_from_array(samples, RATE).samples, TONE, atol=0.02)


@pytest.mark.parametrize("rate", [4_000, 16_000, 11_025, RATE])
def test_a_tone_keeps_its_pitch_and_length_at_another_rate(rate):
    resampled = Sound(TONE, RATE).at(rate)
    assert resampled.dtype == np.float32
    expected = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) / 2
    np.testing.assert_allclose(resampled, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(0, np.float32), RATE, "The sound is empty, it has no samples"),
        (np.zeros(RATE, np.float32), RATE, "The sound is silent"),
        (TONE / 1000, RATE, "The sound is silent"),
        (TONE[:80], RATE, r"The sound lasts 0\.010 s at 8,000 samples a second"),
        (
            np.tile(TONE, 61),
            RATE,
            "The sound lasts 61 s, a spoken prompt at most 60 s; cut the phrase out",
        ),
        (np.full(RATE, math.nan), RATE, "NaN or infinite values"),
        (np.full(RATE, math.inf), RATE, "NaN or infinite values"),
        (
            TONE * 20_000,
            RATE,
            r"The sound reaches .*; floats lie in -1 to 1, divide by the full scale",
        ),
        (TONE, None, r"does not say how fast it is played; pass Audio\(samples, rate=16_000\)"),
        (TONE, 0, "The rate is 0; it is a whole number of samples a second, 4,000 to 384,000"),
        (TONE, -8_000, "The rate is -8000"),
        (TONE, 10**9, "The rate is 1000000000"),
        (np.stack([TONE] * 9, axis=1), RATE, r"got shape \(8000, 9\)"),
        (TONE[None], RATE, r"got shape \(1, 8000\); transpose"),
        (TONE[None, None], RATE, r"got shape \(1, 1, 8000\)"),
        (np.array(["a"] * 900), RATE, "Sound is an array of floats"),
        ((TONE * 32767).astype(np.int64), RATE, "int64; convert"),
    ],
)
def test_an_array_that_is_no_spoken_phrase_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message) as caught:
        Audio(samples, rate, transcribe=say("never"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_rate_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"The rate is 8000\.5"):
        sounds.checked_rate.__wrapped__(8000.5)


def test_an_hour_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "hour.wav"
    with path.open("wb") as file:  # a header, and a hole where an hour would be
        size = 3600 * RATE * 2
        file.write(
            b"RIFF"
            + struct.pack("<I", 36 + size)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        )
        file.write(b"data" + struct.pack("<I", size))
        file.truncate(44 + size)
    monkeypatch.setattr(wave.Wave_read, "readframes", lambda *_: pytest.fail("it was read"))
    with pytest.raises(
        ValueError,
        match=r"hour\.wav lasts 3,600 s, a spoken prompt at most 60 s; cut the phrase out",
    ):
        Audio(path, transcribe=say("never"))


def test_a_header_that_claims_too_much_is_not_believed(tmp_path):
    """A stream does not know its length when its header is written."""
    path = write_wav(tmp_path / "stream.wav", TONE)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 0x7FFF_FFF0)
    path.write_bytes(content)
    assert sounds.read_wav(path).seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, seem.SeemError, "There is no sound at"),
        (lambda path: path.mkdir(), seem.SeemError, "is a folder; name the sound file in it"),
        (lambda path: path.write_bytes(b""), seem.SeemError, r"is empty \(0 bytes\)"),
        (lambda path: write_wav(path, TONE * 0), ValueError, r"^a\.wav is silent"),
        (lambda path: write_wav(path, []), ValueError, r"^a\.wav is empty, it has no samples"),
        (lambda path: write_wav(path, TONE, rate=1_000), ValueError, "The rate is 1000"),
    ],
    ids=["missing", "folder", "0 bytes", "silent", "no samples", "rate"],
)
def test_a_file_that_is_no_spoken_phrase_is_refused(tmp_path, make, error, message):
    make(tmp_path / "a.wav")
    with pytest.raises(error, match=message):
        Audio(tmp_path / "a.wav", transcribe=say("never"))


def test_a_rate_beside_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rate=8000 is for arrays, .*a\.wav says its own"):
        Audio(write_wav(tmp_path / "a.wav", TONE), RATE)


def test_what_is_no_sound_is_refused():
    prompts = import_unchecked("seem.prompts")
    with pytest.raises(ValueError, match="Audio takes a sound file or an array of samples, got 3"):
        prompts.Audio(3)


# --- Who listens ------------------------------------------------------------------------------------------------------


def test_without_a_speech_package_the_way_out_is_named(photo):
    with pytest.raises(
        seem.SeemError, match=r'pip install "seem\[audio\]"\. Or pass Audio\(sound, transcribe='
    ) as caught:
        photo.segment(Audio(TONE, RATE))
    assert len(str(caught.value).splitlines()) == 1


def install(monkeypatch, name, **parts):
    """Put a package in place that listens as `parts` say."""
    module = types.ModuleType(name)
    vars(module).update(parts)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        speech, "find_spec", lambda asked: object() if asked == name.split(".")[0] else None
    )


def test_faster_whisper_listens_if_it_is_there(monkeypatch):
    heard = []

    class WhisperModel:
        def __init__(self, size):
            heard.append(size)

        def transcribe(self, samples):
            heard.append((samples.dtype, len(samples)))
            words = [types.SimpleNamespace(text=" the red"), types.SimpleNamespace(text=" car.")]
            return iter(words), None

    install(monkeypatch, "faster_whisper", WhisperModel=WhisperModel)
    assert [Audio(TONE, RATE).phrase for _ in range(2)] == ["the red car."] * 2
    assert heard == ["base", (np.float32, 16_000), (np.float32, 16_000)]  # one model for both


def test_openai_whisper_listens_else(monkeypatch):
    def load_model(size):
        return types.SimpleNamespace(
            transcribe=lambda samples: {"text": f" {size} heard {len(samples)} "}
        )

    install(monkeypatch, "whisper", load_model=load_model)
    monkeypatch.setenv("SEEM_WHISPER", "tiny")
    assert Audio(TONE, RATE).phrase == "tiny heard 16000"


def test_a_model_that_cannot_be_loaded_is_one_line(monkeypatch):
    def load_model(size):
        raise RuntimeError(f"no such size: {size}\nand much more")

    install(monkeypatch, "whisper", load_model=load_model)
    with pytest.raises(
        seem.SeemError, match=r"'base' of whisper cannot be loaded \(no such size: base\)"
    ) as caught:
        _ = Audio(TONE, RATE).phrase
    assert len(str(caught.value).splitlines()) == 1


def test_other_formats_are_decoded_by_the_package(monkeypatch, tmp_path):
    path = tmp_path / "car.mp3"
    path.write_bytes(b"ID3 and so on")
    audio = Audio(path, transcribe=lambda sound: f"{sound.seconds:g} s")
    with pytest.raises(seem.SeemError, match="Audio needs a speech package"):
        _ = audio.phrase
    decoded = {"samples": np.resize(TONE, 32_000)}
    install(
        monkeypatch,
        "faster_whisper.audio",
        decode_audio=lambda path, sampling_rate: decoded["samples"],
    )
    assert audio.phrase == "2 s"
    decoded["samples"] = np.resize(TONE, 61 * 16_000)
    with pytest.raises(ValueError, match=r"car\.mp3 lasts 61 s"):
        _ = Audio(path, transcribe=say("never")).phrase


def test_a_file_that_the_package_cannot_read_is_named(monkeypatch, tmp_path):
    def load_audio(path, sr):
        raise RuntimeError("Invalid data\nffmpeg says more")

    install(monkeypatch, "whisper", load_audio=load_audio)
    (tmp_path / "a.mp3").write_bytes(b"nonsense")
    with pytest.raises(
        seem.SeemError, match=r"a\.mp3 cannot be read as sound \(Invalid data\); save it as WAV"
    ):
        _ = Audio(tmp_path / "a.mp3").phrase
