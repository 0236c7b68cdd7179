"""Segment several objects in one pass, each described by its own prompts."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

names = ("head", "helmet", "badge")
result = photo.segment_many(
    [
        [seem.Point(180, 60), seem.Point(230, 120), seem.Point(225, 200, positive=False)],
        [seem.Box(272, 340, 505, 512)],
        [
            seem.Polygon(
                [(138, 352), (165, 342), (192, 356), (200, 384), (184, 412), (152, 414), (130, 388)]
            )
        ],
    ]
)
for name, segment in zip(
    names, result, strict=True
):  # visual prompts always give a mask, in the order of the prompts
    print(f"{name}: {segment.area} pixels, score {segment.score:.2f}")
    segment.cutout().save(f"{name}.png")  # RGBA, transparent outside

result.overlay(labels=False).save("several_objects.png")
