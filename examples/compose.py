"""Click, say and show at once: all prompts of a call describe one object, and one pass answers."""

import os
from pathlib import Path

import seem

PHOTOS = Path(__file__).parent / "photos"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTOS / "coffee.jpg")

click = seem.Point(290, 140)
beside = seem.Point(400, 150, positive=False)
words = seem.Text("a cup of coffee")
shown = seem.Reference(PHOTOS / "coffee.jpg", seem.Box(160, 60, 430, 330))

for prompts in ([click], [click, beside], [click, words], [words, shown], [click, beside, words, shown]):
    result = photo.segment(*prompts, text_threshold=0.0)
    for segment in result:  # marks answer before words, words before a reference; the others are heard and seen
        print(f"{result.kind}: {segment.area} pixels, score {segment.score:.2f}")
    for note in result.notes:  # what a model was not taught is said (nano: a reference beside marks)
        print(f"  {note}")

cup, spoon = photo.segment_many([[click, words], [seem.Box(320, 62, 428, 330), seem.Text("a spoon")]])
print(f"two objects in one pass: {cup.area} and {spoon.area} pixels")
cup.results.save("seem-out", stem="compose", overwrite=True)
