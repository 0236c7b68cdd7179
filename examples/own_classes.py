"""Use your own words instead of COCO's 133 categories."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

words = seem.Vocabulary.of(["cup", "spoon", "coffee", "wooden table"], stuff=["coffee", "wooden table"])
regions = photo.semantic(words)  # a list of names does too: photo.semantic(["cup", "spoon"])
for segment in regions:
    print(f"{segment.label}: {segment.area / segment.mask.size:.0%} of the photo")

things = photo.instances(words, threshold=0.1)  # stuff is no instance
print(f"instances: {list(things.labels)}")

regions.save("seem-out", stem="own_classes", overwrite=True)
