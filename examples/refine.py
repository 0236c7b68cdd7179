"""Start from an existing mask: one of several candidates, corrected by clicks."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

# A click is ambiguous: a part or the full object. Models with several queries offer alternatives; nano has one.
candidates = photo.segment(seem.Point(290, 140), candidates=3)
for segment in candidates:
    print(f"candidate: {segment.area} pixels, score {segment.score:.2f}")

# Mask logits, at a quarter of the network's resolution, are a prompt like any other.
chosen = seem.Mask(logits=candidates[0].logits)
refined = photo.segment(chosen, seem.Point(290, 140), seem.Point(400, 150, positive=False))
print(f"refined: {refined.areas[0]} pixels, score {refined.scores[0]:.2f}")

by_hand = refined.masks[0]
by_hand[:, 290:] = False  # the left half; any mask of the photo's size is a prompt
again = photo.segment(seem.Mask(by_hand))
print(f"from a mask of {by_hand.sum()} pixels: {again.areas[0]} pixels")

refined.save("seem-out", stem="refine", overwrite=True)
