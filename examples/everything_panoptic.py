"""Panoptic segmentation: every thing and every stuff region of a photo, without overlaps."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

scene = photo.panoptic()
for segment in scene:
    print(f"{segment.label} {segment.score:.2f}: {segment.area} pixels")

share = (scene.panoptic_map() > 0).mean()  # H x W, segment ids, 0 where there is none
print(f"{len(scene)} segments cover {share:.0%} of the photo")

people = photo.instances().filter(label="person", min_score=0.3)  # things only; they may overlap
print(f"people: {len(people)}")

scene.save("seem-out", stem="panoptic", overwrite=True)
