#!/usr/bin/env bash
# Versions: pylabel 0.1.55, pandas 2.2.3, numpy 2.2.6, Python 3.11.
#
# Expected: a COCO file that is imported and exported again holds the same objects.
# What happens: an image without objects repeats the last object of the image before it: once more the same annotation,
# with the same id and the id of the image before.
# Why it matters: the file has objects twice, in a number that depends on how many empty images follow; a strict reader
# stops at the repeated id, others count the object twice.
# Instead: drop annotations whose id was there before, or export images without objects apart.
#
# Seen:
#   1 object and 3 images without any: 4 objects in the export, ids 0, 0, 0, 0, images 1, 1, 1, 1
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    pylabel==0.1.55 pandas==2.2.3 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
import json

from pylabel import importer

square = dict(
    id=1, image_id=1, category_id=1, bbox=[1, 1, 5, 5], area=25, iscrowd=0, segmentation=[[1, 1, 6, 1, 6, 6, 1, 6]]
)
images = [dict(id=number, width=60, height=40, file_name="%d.jpg" % number) for number in (1, 2, 3, 4)]
content = dict(images=images, annotations=[square], categories=[dict(id=1, name="dog", supercategory="")])
with open("given.json", "w") as file:
    json.dump(content, file)

dataset = importer.ImportCoco("given.json", name="set")
dataset.export.ExportToCoco(output_path="exported.json")
with open("exported.json") as file:
    objects = json.load(file)["annotations"]
ids = [each["id"] for each in objects]
of_images = [each["image_id"] for each in objects]
print(
    "1 object and 3 images without any: %d objects in the export, ids %s, images %s"
    % (len(objects), ", ".join(map(str, ids)), ", ".join(map(str, of_images)))
)
assert len(objects) == 4 and len(set(ids)) == 1 and set(of_images) == {1}, objects
PY
