#!/usr/bin/env bash
# Versions: cocojson 0.1.1, numpy 2.2.6, opencv-python-headless 4.12.0.88, Python 3.11.
#
# Expected: `merge(..., cids=...)`, told which categories of each COCO file to take, takes the objects of these categories.
# What happens: whether objects are taken hangs on the last category of the file alone. Unless that one is chosen, the
# merged file has the chosen categories and images, and no object at all; a chosen last category that got another number
# on the way loses all objects too.
# Why it matters: the file opens everywhere, and a training from it learns that every image is empty.
# Instead: merge all categories, and select afterwards.
#
# Seen:
#   take cat: categories cat, 1 image, 0 objects of 2
#   take dog: categories dog, 1 image, 0 objects of 2
#   take all: categories cat, dog, 1 image, 2 objects of 2
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    cocojson==0.1.1 numpy==2.2.6 tqdm==4.67.1 pillow==12.3.0 opencv-python-headless==4.12.0.88
cd "$work"
"$work/venv/bin/python" - <<'PY'
import contextlib
import io
import json
from pathlib import Path

from cocojson.tools.merge import merge

Path("images").mkdir()
Path("images/pets.png").write_bytes(b"not read, only copied")
categories = [dict(id=1, name="cat"), dict(id=2, name="dog")]
objects = [
    dict(id=number, image_id=1, category_id=number, bbox=[2 * number, 2, 9, 9], area=81, iscrowd=0)
    for number in (1, 2)
]
image = dict(id=1, file_name="pets.png", width=40, height=30)
Path("pets.json").write_text(json.dumps(dict(images=[image], categories=categories, annotations=objects)))

counts = {}
for title, chosen in (("cat", [1]), ("dog", [2]), ("all", [1, 2])):
    with contextlib.redirect_stdout(io.StringIO()):
        merge(["pets.json"], ["images"], title, [chosen])
    merged = json.loads(Path(title, "merged.json").read_text())
    names = ", ".join(category["name"] for category in merged["categories"])
    counts[title] = len(merged["annotations"])
    print("take %s: categories %s, %d image, %d objects of 2" % (title, names, len(merged["images"]), counts[title]))
assert counts == {"cat": 0, "dog": 0, "all": 2}, counts
PY
