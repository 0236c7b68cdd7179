#!/usr/bin/env bash
# Versions: datasets 5.2.0, litdata 0.2.76, torch 2.13.0, Pillow 12.0.0, numpy 2.2.6, Python 3.11.
#
# Expected: an image that was opened and changed in place (thumbnail, paste, a line drawn, a face blurred) is stored in
# its changed state, as a new image is.
# What happens: Hugging Face's datasets stores the file that the image was opened from, and so does litdata's optimize
# with JPEG files. The change is gone. No error, no warning; an image that a function returned anew (resize, convert) is
# stored as it is.
# Why it matters: Image.thumbnail and Image.paste work in place. Photos are stored at full size beside masks that were
# resized, and what was blacked out for privacy or because it is void is there again.
# Instead: store image.copy().
#
# Seen:
#   datasets: a photo shrunk to 24 x 16 with its corner blacked out comes back as 96 x 64, corner 200
#   datasets, image.copy(): 24 x 16, corner 0
#   litdata: comes back as 96 x 64, corner 200
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.13.0
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    datasets==5.2.0 litdata==0.2.76 numpy==2.2.6 pillow==12.0.0
cd "$work"
cat >script.py <<'PY'
import datasets
import litdata
import numpy as np
from PIL import Image

Image.new("RGB", (96, 64), (200, 200, 200)).save("photo.jpg", quality=95)


def changed(_):
    image = Image.open("photo.jpg")
    image.thumbnail((24, 24))
    image.paste((0, 0, 0), (0, 0, 8, 8))
    return image


def describe(pixels):
    height, width = pixels.shape[:2]
    return f"{width} x {height}, corner {pixels[0, 0, 0]}"


def stored(image):
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_list([{"image": image}], features=features)
    return describe(np.asarray(rows[0]["image"].convert("RGB")))


if __name__ == "__main__":
    lines = [
        f"datasets: a photo shrunk to 24 x 16 with its corner blacked out comes back as {stored(changed(0))}",
        f"datasets, image.copy(): {stored(changed(0).copy())}",
    ]
    litdata.optimize(changed, [0], output_dir="out", num_workers=1, chunk_size=1)
    read = np.asarray(litdata.StreamingDataset("out")[0]).transpose(1, 2, 0)
    lines.append(f"litdata: comes back as {describe(read)}")
    print("\n".join(lines))
    assert [line.rsplit("as ", 1)[-1] for line in lines] == [
        "96 x 64, corner 200",
        "datasets, image.copy(): 24 x 16, corner 0",
        "96 x 64, corner 200",
    ], lines
PY
"$work/venv/bin/python" -W ignore script.py 2>log.txt | grep -E '^(datasets|litdata)' || { cat log.txt; exit 1; }
