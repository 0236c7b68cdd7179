"""Several rounds about one object: each remembers the answer before it, and can be taken back."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

talk = photo.session()
first = talk.add(seem.Point(290, 140))
second = talk.add(seem.Point(130, 290, positive=False))
print(f"first round {first.areas[0]} pixels, second round {second.areas[0]} pixels")

talk.undo()
assert talk.result is first

third = talk.add(seem.Scribble([[(120, 250), (160, 330)], [(330, 360), (450, 280)]], width=10))
print(f"a scribble instead: {third.areas[0]} pixels after {len(talk.prompts)} prompts")
third.save("seem-out", stem="session", overwrite=True)
