#!/usr/bin/env bash
# Versions: litdata 0.2.76, torch 2.13.0, Pillow 12.0.0, numpy 2.2.6, Python 3.11.
#
# Expected: a class map with a palette (VOC, DAVIS) that litdata's optimize was given comes back from StreamingDataset as
# it was.
# What happens: it comes back in mode P with its numbers and without its palette: getpalette() is empty, and
# convert("RGB") is black everywhere. No error, no warning.
# Why it matters: overlays of it are black, and sets whose legend is the palette cannot be read any more.
# Instead: store the numbers as an array, or the bytes of the PNG file.
#
# Seen:
#   stored: numbers 0 1 2 3, colours (10, 0, 0) (20, 0, 0) (30, 0, 0) (40, 0, 0)
#   read:   numbers 0 1 2 3, colours (0, 0, 0) (0, 0, 0) (0, 0, 0) (0, 0, 0)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.13.0
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile litdata==0.2.76 numpy==2.2.6 pillow==12.0.0
cd "$work"
cat >script.py <<'PY'
import litdata
import numpy as np
from PIL import Image


def class_map(_):
    image = Image.frombytes("P", (4, 1), bytes(range(4)))
    image.putpalette([10, 0, 0, 20, 0, 0, 30, 0, 0, 40, 0, 0])
    return image


def describe(image):
    colours = [tuple(map(int, pixel)) for pixel in np.asarray(image.convert("RGB"))[0]]
    return f"numbers {' '.join(map(str, np.asarray(image)[0]))}, colours {' '.join(map(str, colours))}"


if __name__ == "__main__":
    litdata.optimize(class_map, [0], output_dir="out", num_workers=1, chunk_size=1)
    read = litdata.StreamingDataset("out")[0]
    print(f"stored: {describe(class_map(0))}")
    print(f"read:   {describe(read)}")
    assert read.mode == "P" and describe(read).endswith("colours (0, 0, 0) (0, 0, 0) (0, 0, 0) (0, 0, 0)"), describe(read)
PY
"$work/venv/bin/python" -W ignore script.py 2>log.txt | grep -E '^(stored|read)' || { cat log.txt; exit 1; }
