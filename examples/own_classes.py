"""Use your own words instead of COCO's 133 categories, or another list that ships with Seem."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

words = seem.Vocabulary.of(
    ["cat", "wall"],
    stuff=["wall"],  # regions; everything else is countable
    templates=["a photo of a {}.", "a close-up photo of a {}."],  # the sentences that the names are read in
    background=True,  # a pixel may be none of them
)
regions = photo.semantic(words)  # a list of names does too: photo.semantic(["cat", "wall"])
for segment in regions:
    print(f"{segment.label}: {segment.area / segment.mask.size:.0%} of the photo")

things = photo.instances(words, threshold=0.1)  # stuff is no instance
print(f"instances: {list(things.labels)}")

print(f"in the words of ADE20K: {', '.join(photo.semantic('ade20k').labels)}")
regions.save("seem-out", stem="own_classes", overwrite=True)
