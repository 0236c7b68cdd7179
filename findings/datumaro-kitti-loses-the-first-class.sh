#!/usr/bin/env bash
# Versions: datumaro 1.13.12, Python 3.11.
#
# Expected: in a KITTI segmentation export every class has a number of its own, and unlabelled pixels another one.
# What happens: if no class is called "background", the first class gets number 0, which is unlabelled as well: its
# objects vanish from the map. Read back, everything that was unlabelled is an object of the first class. The exporters
# of CamVid, Cityscapes and VOC put a background in front. No error, no warning.
# Why it matters: the first class is lost, and a model trained on the export learns that the rest of each photo is it.
# Instead: put a class called background first, or export VOC masks.
#
# Seen:
#   written: cat of 80 pixels, dog of 169, 351 of nothing; values of the map: {0: 431, 1: 169}
#   read back: [('cat', 351), ('cat', 80), ('dog', 169)]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    datumaro==1.13.12 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    pandas==2.3.3 python-dateutil==2.9.0.post0 pytz==2025.2 tzdata==2026.6 six==1.17.0 shapely==2.2.0 \
    attrs==26.1.0 defusedxml==0.7.1 imagesize==2.0.1 json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 \
    lxml==6.1.3 orjson==3.13.0 pyyaml==6.0.4 tqdm==4.70.1 typing-extensions==4.16.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import logging
import numpy as np
from datumaro import Dataset, DatasetItem, Mask
from datumaro.components.media import Image
from PIL import Image as Picture

logging.disable(logging.CRITICAL)
photo = Image.from_numpy(data=np.zeros((20, 30, 3), np.uint8))
left, right = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
left[2:10, 2:12], right[5:18, 15:28] = True, True
masks = [Mask(left, label=0, id=1, group=1), Mask(right, label=1, id=2, group=2)]
classes = ["cat", "dog"]
data = Dataset.from_iterable([DatasetItem("a", subset="train", media=photo, annotations=masks)], categories=classes)
data.export("out", "kitti_segmentation", save_media=True)
values, counts = np.unique(np.asarray(Picture.open("out/train/semantic/a.png")), return_counts=True)
written = dict(zip(values.tolist(), counts.tolist()))
print("written: cat of 80 pixels, dog of 169, 351 of nothing; values of the map: %s" % written)
read = []
for item in Dataset.import_from("out", "kitti_segmentation"):
    read += [(classes[mask.label], int(mask.image.sum())) for mask in item.annotations]
print("read back: %s" % sorted(read, key=lambda row: (row[0], -row[1])))
assert written == {0: 431, 1: 169}, written
assert ("cat", 351) in read, read
PY
