"""Several rounds about one object: each remembers the answer before it, and can be taken back."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "cat.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

talk = photo.session()
first = talk.add(seem.Point(230, 60))
second = talk.add(seem.Point(420, 130, positive=False))
print(f"first round {first.areas[0]} pixels, second round {second.areas[0]} pixels")

talk.undo()
assert talk.result is first

third = talk.add(seem.Scribble([[(60, 200), (180, 220)], [(210, 90), (260, 200)]], width=10))
print(f"a scribble instead: {third.areas[0]} pixels after {len(talk.prompts)} prompts")
third.save("seem-out", stem="session", overwrite=True)
