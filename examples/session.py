"""An interactive session about one object: each round starts from the mask before it, and can be undone."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

session = photo.session()
first = session.add(seem.Point(290, 140))
second = session.add(seem.Point(130, 290, positive=False))
print(f"first round {first.areas[0]} pixels, second round {second.areas[0]} pixels")

session.undo()
assert session.result is first

third = session.add(seem.Scribble([[(120, 250), (160, 330)], [(330, 360), (450, 280)]], width=10))
print(f"a scribble instead: {third.areas[0]} pixels after {len(session.prompts)} prompts")
third.save("seem-out", stem="session", overwrite=True)
