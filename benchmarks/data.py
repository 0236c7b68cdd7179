"""Images a second of every reader of data sets, and training samples a second of an image bank.

    python benchmarks/data.py --data pack:../shared/data/coco_full --photos 60

Some images of a set are written in every layout of the table `WRITERS` and read back: opening, then pixels, masks and
maps of each. Then samples are drawn from a bank in memory and from one that reads images anew. Seconds are those of the
processor, of one thread, so that a busy machine does not matter much. Writes benchmarks/results/data_<date>.json.
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
from seem.data.image_bank import ImageBank
from seem.data.opening import DatasetSpec, open_dataset
from seem.data.readers.shards import write_shards
from seem.data.records import ImageRecord
from seem.data.training_sampler import TrainingSampler
from seem.evaluation.report import Machine, installed_versions
from seem.finetuning.usable_dataset import UsableDataset

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 200
SIZE = 224


@dataclass(frozen=True)
class Rate:
    """What was read, and how much of it a second."""

    what: str
    count: int
    per_second: float
    opening_seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--data", default=f"pack:{ROOT.parent / 'shared' / 'data' / 'coco_full'}")
    reader.add_argument("--split", default="val")
    reader.add_argument("--photos", type=int, default=60)
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = reader.parse_args(arguments)
    dataset = open_dataset(options.data, options.split)
    subset = UsableDataset(dataset, tuple(dataset.images[: options.photos]))
    with tempfile.TemporaryDirectory() as path:
        rates = [
            time_reading(name, kind, write(subset, Path(path) / name))
            for name, (kind, write) in WRITERS.items()
        ]
        rates.append(time_reading_as_given(options.data, options.split, subset))
        rates += time_sampling(subset, Path(path))
    for rate in rates:
        print(
            f"{rate.what:<36} {rate.per_second:8.1f} a second  (opened in {1000 * rate.opening_seconds:.0f} ms)"
        )
    print(save(options.data, rates, options.out))


def time_reading(name: str, kind: str, path: Path) -> Rate:
    """Open images that were written in a layout, and read everything of each."""
    started = time.process_time()
    dataset = open_dataset(f"{kind}:{path}", "train")
    seconds, opened = read_all(dataset, dataset.images), time.process_time()
    return rate_of(name, len(dataset.images), seconds, opened - started - seconds)


def time_reading_as_given(data: str, split: str, subset: Dataset) -> Rate:
    """Read the same images from where they were taken."""
    started = time.process_time()
    dataset = open_dataset(data, split)
    wanted = {image.id for image in subset.images}
    seconds, opened = (
        read_all(dataset, [p for p in dataset.images if p.id in wanted]),
        time.process_time(),
    )
    return rate_of(
        f"as given ({data.partition(':')[0]})", len(wanted), seconds, opened - started - seconds
    )


def rate_of(name: str, count: int, seconds: float, opening: float) -> Rate:
    return Rate(f"{name}: photos with masks", count, round(count / seconds, 2), round(opening, 4))


def read_all(dataset: Dataset, images: Sequence[ImageRecord]) -> float:
    """Read pixels, masks and maps; returns seconds of the processor."""
    opened = time.process_time()
    for image in images:
        dataset.pixels(image)
        for record in dataset.objects[image.id]:
            record.mask()
        dataset.semantic(image)
    return time.process_time() - opened


def time_sampling(subset: Dataset, path: Path) -> Sequence[Rate]:
    """Draw training samples from images in memory, and from images that are read anew."""
    rates = []
    for what, in_memory in (
        ("samples of kept photos", True),
        ("samples of photos read anew", False),
    ):
        started = time.process_time()
        bank = ImageBank.from_datasets(
            [subset], longest_side=384, cache=path / "cache", in_memory=in_memory
        )
        opened = time.process_time()
        sampler = TrainingSampler(bank, size=SIZE, weights=bank.weights)
        for number in range(SAMPLES):
            sampler[number]
        seconds = time.process_time() - opened
        rates.append(Rate(what, SAMPLES, round(SAMPLES / seconds, 2), round(opened - started, 4)))
    return rates


def coco_document(subset: Dataset, names: Callable[[ImageRecord], str]) -> dict[str, Any]:
    return {
        "categories": [{"id": c.id, "name": c.name} for c in subset.categories.values()],
        "images": [
            {"id": p.id, "file_name": names(p), "height": p.hw[0], "width": p.hw[1]} for p in subset.images
        ],
        "annotations": [
            {"id": o.id, "image_id": p.id, "category_id": o.category.id, "iscrowd": int(o.is_crowd), "area": o.area,
             "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
             "segmentation": {"size": list(o.hw), "counts": o.counts}}
            for p in subset.images for o in subset.objects[p.id]
        ],
    }  # fmt: skip


def coco(subset: Dataset, path: Path) -> Path:
    copy_images(subset, path / "images")
    write_json(path / "annotations.json", coco_document(subset, plain_name))
    return path


def panoptic(subset: Dataset, path: Path) -> Path:
    copy_images(subset, path / "train2017")
    maps = path / "annotations" / "panoptic_train2017"
    maps.mkdir(parents=True)
    rows = []
    for image in subset.images:
        numbers, category_ids = draw_numbered_objects(subset, image)
        colours = np.stack([numbers % 256, numbers // 256, numbers * 0], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(maps / f"{image.id}.png")
        there = [number for number in np.unique(numbers).tolist() if number]
        segments = [
            {"id": number, "category_id": category_ids[number - 1], "iscrowd": 0}
            for number in there
        ]
        rows.append(
            {"image_id": image.id, "file_name": f"{image.id}.png", "segments_info": segments}
        )
    document = coco_document(subset, plain_name)
    document["annotations"] = rows
    document["categories"] = [{**row, "isthing": 1} for row in document["categories"]]
    write_json(path / "annotations" / "panoptic_train2017.json", document)
    return path


def lvis(subset: Dataset, path: Path) -> Path:
    copy_images(subset, path / "train2017")
    document = coco_document(subset, plain_name)
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/train2017/{row.pop('file_name')}"
        row["neg_category_ids"], row["not_exhaustive_category_ids"] = [], []
    write_json(path / "lvis_v1_train.json", document)
    return path


def refcoco(subset: Dataset, path: Path) -> Path:
    def named(image: ImageRecord) -> str:
        return f"COCO_train2014_{image.id:012d}{image.path.suffix}"

    copy_images(subset, path / "images" / "train2014", named)
    refs = [
        {"ref_id": o.id, "ann_id": o.id, "image_id": p.id, "category_id": o.category.id, "split": "train",
         "file_name": named(p), "sent_ids": [o.id],
         "sentences": [{"sent": o.category.text, "raw": o.category.text, "sent_id": o.id, "tokens": []}]}
        for p in subset.images for o in subset.objects[p.id]
    ]  # fmt: skip
    home = path / "refcoco"
    home.mkdir()
    write_json(home / "instances.json", coco_document(subset, named))
    (home / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return home


def voc(subset: Dataset, path: Path) -> Path:
    home = path / "VOC2012"
    copy_images(subset, home / "JPEGImages")
    for name in ("SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (home / name).mkdir(parents=True)
    for image in subset.images:
        numbers, category_ids = draw_numbered_objects(subset, image)
        table = np.array([0, *(1 + kind % 20 for kind in category_ids)], np.uint8)
        for name, values in (
            ("SegmentationClass", table[numbers]),
            ("SegmentationObject", numbers.astype(np.uint8)),
        ):
            picture = Image.fromarray(values, "L").convert("P")
            picture.save(home / name / f"{image.id}.png")
    write_names(subset, home / "ImageSets" / "Segmentation" / "train.txt")
    return path


def sbd(subset: Dataset, path: Path) -> Path:
    from scipy.io import savemat

    home = path / "benchmark_RELEASE" / "dataset"
    copy_images(subset, home / "img")
    (home / "inst").mkdir()
    for image in subset.images:
        numbers, category_ids = draw_numbered_objects(subset, image)
        classes = np.array([[1 + kind % 20] for kind in category_ids], np.uint8)
        instances = {
            "Segmentation": numbers.astype(np.uint8),
            "Categories": classes,
            "Boundaries": [],
        }
        savemat(home / "inst" / f"{image.id}.mat", {"GTinst": instances})
    write_names(subset, home / "train.txt")
    return path


def ade20k(subset: Dataset, path: Path) -> Path:
    copy_images(subset, path / "images" / "training")
    home = path / "annotations" / "training"
    home.mkdir(parents=True)
    for image in subset.images:
        numbers, category_ids = draw_numbered_objects(subset, image)
        table = np.array([0, *(1 + kind % 150 for kind in category_ids)], np.uint8)
        Image.fromarray(table[numbers]).save(home / f"{image.id}.png")
    (path / "objectInfo150.txt").write_text("Idx\n")
    return path


def yolo(subset: Dataset, path: Path) -> Path:
    import cv2

    copy_images(subset, path / "images")
    (path / "labels").mkdir()
    numbers = {number: row for row, number in enumerate(subset.categories)}
    for image in subset.images:
        lines = []
        for record in subset.objects[image.id]:
            contours, _ = cv2.findContours(
                record.mask().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            largest = max(contours, key=len)[:, 0] / np.array([image.hw[1], image.hw[0]])
            if len(largest) > 2:
                corners = " ".join(f"{value:.6f}" for value in largest.ravel())
                lines.append(f"{numbers[record.category.id]} {corners}")
        (path / "labels" / f"{image.id}.txt").write_text("\n".join(lines) + "\n")
    names = json.dumps([c.name for c in subset.categories.values()])
    (path / "data.yaml").write_text(f"path: .\ntrain: images\nval: images\nnames: {names}\n")
    return path


def folder(subset: Dataset, path: Path) -> Path:
    copy_images(subset, path / "images")
    (path / "masks").mkdir()
    names = list(subset.categories.values())
    (path / "classes.txt").write_text("\n".join(c.name for c in names) + "\n", encoding="utf-8")
    rows = {c.id: row for row, c in enumerate(names, 1)}
    for image in subset.images:
        numbers, category_ids = draw_numbered_objects(subset, image)
        table = np.array([0, *(rows[kind] for kind in category_ids)], np.uint8)
        Image.fromarray(table[numbers]).save(path / "masks" / f"{image.id}.png")
    return path


def shards(subset: Dataset, path: Path) -> Path:
    write_shards(subset, path)
    for file in path.glob(f"{subset.split}-*.tar"):
        file.rename(file.with_name(file.name.replace(subset.split, "train")))
    return path


WRITERS: Mapping[str, tuple[str, Callable[[Dataset, Path], Path]]] = {
    "coco": ("coco", coco), "coco panoptic": ("coco", panoptic), "lvis": ("lvis", lvis),
    "refcoco": ("refcoco", refcoco), "voc": ("voc", voc), "sbd": ("sbd", sbd), "ade20k": ("ade20k", ade20k),
    "yolo": ("yolo", yolo), "folder of maps": ("folder", folder), "shards": ("shards", shards),
}  # fmt: skip
"""Layouts: the kind of their format, and the function that writes images in them and returns the path to open."""


def draw_numbered_objects(
    subset: Dataset, image: ImageRecord
) -> tuple[NDArray[np.int64], list[int]]:
    """Draw objects over each other, the largest first; returns their numbers from 1 on, and each one's category."""
    numbers = np.zeros(image.hw, np.int64)
    records = sorted(subset.objects[image.id], key=lambda each: -each.area)
    for number, record in enumerate(records, 1):
        numbers[record.mask()] = number
    return numbers, [record.category.id for record in records]


def plain_name(image: ImageRecord) -> str:
    return f"{image.id}{image.path.suffix}"


def write_names(subset: Dataset, file: Path) -> None:
    file.write_text("".join(f"{image.id}\n" for image in subset.images), encoding="utf-8")


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(document), encoding="utf-8")


def copy_images(
    subset: Dataset, path: Path, name: Callable[[ImageRecord], str] = plain_name
) -> None:
    path.mkdir(parents=True)
    for image in subset.images:
        (path / name(image)).write_bytes(image.path.read_bytes())


def save(data: str, rates: Sequence[Rate], folder: Path) -> Path:
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    record = {
        "data": DatasetSpec.parse(data).path.name,
        "machine": asdict(Machine.here(1)),
        "versions": installed_versions(),
        "rates": [asdict(rate) for rate in rates],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"data_{today}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
