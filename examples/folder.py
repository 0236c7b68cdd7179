"""Segment all photos of a folder; a file that cannot be read is reported and the others go on."""

import os
import sys
from pathlib import Path

import seem

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "photos"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
num_failed = 0
for path in sorted(FOLDER.glob("*.jpg")):
    try:
        result = model.encode(path).panoptic()
        result.save("seem-out", overwrite=True)
    except (
        ValueError,
        OSError,
    ) as error:  # seem.SeemError is an OSError; every message is one line
        print(error, file=sys.stderr)
        num_failed += 1
        continue
    print(f"{path.name}: {len(result)} segments")
sys.exit(1 if num_failed else 0)
