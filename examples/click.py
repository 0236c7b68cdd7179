"""Click on an object, and correct the answer with a second click."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)  # the image network runs here, once

saucer = photo.segment(seem.Point(130, 290))
print(f"one click: {saucer.areas[0]} pixels, score {saucer.scores[0]:.2f}, looks like {saucer.labels[0]}")

without_spoon = photo.segment(seem.Point(130, 290), seem.Point(365, 285, positive=False))
print(f"not the spoon: {without_spoon.areas[0]} pixels, score {without_spoon.scores[0]:.2f}")

for path in without_spoon.save("seem-out", stem="click", overwrite=True):
    print(path)
