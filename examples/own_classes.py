"""Segment your own classes instead of COCO's 133, or another class list that ships with Seem."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

vocabulary = seem.Vocabulary.of(
    ["cat", "wall"],
    stuff=["wall"],  # uncountable regions; all other classes are things
    templates=[
        "a photo of a {}.",
        "a close-up photo of a {}.",
    ],  # sentences into which the names are put
    background=True,  # pixels may have none of these classes
)
regions = photo.semantic(vocabulary)  # or a list of names: photo.semantic(["cat", "wall"])
for segment in regions:
    print(f"{segment.label}: {segment.area / segment.mask.size:.0%} of the photo")

things = photo.instances(vocabulary, threshold=0.1)  # of things only
print(f"instances: {list(things.labels)}")

print(f"with the classes of ADE20K: {', '.join(photo.semantic('ade20k').labels)}")
regions.save("seem-out", stem="own_classes", overwrite=True)
