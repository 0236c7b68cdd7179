"""Go on from a mask that you have: one of several candidates, corrected by clicks."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

# A click may mean a part or the whole. Models with several queries offer alternatives; nano has one.
candidates = photo.segment(seem.Point(290, 140), candidates=3)
for segment in candidates:
    print(f"candidate: {segment.area} pixels, score {segment.score:.2f}")

chosen = seem.Mask(logits=candidates[0].logits)  # 4 x 4 network pixels a number; goes back in as a prompt
refined = photo.segment(chosen, seem.Point(290, 140), seem.Point(400, 150, positive=False))
print(f"refined: {refined.areas[0]} pixels, score {refined.scores[0]:.2f}")

by_hand = refined.masks[0]
by_hand[:, 290:] = False  # cut in half; a mask from anywhere, in the photo's size, is a prompt
again = photo.segment(seem.Mask(by_hand))
print(f"from a mask of {by_hand.sum()} pixels: {again.areas[0]} pixels")

refined.save("seem-out", stem="refine", overwrite=True)
