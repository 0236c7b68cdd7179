"""Track two objects through a video and correct one on the way: python video.py [FILE]; default: a pan over a photo."""

import os
import sys
from pathlib import Path

from PIL import Image

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"


def pan(frames=8):
    """Yield crops of the photo, each a few pixels further to the right."""
    with Image.open(PHOTO) as photo:
        for step in range(frames):
            left = 6 * step
            yield photo.crop((left, 0, left + photo.width - 60, photo.height))


model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
# The frames: a file, a folder, a list or an iterator.
tracker = model.tracker(sys.argv[1] if len(sys.argv) > 1 else pan())
tracker.add(0, 1, seem.Point(230, 60))
tracker.add(2, 2, seem.Box(150, 100, 300, 250))  # an object may be added in a later frame

for results in tracker:
    if results.frame == 4:  # a correction of the current frame gives its new masks
        results = tracker.add(4, 1, seem.Point(60, 200, positive=False))
    areas = ", ".join(f"{segment.id}: {segment.area} pixels" for segment in results)
    print(f"frame {results.frame}: {areas or 'nothing'}")
results.overlay(labels=False).save("video.png")
