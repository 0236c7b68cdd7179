"""Segment all photos of a folder; a file that cannot be read is reported and the others go on."""

import os
import sys
from pathlib import Path

import seem

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "photos"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
num_failed = 0
for photo in model.encode_many(FOLDER, errors="return"):  # the next photo is read meanwhile
    if isinstance(photo, Exception):
        print(photo, file=sys.stderr)  # every message is one line
        num_failed += 1
        continue
    result = photo.panoptic()
    result.save("seem-out", overwrite=True)
    print(f"{photo.name}: {len(result)} segments")
sys.exit(1 if num_failed else 0)
