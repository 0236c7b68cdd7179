"""A set of small photos whose objects are colours, and a model that sees colours.

Photos are 40 x 60 pixels: two red squares (cats), a blue one (a kite), green grass. `ColourModel` answers every prompt
with all pixels of the colour that is prompted most.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from seem.data.pack import Pack
from seem.prompts import Reference, Text
from seem.rasterize import RasterFrame
from seem.results import Labels, Provenance, Results
from seem.vocabulary import Vocabulary

HW = (40, 60)
RED, BLUE, GREEN = (200, 10, 10), (10, 10, 200), (10, 200, 10)
CAT, KITE, GRASS = 17, 38, 193  # COCO ids of cat, kite and grass-merged
COLOURS = {RED: "cat", BLUE: "kite", GREEN: "grass-merged"}
IDS = {"cat": CAT, "kite": KITE, "grass-merged": GRASS}


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT, SMALL = rectangle(5, 5, 20, 20), rectangle(30, 8, 45, 30), rectangle(50, 32, 58, 38)
OBJECTS = ((CAT, LEFT), (CAT, RIGHT), (KITE, SMALL))
CATEGORIES = [
    {"id": CAT, "name": "cat", "isthing": 1},
    {"id": KITE, "name": "kite", "isthing": 1},
    {"id": GRASS, "name": "grass-merged", "isthing": 0, "text": "grass"},
    {"id": 18, "name": "dog", "isthing": 1},
]


def annotation(number, photo, category, mask, **more):
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "segmentation": {
            "size": [int(side) for side in code["size"]],
            "counts": code["counts"].decode(),
        },
        "bbox": rle.toBbox(code).tolist(),
        "area": int(mask.sum()),
        "iscrowd": 0,
    } | more


def painted(shift=0):
    pixels = np.full((*HW, 3), GREEN, np.uint8)
    pixels[LEFT | RIGHT] = RED
    pixels[SMALL] = BLUE
    return np.roll(pixels, shift, axis=0)


def make_pack(root, photos=2, name="coco_full"):
    """Write the set; every second photo is panoptic, all have captions, the first one a referring phrase."""
    folder = root / name
    for part in ("images", "panoptic"):
        (folder / part).mkdir(parents=True)
    images, annotations, partitions, referring = [], [], [], []
    for photo in range(1, photos + 1):
        Image.fromarray(painted(photo - 1)).save(folder / f"images/{photo}.png")
        images.append(
            {"id": photo, "file_name": f"images/{photo}.png", "height": HW[0], "width": HW[1]}
        )
        images[-1] |= {
            "split": "val",
            "labelled": "instances",
            "captions": [("two red squares", "green grass")[photo % 2], "a field"],
        }
        masks = [(category, np.roll(mask, photo - 1, axis=0)) for category, mask in OBJECTS]
        annotations += [annotation(10 * photo + k, photo, *each) for k, each in enumerate(masks)]
        if photo % 2 == 0:
            ids = np.full(HW, 3, np.uint8)
            for number, (_, mask) in zip((1, 2, 4), masks, strict=True):
                ids[mask] = number
            ids[0] = 0
            Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(
                folder / f"panoptic/{photo}.png"
            )
            images[-1] |= {"labelled": "panoptic", "panoptic_file": f"panoptic/{photo}.png"}
            segments = [
                {"id": k, "category_id": category, "area": int((ids == k).sum()), "iscrowd": 0}
                for k, category in ((1, CAT), (2, CAT), (3, GRASS), (4, KITE))
            ]
            partitions.append({"image_id": photo, "segments_info": segments})
    referring.append({"image_id": 1, "ann_id": 12, "text": "kite"})
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations.json").write_text(json.dumps(document))
    (folder / "panoptic.json").write_text(json.dumps({"annotations": partitions}))
    (folder / "referring.json").write_text(json.dumps(referring))
    return Pack.open(folder, "val")


def make_video(root, frames=4):
    """Write a set of one video: the left cat moves down; in the last frame it is gone."""
    folder = root / "davis2016"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(frames):
        pixels = np.full((*HW, 3), GREEN, np.uint8)
        mask = np.roll(LEFT, 3 * number, axis=0) & (number < frames - 1)
        pixels[mask] = RED
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        images.append(
            {"id": number + 1, "file_name": f"images/{number}.png", "height": HW[0], "width": HW[1]}
        )
        images[-1] |= {"split": "val", "sequence": "cats", "frame": 2 * number}
        if mask.any():
            annotations.append(annotation(number, number + 1, 1, mask, track_id=7))
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return Pack.open(folder, "val")


class ColourModel:
    """Encodes a photo by remembering it; counts how often."""

    def __init__(self):
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        return ColourPhoto(image)

    def track(self, video, prompts, frame=0):
        """Follow each object by the colour that it has in the first frame; one that is gone has no row."""
        assert frame == 0
        for number, image in enumerate(video):
            seen = ColourPhoto(image)
            if number == 0:
                colours = [seen.colour(given) for given in prompts]
            masks = {k: seen.of(colour) for k, colour in enumerate(colours, 1)}
            there = [k for k, mask in masks.items() if mask.any()]
            yield seen.results([masks[k] for k in there], ids=there)


@dataclass
class ColourPhoto:
    image: np.ndarray

    def session(self):
        return ColourSession(self)

    def segment(self, *prompts, text_threshold=None):
        text = [prompt.phrase for prompt in prompts if isinstance(prompt, Text)]
        marks = [prompt for prompt in prompts if not isinstance(prompt, (Text, Reference))]
        for reference in prompts:
            if isinstance(reference, Reference):
                return self.results([self.of(reference.image.colour(reference.prompts))])
        return self.results([self.of(self.colour(marks))]) if marks else self.find(text[0])

    def find(self, phrase):
        masks = [self.of(colour) for colour, name in COLOURS.items() if name.startswith(phrase)]
        return self.results([mask for mask in masks if mask.any()])

    def panoptic(self, classes=None):
        return self.regions()

    def semantic(self, classes=None):
        return self.regions()

    def instances(self, classes=None, threshold=None, *, mask_nms_threshold=None):
        return self.regions()

    def caption(self):
        return "two red squares"

    def regions(self):
        names = tuple(name for colour, name in COLOURS.items() if self.of(colour).any())
        masks = [self.of(colour) for colour, name in COLOURS.items() if name in names]
        return self.results(masks, Labels(names, (1.0,) * len(names)))

    def colour(self, prompts):
        hw = self.image.shape[:2]
        frame = RasterFrame(hw, hw)
        touched = np.logical_or.reduce([p.rasterize(frame) for p in prompts if p.positive])
        return Counter(map(tuple, self.image[touched].tolist())).most_common(1)[0][0]

    def of(self, colour):
        return (self.image == np.array(colour, np.uint8)).all(axis=-1)

    def results(self, masks, labels=None, ids=None):
        return Results.of(
            self.image,
            masks,
            [1.0] * len(masks),
            vocabulary=Vocabulary.coco_panoptic(),
            kind="",
            provenance=Provenance(task="interactive", model="colours"),
            labels=labels,
            ids=ids,
        )


class ColourSession:
    def __init__(self, photo):
        self.photo, self.prompts = photo, []

    def add(self, *prompts):
        self.prompts += prompts
        return self.photo.segment(*self.prompts)
