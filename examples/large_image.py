"""Segment a picture of any size tile by tile: a click, and everything."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

# A large picture as an array in a file: windows of it are read as they are needed. GeoTIFF files work alike.
large = Image.open(PHOTO).resize((1800, 1200))
np.save("large.npy", np.asarray(large))

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
scan = model.encode_tiled("large.npy", tile=1024)

bowl = scan.segment(seem.Point(900, 600))  # encodes what the click needs
print(f"{bowl.labels[0]}: {bowl.areas[0]} pixels in the box {bowl.boxes[0].tolist()}")

segments = scan.panoptic(progress=lambda done, total: print(f"tile {done} of {total}"))
for segment in segments:
    print(f"{segment.label} {segment.score:.2f}: {segment.area} pixels in the box {segment.box}")

part = segments.results_in((300, 300, 900, 900))  # ordinary results about a window
part.overlay().save("large_part.png")
segments.save("seem-out", stem="large", overwrite=True)
