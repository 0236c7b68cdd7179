"""Segment an object by a box, by a phrase, and by both together."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

helmet = seem.Box(278, 344, 504, 512)  # x0, y0, x1, y1: maxima are exclusive
prompts_by_name = {
    "box": [helmet],
    "phrase": [seem.Text("a woman in an orange suit")],
    "both": [helmet, seem.Text("the black helmet")],
}
for name, prompts in prompts_by_name.items():
    result = photo.segment(*prompts)
    if len(result) == 0:  # a phrase may fit nothing
        print(f"{name}: nothing found")
        continue
    print(
        f"{name}: {result.areas[0]} pixels in the box {result.boxes[0].tolist()}, score {result.scores[0]:.2f}"
    )
    result.overlay().save(f"{name}.png")
