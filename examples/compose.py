"""Combine prompts: all prompts of a call describe one object."""

import os
from pathlib import Path

import seem

PHOTOS = Path(__file__).parent / "photos"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTOS / "coffee.jpg")

click = seem.Point(290, 140)
negative_click = seem.Point(400, 150, positive=False)
phrase = seem.Text("a cup of coffee")
reference = seem.Reference(PHOTOS / "coffee.jpg", seem.Box(160, 60, 430, 330))

combinations = (
    [click],
    [click, negative_click],
    [click, phrase],
    [phrase, reference],
    [click, negative_click, phrase, reference],
)
for prompts in combinations:
    result = photo.segment(*prompts, text_threshold=0.0)
    for (
        segment
    ) in result:  # nano: clicks and boxes take precedence over phrases, phrases over references
        print(f"{result.kind}: {segment.area} pixels, score {segment.score:.2f}")
    for note in result.notes:  # for example what has no effect (nano: a reference beside clicks)
        print(f"  {note}")

cup, spoon = photo.segment_many(
    [[click, phrase], [seem.Box(320, 62, 428, 330), seem.Text("a spoon")]]
)
print(f"two objects in one pass: {cup.area} and {spoon.area} pixels")
cup.results.save("seem-out", stem="compose", overwrite=True)
