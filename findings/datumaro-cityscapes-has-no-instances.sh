#!/usr/bin/env bash
# Versions: datumaro 1.13.12, Python 3.11.
#
# Expected: `*_gtFine_instanceIds.png` of Cityscapes numbers every object: 1000 x class + number.
# What happens: the exporter writes the number of the class alone. Two cars become one region of one value, in the file
# and in what datumaro reads back. No error, no warning.
# Why it matters: the export is a data set for instance segmentation by its layout, and holds no instance.
# Instead: export COCO instances.
#
# Seen:
#   written: 2 masks of one class; values of the instance map: [0, 1]; read back: 1 mask of 249 pixels
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
masks = [Mask(left, label=0, id=1, group=1), Mask(right, label=0, id=2, group=2)]
data = Dataset.from_iterable([DatasetItem("a", subset="train", media=photo, annotations=masks)], categories=["car"])
data.export("out", "cityscapes", save_media=True)
values = np.unique(np.asarray(Picture.open("out/gtFine/train/a_gtFine_instanceIds.png"))).tolist()
read = [int(mask.image.sum()) for item in Dataset.import_from("out", "cityscapes") for mask in item.annotations]
print("written: 2 masks of one class; values of the instance map: %s; read back: %d mask of %s pixels"
      % (values, len(read), ", ".join(map(str, read))))
assert (values, read) == ([0, 1], [249]), (values, read)
PY
