"""Segment by a spoken phrase: python audio.py spoken.wav (needs pip install "seem[audio]")."""

import os
import sys
from pathlib import Path

import numpy as np

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
RATE = 16_000

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

if len(sys.argv) > 1:
    spoken = seem.Audio(sys.argv[1])
else:  # a second of sound, and a function instead of the speech model; pass your own in the same way
    tone = 0.3 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
    spoken = seem.Audio(
        tone, RATE, transcribe=lambda sound: f"a cup of coffee, {sound.seconds:.0f} second"
    )

print(f"transcribed: {spoken.phrase}")
# The click tells which object, the phrase its name.
result = photo.segment(spoken, seem.Point(290, 140))
print(f"{result.kind}: {result.areas[0]} pixels, score {result.scores[0]:.2f}")
result.save("seem-out", stem="audio", overwrite=True)  # the JSON file holds the phrase
