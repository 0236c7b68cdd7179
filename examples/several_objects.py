"""Segment several objects in one pass, each described by its own prompts."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

names = ("cup", "spoon", "handle")
result = photo.segment_many(
    [
        [seem.Point(290, 140), seem.Point(250, 220)],
        [seem.Stroke([(412, 75), (380, 220), (362, 290)], width=6)],
        [seem.Polygon([(205, 290), (235, 232), (255, 250), (222, 303)])],
    ]
)
for name, segment in zip(names, result, strict=True):  # visual prompts always get an answer, in the order asked
    print(f"{name}: {segment.area} pixels, score {segment.score:.2f}")
    segment.cutout().save(f"{name}.png")  # RGBA, transparent outside

result.overlay(labels=False).save("several_objects.png")
