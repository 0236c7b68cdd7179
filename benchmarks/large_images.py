"""Memory and time of pictures of any size in tiles: `python benchmarks/large_images.py 4000 10000 20000`.

A picture is made of the example photos, turned and brightened at random, as a tiled TIFF file. Every size runs in a
process of its own, whose peak of resident memory counts. One line of JSON a size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
PATCH = 500  # pixels of a photo in the picture
TILE = 1024


def photo_patch(generator: np.random.Generator, photos: list[Image.Image]) -> Image.Image:
    """Turn, mirror and brighten one of the photos at random."""
    photo = photos[generator.integers(len(photos))].resize((PATCH, PATCH))
    photo = photo.transpose(Image.Transpose(int(generator.integers(7))))
    return ImageEnhance.Brightness(photo).enhance(float(generator.uniform(0.7, 1.3)))


def write_picture(path: Path, side: int) -> None:
    """Write a picture of side x side pixels, a row of photos at a time."""
    import rasterio

    generator = np.random.default_rng(0)
    photos = [Image.open(photo).convert("RGB") for photo in sorted(PHOTOS.glob("*.jpg"))]
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    layout = {"tiled": True, "compress": "deflate", "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", **profile, **layout) as dataset:
        for top in range(0, side, PATCH):
            row = Image.new("RGB", (side, min(PATCH, side - top)))
            for left in range(0, side, PATCH):
                row.paste(photo_patch(generator, photos), (left, 0))
            window = rasterio.windows.Window(0, top, side, row.height)
            dataset.write(np.asarray(row).transpose(2, 0, 1), window=window)


def peak_megabytes() -> float:
    """Return the peak of resident memory of this process, on Linux (that of `getrusage` may be the parent's)."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def measure(path: Path, folder: Path) -> dict[str, object]:
    """Segment a picture and click at it; returns times and peaks."""
    import seem

    model = seem.load("nano")
    model.encode(np.zeros((TILE, TILE, 3), np.uint8)).panoptic()
    row: dict[str, object] = {"loaded_megabytes": round(peak_megabytes())}
    tiled = model.encode_tiled(path, TILE)
    started, used = time.perf_counter(), time.process_time()
    side = tiled.hw[0]
    results = tiled.segment(seem.Point(side // 2 + 120, side // 2 + 130))
    row |= {
        "click_seconds": round(time.perf_counter() - started, 2),
        "click_box": results.boxes[0].tolist(),
        "click_megabytes": round(peak_megabytes()),
    }
    started, used = time.perf_counter(), time.process_time()
    segments = tiled.panoptic()
    row |= {
        "side": side,
        "tiles": len(tiled.grid),
        "segments": len(segments),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "megabytes": round(peak_megabytes()),
    }
    segments.save(folder)
    row["saved_megabytes"] = round(peak_megabytes())
    return row


def main(sides: list[str]) -> None:
    """Measure each size in a process of its own."""
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{side}.tif")
            write_picture(path, int(side))
            subprocess.run([sys.executable, __file__, "--measure", str(path)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        picture = Path(sys.argv[2])
        print(json.dumps(measure(picture, picture.parent / "out")))
    else:
        main(sys.argv[1:])
