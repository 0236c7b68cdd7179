#!/usr/bin/env bash
# Versions: fastlabel 0.26.0, Python 3.11.
#
# Expected: line N of classes.txt names class N of the rows, in the order of the classes that were given.
# What happens: `export_yolo` with `classes` numbers the rows in the order of that list and writes classes.txt sorted by
# name, so any list that is not in alphabetical order swaps names: the dog is a bird and the bird a dog. The docstring's
# own example, ['dog','bird'], is such a list. Without `classes` both are sorted and agree.
# Why it matters: files are valid and counts are right; the model trains well and answers with other names.
# Instead: pass `classes` sorted, or write classes.txt from your own list.
#
# Seen:
#   classes given: dog, bird; classes.txt: bird, dog
#   the dog at the left, by classes.txt: bird
#   the bird at the right, by classes.txt: dog
#   without `classes`, the dog at the left: dog
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    fastlabel==0.26.0 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 geojson==3.3.0 \
    xmltodict==0.12.0 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
    urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
from unittest import mock

from fastlabel import Client


def box(value, left):
    points = [left, 10, left + 20, 40]
    return {"type": "bbox", "value": value, "points": points, "attributes": [], "color": "#ff0000"}


def export(classes, folder):
    """Rows of the one photo and lines of classes.txt; the server is asked for nothing but the project's type."""
    tasks = [{"name": "a.png", "width": 100, "height": 100, "annotations": [box("dog", 10), box("bird", 60)]}]
    client = Client.__new__(Client)
    with mock.patch.object(Client, "find_project_by_slug", return_value={"type": "image_bbox"}):
        client.export_yolo("project", tasks, classes=classes, output_dir=folder)
    with open(folder + "/annotations/a.txt") as rows, open(folder + "/classes.txt") as names:
        names = names.read().split()
        placed = {float(row.split()[1]): names[int(row.split()[0])] for row in rows}
    return [placed[at] for at in sorted(placed)], names


(left, right), names = export(["dog", "bird"], "given")
print("classes given: dog, bird; classes.txt: %s" % ", ".join(names))
print("the dog at the left, by classes.txt: %s" % left)
print("the bird at the right, by classes.txt: %s" % right)
found, _ = export([], "none")
print("without `classes`, the dog at the left: %s" % found[0])
assert (left, right) == ("bird", "dog") and found == ["dog", "bird"], (left, right, found)
PY
