#!/usr/bin/env bash
# Versions: webdataset 1.0.2, Pillow 12.0.0, numpy 2.2.6, Python 3.11.
#
# Expected: decode("pil") hands out the picture that Pillow opens; a PNG with 16-bit instance ids or a palette PNG with
# class indices keeps its numbers.
# What happens: every picture is converted to RGB first ("pill" and "l8": to grey). 16-bit ids above 255 become 255, and
# class indices become the colours of their palette. No error, no warning.
# Why it matters: PNG is what label maps are kept in (Cityscapes and COCO instance ids, VOC and DAVIS palettes); a data
# loader with one decode() for photos and masks trains on rubbish.
# Instead: leave the mask's ending out of decode() and open its bytes yourself.
#
# Seen:
#   16-bit ids 0, 200, 300, 40000 come back as RGB, first channel 0, 200, 255, 255
#   palette indices 0, 1, 2, 3 come back as RGB, first channel 10, 20, 30, 40
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    webdataset==1.0.2 pillow==12.0.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import io
import tarfile

import numpy as np
import webdataset
from PIL import Image

ids = Image.fromarray(np.array([[0, 200], [300, 40000]], np.uint16))
classes = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).convert("L")
classes = Image.frombytes("P", (2, 2), classes.tobytes())
classes.putpalette([10, 0, 0, 20, 0, 0, 30, 0, 0, 40, 0, 0])

with tarfile.open("masks.tar", "w") as tar:
    for name, picture in (("a.png", ids), ("b.png", classes)):
        data = io.BytesIO()
        picture.save(data, "PNG")
        member = tarfile.TarInfo(name)
        member.size = data.tell()
        data.seek(0)
        tar.addfile(member, data)

read = [sample["png"] for sample in webdataset.WebDataset("masks.tar", shardshuffle=False).decode("pil")]
assert [picture.mode for picture in read] == ["RGB", "RGB"], read
first = [np.array(picture)[..., 0].ravel().tolist() for picture in read]
print("16-bit ids 0, 200, 300, 40000 come back as RGB, first channel %s" % ", ".join(map(str, first[0])))
print("palette indices 0, 1, 2, 3 come back as RGB, first channel %s" % ", ".join(map(str, first[1])))
assert first == [[0, 200, 255, 255], [10, 20, 30, 40]], first
PY
