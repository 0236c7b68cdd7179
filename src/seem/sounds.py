"""Spoken phrases as users have them: WAV files and arrays, read into one channel of floats, and checked.

A file that the standard library cannot read (MP3, M4A, float WAV) is left to the speech package, see
`adapters/speech.py`. What is too long, silent or no sound at all is refused here, before a speech model loads.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError
from seem.regular_file import check_regular_file

MAX_SECONDS = 60.0  # a phrase takes a few, and an hour would take minutes to transcribe
MIN_SECONDS = 0.1
SILENCE_AMPLITUDE = 1e-3  # of full scale (-60 dB); a sound that never gets louder is silent
MIN_RATE, MAX_RATE = 4_000, 384_000  # samples a second that telephones and studios use
MAX_AMPLITUDE = 1.5  # floats above this are integers that were not divided by the full scale
MAX_CHANNELS = 8

PCM_TYPES: dict[int, np.dtype[np.integer[Any]]] = {
    1: np.dtype(np.uint8),
    2: np.dtype("<i2"),
    4: np.dtype("<i4"),
}
INTEGER_TYPES = (np.uint8, np.int16, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One channel, float32 in -1 to 1, `rate` samples a second."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> NDArray[np.float32]:
        """Return the samples at another rate: the spectrum is cut off or filled up with zeros."""
        count = round(len(self.samples) * rate / self.rate)
        if count == len(self.samples):
            return self.samples
        spectrum = np.fft.rfft(self.samples)[: count // 2 + 1]
        resampled = np.fft.irfft(spectrum, n=count) * (count / len(self.samples))
        return resampled.astype(np.float32)


def sound_from_array(samples: NDArray[Any], rate: int | None) -> Sound:
    """Read (N,) or (N, channels) numbers, floats in -1 to 1 or integers of full scale.

    Raises `ValueError` for anything else, and as `check_sound` does.
    """
    if rate is None:
        raise ValueError(
            "An array of sound does not say how fast it is played; pass Audio(samples, rate=16_000)."
        )
    values = np.asarray(samples)
    if values.dtype.kind != "f" and values.dtype not in INTEGER_TYPES:
        raise ValueError(
            f"Sound is an array of floats in -1 to 1, int16, int32 or uint8, got {values.dtype}; convert."
        )
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] > MAX_CHANNELS):
        raise ValueError(
            f"Sound is (N,) or (N, channels), got shape {values.shape}; transpose or pick one channel."
        )
    check_length(len(values), checked_rate(rate), "The sound")
    if values.dtype.kind == "f":
        floats = values.astype(np.float32)
        if not np.isfinite(floats).all():
            raise ValueError(
                "The sound holds NaN or infinite values; record it again or replace them by 0."
            )
        loudest = float(np.abs(floats).max())
        if loudest > MAX_AMPLITUDE:
            raise ValueError(
                f"The sound reaches {loudest:g}; floats lie in -1 to 1, divide by the full scale first."
            )
    else:
        floats = _to_unit_range(values)
    mono = floats if floats.ndim == 1 else floats.mean(axis=1)
    return check_sound(Sound(mono, int(rate)), "The sound")


def read_wav(path: Path) -> Sound | None:
    """Read a WAV file of whole numbers; None for a file of another kind.

    Its length is checked before its samples are read. Raises `SeemError` for a file that cannot be read, and
    `ValueError` as `check_sound` does.
    """
    check_readable(path)
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            present = max(path.stat().st_size - 44, 0) // (
                width * channels
            )  # a stream's header may claim anything
            count = min(file.getnframes(), present)
            check_length(count, checked_rate(rate), path.name)
            raw = file.readframes(count)
    except (wave.Error, EOFError):
        return None
    samples = _decode_pcm(raw, width)
    num_whole = len(samples) // channels * channels  # the file may end in the middle of a sample
    floats = _to_unit_range(samples[:num_whole].reshape(-1, channels))
    return check_sound(Sound(floats.mean(axis=1), rate), path.name)


def _decode_pcm(raw: bytes, width: int) -> NDArray[np.integer[Any]]:
    """Read little-endian samples of `width` bytes; an incomplete one at the end is left out."""
    whole = raw[: len(raw) // width * width]
    if width != 3:
        return np.frombuffer(whole, dtype=PCM_TYPES[width])
    three_bytes = np.frombuffer(whole, dtype=np.uint8).reshape(-1, 3)
    four_bytes = np.pad(three_bytes, ((0, 0), (1, 0))).copy()  # the upper three of four
    samples: NDArray[np.integer[Any]] = four_bytes.view("<i4")[:, 0]
    return samples


def _to_unit_range(values: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Turn integers into floats in -1 to 1; unsigned ones are silent in the middle."""
    limits = np.iinfo(values.dtype)
    middle = 0 if limits.min < 0 else (limits.max + 1) / 2
    return ((values.astype(np.float64) - middle) / (limits.max - middle)).astype(np.float32)


def check_sound(sound: Sound, what: str) -> Sound:
    """Return the sound; `ValueError` if it is too long, too short, or silent."""
    check_length(len(sound.samples), sound.rate, what)
    loudest = float(np.abs(sound.samples).max())
    if loudest < SILENCE_AMPLITUDE:
        raise ValueError(
            f"{what} is silent (it never gets louder than {loudest:.5f} of 1); record it again."
        )
    return sound


def check_length(count: int, rate: int, what: str) -> None:
    """Raise `ValueError` unless `count` samples are as long as a phrase."""
    seconds = count / rate
    if count == 0:
        raise ValueError(f"{what} is empty, it has no samples; record it again.")
    if seconds > MAX_SECONDS:
        raise ValueError(
            f"{what} lasts {seconds:,.0f} s, a spoken prompt at most {MAX_SECONDS:g} s; cut the phrase out."
        )
    if seconds < MIN_SECONDS:
        raise ValueError(
            f"{what} lasts {seconds:.3f} s at {rate:,} samples a second; nothing can be said in that."
        )


def checked_rate(rate: int) -> int:
    """Return a number of samples a second that sound can have."""
    if isinstance(rate, bool) or not isinstance(rate, Integral) or not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(
            f"The rate is {rate!r}; it is a whole number of samples a second, "
            f"{MIN_RATE:,} to {MAX_RATE:,}, often 16_000."
        )
    return int(rate)


def check_readable(path: Path) -> None:
    """Raise `SeemError` for a file that is not there or has nothing in it."""
    check_regular_file(path)
    if not path.exists():
        raise SeemError(f"There is no sound at {path}; check the path.")
    if path.is_dir():
        raise SeemError(f"{path} is a folder; name the sound file in it.")
    if path.stat().st_size == 0:
        raise SeemError(f"{path} is empty (0 bytes); record it again.")
