"""Segment every object that a phrase fits, with scores and an embedding vector for each mask."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

results = photo.find(["a person", "a space shuttle"], threshold=0.1)
for segment in results:
    print(f"{segment.label} {segment.score:.2f}: {segment.area} pixels in the box {segment.box}")

if results.embeddings is not None:  # None where nothing was found
    similarity = (
        results.embeddings @ results.embeddings.T
    )  # N x N cosines: the vectors have length 1
    print(
        f"{len(results)} masks, vectors of {results.embeddings.shape[1]}, cosines {similarity.round(2).tolist()}"
    )

best = photo.segment(seem.Text("a giraffe"))  # the one object that fits best, or none
print(f"a giraffe: {best.areas[0]} pixels" if len(best) else "a giraffe: nothing found")

results.save("seem-out", stem="find", overwrite=True)
