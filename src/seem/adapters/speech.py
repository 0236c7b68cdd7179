"""What was said: speech to text by faster-whisper or openai-whisper, whichever is installed.

Neither is needed to import Seem; `pip install "seem[audio]"` brings the first. The model is Whisper's "base",
unless the environment variable SEEM_WHISPER names another. Its package fetches the weights at first use; they are kept
in memory for the next phrase.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError, short_reason
from seem.sounds import Sound, check_sound

Listener: TypeAlias = Callable[[NDArray[np.float32]], str]
"""Turns one channel at 16 kHz into words."""

RATE = 16_000  # samples a second that Whisper hears
FASTER, ORIGINAL = "faster_whisper", "whisper"
DEFAULT_SIZE = "base"

_ONE_AT_A_TIME = threading.Lock()


def transcribe(sound: Sound) -> str:
    """Return what is said in a sound.

    Raises `SeemError` where no speech package is installed, or where its model cannot be loaded.
    """
    size = os.environ.get("SEEM_WHISPER", DEFAULT_SIZE)
    with _ONE_AT_A_TIME:
        return listener(installed(), size)(sound.at(RATE)).strip()


def decode_sound(path: Path) -> Sound:
    """Read a sound file of any format that the installed speech package reads; checked as WAV files are.

    Raises `SeemError` for a file that it cannot read.
    """
    package = installed()
    try:
        if package == FASTER:
            samples = import_module("faster_whisper.audio").decode_audio(
                str(path), sampling_rate=RATE
            )
        else:
            samples = import_module("whisper").load_audio(str(path), sr=RATE)
    except Exception as error:  # each decoder stumbles in its own way
        raise SeemError(
            f"{path} cannot be read as sound ({short_reason(error)}); save it as WAV."
        ) from error
    return check_sound(Sound(np.asarray(samples, dtype=np.float32), RATE), path.name)


def installed() -> str:
    """Return the speech package that is there; `SeemError` if there is none."""
    for package in (FASTER, ORIGINAL):
        if find_spec(package) is not None:
            return package
    raise SeemError(
        'Audio needs a speech package: pip install "seem[audio]". Or pass Audio(sound, transcribe=your_function), '
        "or write the phrase down: Text(phrase)."
    )


@cache
def listener(package: str, size: str) -> Listener:
    """Load a speech model, once."""
    try:
        return faster(size) if package == FASTER else original(size)
    except Exception as error:  # no network, a size that does not exist, a full disk
        raise SeemError(
            f"The speech model {size!r} of {package} cannot be loaded ({short_reason(error)}); "
            "connect once to fetch it, or name another in SEEM_WHISPER."
        ) from error


def faster(size: str) -> Listener:
    """Load faster-whisper."""
    model = import_module(FASTER).WhisperModel(size)

    def listen(samples: NDArray[np.float32]) -> str:
        segments, _ = model.transcribe(samples)
        return " ".join(segment.text.strip() for segment in segments)

    return listen


def original(size: str) -> Listener:
    """Load openai-whisper."""
    model: Any = import_module(ORIGINAL).load_model(size)

    def listen(samples: NDArray[np.float32]) -> str:
        return str(model.transcribe(samples)["text"])

    return listen
