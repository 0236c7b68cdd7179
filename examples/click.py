"""Segment an object by a click, and correct the mask by a second, negative click."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)  # the image network runs here, once

cup = photo.segment(seem.Point(290, 140))
print(f"one click: {cup.areas[0]} pixels, score {cup.scores[0]:.2f}, looks like {cup.labels[0]}")

without_saucer = photo.segment(seem.Point(290, 140), seem.Point(130, 290, positive=False))
print(f"not the saucer: {without_saucer.areas[0]} pixels, score {without_saucer.scores[0]:.2f}")

for path in without_saucer.save("seem-out", stem="click", overwrite=True):
    print(path)
