"""Write captions of a photo and of a region of it, with an X-Decoder; its weights are fetched at first use."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_XDECODER", "xdecoder-focal-t"))
photo = model.encode(PHOTO)

print(f"the photo: {photo.caption()}")
print(f"its left half: {photo.caption(region=seem.Box(0, 0, photo.hw[1] // 2, photo.hw[0]))}")
