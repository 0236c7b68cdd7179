"""Find everything that a phrase fits, scored; a vector for each mask says what else it is like."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

found = photo.find(["a person", "a space shuttle"], threshold=0.1)
for segment in found:
    print(f"{segment.label} {segment.score:.2f}: {segment.area} pixels in the box {segment.box}")

if found.embeddings is not None:  # None where nothing was found
    likeness = found.embeddings @ found.embeddings.T  # N x N cosines: the vectors have length 1
    print(f"{len(found)} found, vectors of {found.embeddings.shape[1]} numbers, likeness {likeness.round(2).tolist()}")

best = photo.segment(seem.Text("a giraffe"))  # one phrase, the one object that fits it best; or nothing
print(f"a giraffe: {best.areas[0]} pixels" if len(best) else "a giraffe: nothing found")

found.save("seem-out", stem="find", overwrite=True)
