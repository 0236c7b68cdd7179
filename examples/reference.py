"""Segment the object that is marked in another photo."""

import os
from pathlib import Path

from PIL import Image, ImageOps

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
# A part of the mirrored photo stands in for a second photo of the cat.
other = ImageOps.mirror(Image.open(PHOTO)).crop((60, 0, 451, 300))
photo = model.encode(other)

# Encoded once for several references; a path or an image works too.
reference_photo = model.encode(PHOTO)
references = {
    "box": seem.Reference(reference_photo, seem.Box(110, 0, 330, 210)),  # the region itself
    "click": seem.Reference(reference_photo, seem.Point(230, 60)),  # the object under the click
    "stroke": seem.Reference(PHOTO, seem.Stroke([(150, 90), (300, 100)], width=20)),
}
for name, reference in references.items():
    result = photo.segment(reference, text_threshold=0.0)  # 0: answer however low the score
    for segment in result:
        print(f"{name}: {segment.area} pixels, score {segment.score:.2f}")
    result.overlay().save(f"reference_{name}.png")
