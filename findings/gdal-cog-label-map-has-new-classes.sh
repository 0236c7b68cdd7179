#!/usr/bin/env bash
# Versions: rasterio 1.4.4 (GDAL 3.10.3), Python 3.11.
#
# Expected: a class map written as Cloud Optimized GeoTIFF and read smaller with `Resampling.nearest` or
# `Resampling.mode` has the classes that were written.
# What happens: the COG driver makes the smaller copies in the file (overviews) by cubic interpolation when the map has
# no palette, and a smaller read starts from such a copy whatever `resampling` says: classes between, below and above
# the written ones come back. The full size is exact; a plain GeoTIFF, which has no such copies, is right at any size.
# Why it matters: tiles, previews and training at half the resolution read other labels than are in the file, mostly
# along edges, with numbers that may well be other classes of the list; a check of the full map finds nothing.
# Instead: write with `overview_resampling="mode"` (or "nearest"), or give the map a palette.
#
# Seen:
#   written: 4 classes; full size: the same pixels
#   COG at a quarter, nearest: 4 classes of the 4, 20 others, in 19 % of the pixels
#   COG at a quarter, mode: 4 classes of the 4, 20 others, in 19 % of the pixels
#   GeoTIFF at a quarter, nearest: 4 classes of the 4, 0 others, in 0 % of the pixels
#   COG with overview_resampling="mode" at a quarter, nearest: 4 classes of the 4, 0 others, in 0 % of the pixels
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    rasterio==1.4.4 numpy==2.2.6 affine==3.0.1 attrs==26.1.0 certifi==2026.10.19.post1 click==8.5.1 \
    cligj==0.7.2 pyparsing==3.3.3
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import rasterio
from rasterio.enums import Resampling

classes = [1, 2, 11, 40]
fields = np.random.default_rng(0).choice(classes, (25, 25)).astype(np.uint8)
labels = np.kron(fields, np.ones((60, 60), np.uint8))


def write(name, **options):
    place = rasterio.transform.from_origin(500000, 4000000, 1, 1)
    options = dict(options, height=1500, width=1500, count=1, dtype="uint8", crs="EPSG:32633", transform=place)
    with rasterio.open(name, "w", **options) as file:
        file.write(labels, 1)


def read(name, resampling, title):
    with rasterio.open(name) as file:
        small = file.read(1, out_shape=(375, 375), resampling=resampling)
    values = np.unique(small)
    kept, others = np.isin(classes, values).sum(), (~np.isin(values, classes)).sum()
    share = 100 * np.mean(~np.isin(small, classes))
    print("%s: %d classes of the 4, %d others, in %.0f %% of the pixels" % (title, kept, others, share))
    return others


write("cog.tif", driver="COG")
write("plain.tif", driver="GTiff")
write("mode.tif", driver="COG", overview_resampling="mode")
with rasterio.open("cog.tif") as file:
    same = np.array_equal(file.read(1), labels)
print("written: 4 classes; full size: %s" % ("the same pixels" if same else "other pixels"))
wrong = [
    read("cog.tif", Resampling.nearest, "COG at a quarter, nearest"),
    read("cog.tif", Resampling.mode, "COG at a quarter, mode"),
]
right = [
    read("plain.tif", Resampling.nearest, "GeoTIFF at a quarter, nearest"),
    read("mode.tif", Resampling.nearest, 'COG with overview_resampling="mode" at a quarter, nearest'),
]
assert same and min(wrong) > 0 and max(right) == 0, (same, wrong, right)
PY
