"""How many photos a second every reader of data sets gives, and how many training samples a bank of photos gives.

    python benchmarks/data.py --data pack:../shared/data/coco_full --photos 60

Some photos of a set are written in every layout of the table `WRITERS` and read back: opening, then photo, masks and
maps of each. Then samples are drawn from a bank kept in one file and from one that reads photos anew. Seconds are those
of the processor, of one thread, so that a busy machine does not matter much. Writes
benchmarks/results/data_<date>.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seem.data.dataset import Dataset
from seem.data.opening import open_dataset
from seem.data.pack import PhotoBank
from seem.data.readers.shards import write_shards
from seem.data.transforms import TrainingSampler
from seem.evaluation.report import Machine, installed_versions
from seem.recipes.material import Kept

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 200
SIZE = 224


@dataclass(frozen=True)
class Rate:
    """What was read, how many of it a second."""

    what: str
    count: int
    per_second: float
    opening_seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", default=f"pack:{ROOT.parent / 'shared' / 'data' / 'coco_full'}")
    reader.add_argument("--split", default="val")
    reader.add_argument("--photos", type=int, default=60)
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = reader.parse_args(arguments)
    whole = open_dataset(options.data, options.split)
    some = Kept(whole, tuple(whole.photos[: options.photos]))
    with tempfile.TemporaryDirectory() as place:
        rates = [read_back(kind, write, some, Path(place) / kind) for kind, write in WRITERS.items()]
        rates += drawn(some, Path(place))
    for rate in rates:
        print(f"{rate.what:<28} {rate.per_second:8.1f} a second  (opened in {1000 * rate.opening_seconds:.0f} ms)")
    print(save(options.data, rates, options.out))


def read_back(kind: str, write: Callable[[Dataset, Path], None], some: Dataset, place: Path) -> Rate:
    """Write the photos in a layout, then read everything of each."""
    write(some, place)
    started = time.process_time()
    dataset = open_dataset(f"{kind}:{place}", "train")
    count = len(dataset.photos)
    opened = time.process_time()
    for photo in dataset.photos:
        dataset.image(photo)
        for record in dataset.objects[photo.id]:
            record.mask()
        dataset.semantic(photo)
    seconds = time.process_time() - opened
    return Rate(f"{kind}: photos with masks", count, round(count / seconds, 2), round(opened - started, 4))


def drawn(some: Dataset, place: Path) -> Sequence[Rate]:
    """Draw training samples from photos that are kept, and from photos that are read anew."""
    rates = []
    for what, keep in (("samples of kept photos", True), ("samples of photos read anew", False)):
        started = time.process_time()
        bank = PhotoBank.from_datasets([some], longest_side=384, cache=place / "cache", keep=keep)
        opened = time.process_time()
        sampler = TrainingSampler(bank, size=SIZE, weights=bank.weights)
        for number in range(SAMPLES):
            sampler[number]
        seconds = time.process_time() - opened
        rates.append(Rate(what, SAMPLES, round(SAMPLES / seconds, 2), round(opened - started, 4)))
    return rates


def coco(some: Dataset, place: Path) -> None:
    copy_photos(some, place / "images")
    document = {
        "categories": [{"id": c.id, "name": c.name} for c in some.categories.values()],
        "images": [
            {"id": p.id, "file_name": f"{p.id}{p.path.suffix}", "height": p.hw[0], "width": p.hw[1]}
            for p in some.photos
        ],
        "annotations": [
            {"id": o.id, "image_id": p.id, "category_id": o.category.id, "iscrowd": int(o.is_crowd), "area": o.area,
             "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
             "segmentation": {"size": list(o.hw), "counts": o.counts}}
            for p in some.photos for o in some.objects[p.id]
        ],
    }  # fmt: skip
    (place / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def yolo(some: Dataset, place: Path) -> None:
    import cv2

    copy_photos(some, place / "images")
    (place / "labels").mkdir()
    numbers = {number: row for row, number in enumerate(some.categories)}
    for photo in some.photos:
        lines = []
        for record in some.objects[photo.id]:
            contours, _ = cv2.findContours(record.mask().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            largest = max(contours, key=len)[:, 0] / np.array([photo.hw[1], photo.hw[0]])
            if len(largest) > 2:
                corners = " ".join(f"{value:.6f}" for value in largest.ravel())
                lines.append(f"{numbers[record.category.id]} {corners}")
        (place / "labels" / f"{photo.id}.txt").write_text("\n".join(lines) + "\n")
    names = json.dumps([c.name for c in some.categories.values()])
    (place / "data.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames: {names}\n")


def folder(some: Dataset, place: Path) -> None:
    copy_photos(some, place / "images")
    (place / "masks").mkdir()
    names = list(some.categories.values())
    (place / "classes.txt").write_text("\n".join(c.name for c in names) + "\n", encoding="utf-8")
    rows = {c.id: row for row, c in enumerate(names, 1)}
    for photo in some.photos:
        values = np.zeros(photo.hw, np.uint8)
        for record in sorted(some.objects[photo.id], key=lambda each: -each.area):
            values[record.mask()] = rows[record.category.id]
        Image.fromarray(values).save(place / "masks" / f"{photo.id}.png")


def shards(some: Dataset, place: Path) -> None:
    write_shards(some, place)
    for file in place.glob(f"{some.split}-*.tar"):
        file.rename(file.with_name(file.name.replace(some.split, "train")))


WRITERS: Mapping[str, Callable[[Dataset, Path], None]] = {
    "coco": coco, "yolo": yolo, "folder": folder, "shards": shards,
}  # fmt: skip


def copy_photos(some: Dataset, place: Path) -> None:
    place.mkdir(parents=True)
    for photo in some.photos:
        (place / f"{photo.id}{photo.path.suffix}").write_bytes(photo.path.read_bytes())


def save(data: str, rates: Sequence[Rate], folder: Path) -> Path:
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    record = {
        "data": data,
        "machine": asdict(Machine.here(1)),
        "versions": installed_versions(),
        "rates": [asdict(rate) for rate in rates],
    }
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"data_{today}.json"
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    main()
