"""Rank photos by a phrase and segment the phrase in the best one, with nano or an X-Decoder."""

import os
import sys
from pathlib import Path

import seem

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "photos"
PHRASE = sys.argv[2] if len(sys.argv) > 2 else "a cup of coffee"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photos = [model.encode(path) for path in sorted(FOLDER.glob("*.jpg"))]

ranking = model.retrieve(photos, PHRASE)
for ranked in ranking:
    print(f"{ranked.score:.3f} {photos[ranked.index].name}")

best = photos[ranking[0].index]
best.segment(seem.Text(PHRASE), text_threshold=0.0).overlay().save("retrieval.png")
