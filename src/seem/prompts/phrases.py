"""Prompts that name the object: written and spoken phrases."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seem import sounds
from seem.prompts.arguments import Json
from seem.sounds import Sound

MAX_PHRASE_CHARACTERS = (
    100_000  # the tokenizer reads far fewer; this only refuses what cannot be a phrase
)


@dataclass(frozen=True, slots=True)
class Text:
    """A phrase that names the object, in English; emoji are fine.

    White space is collapsed. What the text encoder cannot hold (77 tokens, of nano 32) is cut off there,
    and a note of the result says so.
    Raises `ValueError` for an empty phrase, for control characters and for more than 100,000 characters.
    """

    phrase: str

    def __post_init__(self) -> None:
        if not isinstance(self.phrase, str):
            raise ValueError(
                f"Text takes a phrase, got {type(self.phrase).__name__}: {str(self.phrase)[:60]!r}."
            )
        if len(self.phrase) > MAX_PHRASE_CHARACTERS:
            raise ValueError(
                f"A phrase has at most {MAX_PHRASE_CHARACTERS:,} characters, got {len(self.phrase):,}; shorten it."
            )
        characters = sorted(set(self.phrase))
        for character in characters:
            if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
                raise ValueError(
                    f"The phrase holds the control character U+{ord(character):04X}; remove it."
                )
        if all(unicodedata.category(character)[0] in "ZC" for character in characters):
            raise ValueError(f"The phrase {self.phrase[:20]!r} is empty; say what to look for.")
        object.__setattr__(self, "phrase", " ".join(self.phrase.split()))

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "text", "phrase": self.phrase}


@dataclass(slots=True, eq=False)
class _Transcript:
    """Of an `Audio`: the samples (None = the file is still to be decoded) and the phrase (None = not transcribed)."""

    sound: Sound | None
    phrase: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A spoken phrase: it is transcribed once, and then it is a `Text` with that phrase.

    `sound`: a file, or an (N,) or (N, channels) array of floats in -1 to 1 or of int16, int32 or uint8 samples with its
    `rate` (samples a second). `transcribe` takes a `Sound` and returns its words; None = the speech package that
    `pip install "seem[audio]"` brings.

    Raises `ValueError` for a sound that is empty, silent, shorter than 0.1 s or longer than 60 s, for NaN and for a
    rate that no sound has (formats other than WAV are checked when they are transcribed), `SeemError` for a missing
    file.
    """

    sound: str | os.PathLike[str] | NDArray[np.generic]
    rate: int | None = None
    transcribe: Callable[[Sound], str] | None = field(default=None, kw_only=True, repr=False)
    _transcript: _Transcript = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.sound, (str, os.PathLike)):
            if self.rate is not None:
                raise ValueError(
                    f"rate={self.rate} is for arrays, {self.sound} says its own; leave it out."
                )
            samples = sounds.read_wav(Path(self.sound))
        elif isinstance(self.sound, (np.ndarray, list, tuple)):
            samples = sounds.sound_from_array(np.asarray(self.sound), self.rate)
        else:
            raise ValueError(
                f"Audio takes a sound file or an array of samples, got {self.sound!r}."
            )
        object.__setattr__(self, "_transcript", _Transcript(samples))

    def __reduce__(self) -> tuple[Callable[..., Audio], tuple[object, ...]]:
        """Pickle the transcript instead of `transcribe`, which another process may not have."""
        return _restore_audio, (
            self.sound,
            self.rate,
            self._transcript.sound,
            self._transcript.phrase,
        )

    @property
    def phrase(self) -> str:
        """The transcript, checked as a `Text`; made at the first access, at most once.

        Raises `SeemError` where no speech package is installed, `ValueError` where no words are recognised.
        """
        with self._transcript.lock:
            if self._transcript.phrase is None:
                self._transcript.phrase = self._transcribe()
            return self._transcript.phrase

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file; the phrase is None until it is transcribed."""
        return {"kind": "audio", "phrase": self._transcript.phrase, "file": self._file_name}

    @property
    def _file_name(self) -> str | None:
        return Path(self.sound).name if isinstance(self.sound, (str, os.PathLike)) else None

    def _transcribe(self) -> str:
        from seem.adapters import speech

        sound = self._transcript.sound
        if sound is None:
            assert isinstance(self.sound, (str, os.PathLike))
            sound = speech.decode_sound(Path(self.sound))
        transcribe = self.transcribe or speech.transcribe
        words = transcribe(sound)
        try:
            return Text(words).phrase
        except ValueError:
            source = self._file_name or "the sound"
            raise ValueError(
                f"No words were heard in {source} ({sound.seconds:.1f} s); repeat it, or use Text."
            ) from None


def _restore_audio(
    given: object, rate: int | None, sound: Sound | None, phrase: str | None
) -> Audio:
    """Unpickle an `Audio`, whose file may be gone by now."""
    audio = object.__new__(Audio)
    object.__setattr__(audio, "sound", given)
    object.__setattr__(audio, "rate", rate)
    object.__setattr__(audio, "transcribe", None)
    object.__setattr__(audio, "_transcript", _Transcript(sound, phrase))
    return audio
