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
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.data.dataset import Dataset
from seem.data.opening import DatasetSpec, open_dataset
from seem.data.pack import ImageBank
from seem.data.readers.shards import write_shards
from seem.data.records import ImageRecord
from seem.data.transforms import TrainingSampler
from seem.evaluation.report import Machine, installed_versions
from seem.finetuning.datasets import UsableDataset

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
    some = UsableDataset(whole, tuple(whole.images[: options.photos]))
    with tempfile.TemporaryDirectory() as place:
        rates = [read_back(name, kind, write(some, Path(place) / name)) for name, (kind, write) in WRITERS.items()]
        rates.append(read_again(options.data, options.split, some))
        rates += drawn(some, Path(place))
    for rate in rates:
        print(f"{rate.what:<36} {rate.per_second:8.1f} a second  (opened in {1000 * rate.opening_seconds:.0f} ms)")
    print(save(options.data, rates, options.out))


def read_back(name: str, kind: str, place: Path) -> Rate:
    """Open photos that were written in a layout, and read everything of each."""
    started = time.process_time()
    dataset = open_dataset(f"{kind}:{place}", "train")
    seconds, opened = read_all(dataset, dataset.images), time.process_time()
    return rate_of(name, len(dataset.images), seconds, opened - started - seconds)


def read_again(data: str, split: str, some: Dataset) -> Rate:
    """Read the same photos from where they were taken."""
    started = time.process_time()
    dataset = open_dataset(data, split)
    wanted = {photo.id for photo in some.images}
    seconds, opened = read_all(dataset, [p for p in dataset.images if p.id in wanted]), time.process_time()
    return rate_of(f"as given ({data.partition(':')[0]})", len(wanted), seconds, opened - started - seconds)


def rate_of(name: str, count: int, seconds: float, opening: float) -> Rate:
    return Rate(f"{name}: photos with masks", count, round(count / seconds, 2), round(opening, 4))


def read_all(dataset: Dataset, photos: Sequence[ImageRecord]) -> float:
    """Read pixels, masks and maps; returns seconds of the processor."""
    opened = time.process_time()
    for photo in photos:
        dataset.pixels(photo)
        for record in dataset.objects[photo.id]:
            record.mask()
        dataset.semantic(photo)
    return time.process_time() - opened


def drawn(some: Dataset, place: Path) -> Sequence[Rate]:
    """Draw training samples from photos that are kept, and from photos that are read anew."""
    rates = []
    for what, keep in (("samples of kept photos", True), ("samples of photos read anew", False)):
        started = time.process_time()
        bank = ImageBank.from_datasets([some], longest_side=384, cache=place / "cache", keep=keep)
        opened = time.process_time()
        sampler = TrainingSampler(bank, size=SIZE, weights=bank.weights)
        for number in range(SAMPLES):
            sampler[number]
        seconds = time.process_time() - opened
        rates.append(Rate(what, SAMPLES, round(SAMPLES / seconds, 2), round(opened - started, 4)))
    return rates


def coco_document(some: Dataset, names: Callable[[ImageRecord], str]) -> dict[str, Any]:
    return {
        "categories": [{"id": c.id, "name": c.name} for c in some.categories.values()],
        "images": [
            {"id": p.id, "file_name": names(p), "height": p.hw[0], "width": p.hw[1]} for p in some.images
        ],
        "annotations": [
            {"id": o.id, "image_id": p.id, "category_id": o.category.id, "iscrowd": int(o.is_crowd), "area": o.area,
             "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
             "segmentation": {"size": list(o.hw), "counts": o.counts}}
            for p in some.images for o in some.objects[p.id]
        ],
    }  # fmt: skip


def coco(some: Dataset, place: Path) -> Path:
    copy_photos(some, place / "images")
    write_json(place / "annotations.json", coco_document(some, plain_name))
    return place


def panoptic(some: Dataset, place: Path) -> Path:
    copy_photos(some, place / "train2017")
    maps = place / "annotations" / "panoptic_train2017"
    maps.mkdir(parents=True)
    rows = []
    for photo in some.images:
        numbers, kinds = numbered(some, photo)
        colours = np.stack([numbers % 256, numbers // 256, numbers * 0], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(maps / f"{photo.id}.png")
        there = [number for number in np.unique(numbers).tolist() if number]
        segments = [{"id": number, "category_id": kinds[number - 1], "iscrowd": 0} for number in there]
        rows.append({"image_id": photo.id, "file_name": f"{photo.id}.png", "segments_info": segments})
    document = coco_document(some, plain_name)
    document["annotations"] = rows
    document["categories"] = [{**row, "isthing": 1} for row in document["categories"]]
    write_json(place / "annotations" / "panoptic_train2017.json", document)
    return place


def lvis(some: Dataset, place: Path) -> Path:
    copy_photos(some, place / "train2017")
    document = coco_document(some, plain_name)
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/train2017/{row.pop('file_name')}"
        row["neg_category_ids"], row["not_exhaustive_category_ids"] = [], []
    write_json(place / "lvis_v1_train.json", document)
    return place


def refcoco(some: Dataset, place: Path) -> Path:
    def named(photo: ImageRecord) -> str:
        return f"COCO_train2014_{photo.id:012d}{photo.path.suffix}"

    copy_photos(some, place / "images" / "train2014", named)
    refs = [
        {"ref_id": o.id, "ann_id": o.id, "image_id": p.id, "category_id": o.category.id, "split": "train",
         "file_name": named(p), "sent_ids": [o.id],
         "sentences": [{"sent": o.category.text, "raw": o.category.text, "sent_id": o.id, "tokens": []}]}
        for p in some.images for o in some.objects[p.id]
    ]  # fmt: skip
    home = place / "refcoco"
    home.mkdir()
    write_json(home / "instances.json", coco_document(some, named))
    (home / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return home


def voc(some: Dataset, place: Path) -> Path:
    home = place / "VOC2012"
    copy_photos(some, home / "JPEGImages")
    for name in ("SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (home / name).mkdir(parents=True)
    for photo in some.images:
        numbers, kinds = numbered(some, photo)
        table = np.array([0, *(1 + kind % 20 for kind in kinds)], np.uint8)
        for name, values in (("SegmentationClass", table[numbers]), ("SegmentationObject", numbers.astype(np.uint8))):
            picture = Image.fromarray(values, "L").convert("P")
            picture.save(home / name / f"{photo.id}.png")
    write_names(some, home / "ImageSets" / "Segmentation" / "train.txt")
    return place


def sbd(some: Dataset, place: Path) -> Path:
    from scipy.io import savemat

    home = place / "benchmark_RELEASE" / "dataset"
    copy_photos(some, home / "img")
    (home / "inst").mkdir()
    for photo in some.images:
        numbers, kinds = numbered(some, photo)
        classes = np.array([[1 + kind % 20] for kind in kinds], np.uint8)
        instances = {"Segmentation": numbers.astype(np.uint8), "Categories": classes, "Boundaries": []}
        savemat(home / "inst" / f"{photo.id}.mat", {"GTinst": instances})
    write_names(some, home / "train.txt")
    return place


def ade20k(some: Dataset, place: Path) -> Path:
    copy_photos(some, place / "images" / "training")
    home = place / "annotations" / "training"
    home.mkdir(parents=True)
    for photo in some.images:
        numbers, kinds = numbered(some, photo)
        table = np.array([0, *(1 + kind % 150 for kind in kinds)], np.uint8)
        Image.fromarray(table[numbers]).save(home / f"{photo.id}.png")
    (place / "objectInfo150.txt").write_text("Idx\n")
    return place


def yolo(some: Dataset, place: Path) -> Path:
    import cv2

    copy_photos(some, place / "images")
    (place / "labels").mkdir()
    numbers = {number: row for row, number in enumerate(some.categories)}
    for photo in some.images:
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
    return place


def folder(some: Dataset, place: Path) -> Path:
    copy_photos(some, place / "images")
    (place / "masks").mkdir()
    names = list(some.categories.values())
    (place / "classes.txt").write_text("\n".join(c.name for c in names) + "\n", encoding="utf-8")
    rows = {c.id: row for row, c in enumerate(names, 1)}
    for photo in some.images:
        numbers, kinds = numbered(some, photo)
        table = np.array([0, *(rows[kind] for kind in kinds)], np.uint8)
        Image.fromarray(table[numbers]).save(place / "masks" / f"{photo.id}.png")
    return place


def shards(some: Dataset, place: Path) -> Path:
    write_shards(some, place)
    for file in place.glob(f"{some.split}-*.tar"):
        file.rename(file.with_name(file.name.replace(some.split, "train")))
    return place


WRITERS: Mapping[str, tuple[str, Callable[[Dataset, Path], Path]]] = {
    "coco": ("coco", coco), "coco panoptic": ("coco", panoptic), "lvis": ("lvis", lvis),
    "refcoco": ("refcoco", refcoco), "voc": ("voc", voc), "sbd": ("sbd", sbd), "ade20k": ("ade20k", ade20k),
    "yolo": ("yolo", yolo), "folder of maps": ("folder", folder), "shards": ("shards", shards),
}  # fmt: skip
"""Layouts: the word of their format, and what writes photos in them and returns what to open."""


def numbered(some: Dataset, photo: ImageRecord) -> tuple[NDArray[np.int64], list[int]]:
    """Draw objects over each other, the largest first; returns their numbers from 1 on, and each one's category."""
    numbers = np.zeros(photo.hw, np.int64)
    records = sorted(some.objects[photo.id], key=lambda each: -each.area)
    for number, record in enumerate(records, 1):
        numbers[record.mask()] = number
    return numbers, [record.category.id for record in records]


def plain_name(photo: ImageRecord) -> str:
    return f"{photo.id}{photo.path.suffix}"


def write_names(some: Dataset, file: Path) -> None:
    file.write_text("".join(f"{photo.id}\n" for photo in some.images), encoding="utf-8")


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(document), encoding="utf-8")


def copy_photos(some: Dataset, place: Path, name: Callable[[ImageRecord], str] = plain_name) -> None:
    place.mkdir(parents=True)
    for photo in some.images:
        (place / name(photo)).write_bytes(photo.path.read_bytes())


def save(data: str, rates: Sequence[Rate], folder: Path) -> Path:
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    record = {
        "data": DatasetSpec.parse(data).path.name,
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
