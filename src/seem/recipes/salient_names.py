"""Names for the salient objects of DUTS, whose photos are mostly ImageNet's: what ImageNet's classifier calls them.

Each object is classified in three views: the whole photo, the square around its mask, and that square with everything
but the object greyed out. A name holds where the views agree. How often it is right at which threshold was judged by
eye (docs/nano2_log.md). The names are derived by the recipe from published weights and kept beside its run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from seem.checkpoints.efficientnet_lite import load_published
from seem.checkpoints.safe import atomic_write
from seem.config import EFFICIENTNET_LITE2, EfficientNetLiteConfig
from seem.data.pack import Pack
from seem.models.backbones.efficientnet_lite import EfficientNetLite, ImageNetHead, fold_batch_norms

SIDE = 240  # pixels of a view; the photos have 256, and this classifier was trained at 260
MARGIN = 1.15  # side of the square around an object, in longer sides of its box
GREY = 127  # pixel value that the classifier's normalisation makes zero
VIEWS = ("whole", "crop", "cutout")


@dataclass(frozen=True, slots=True)
class ObjectName:
    """ImageNet class of an object (0-999), with the class's probability in each view and the views' own best classes.

    The class is the one with the highest geometric mean of the three probabilities.
    """

    annotation: int
    photo: int
    label: int
    whole: float
    crop: float
    cutout: float
    best: tuple[int, int, int]

    @property
    def probability(self) -> float:
        """The geometric mean over the views."""
        return float((self.whole * self.crop * self.cutout) ** (1 / 3))

    @property
    def agrees(self) -> bool:
        """Whether the whole photo and the square around the object have this class as their best."""
        return self.best[0] == self.best[1] == self.label


class Classifier(nn.Module):
    """The published classifier of ImageNet-1k, folded for inference: uint8 views in, class log-probabilities out."""

    def __init__(self, config: EfficientNetLiteConfig = EFFICIENTNET_LITE2) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(config)
        self.head = ImageNetHead(config.dims[-1])
        load_published(self.backbone, config, self.head)
        fold_batch_norms(self)
        self.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def forward(self, views: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 1000"]:
        """Classify views of any one size."""
        pixels = (views.movedim(-1, 1).float() - GREY) / 128
        coarsest = self.backbone(pixels.contiguous(memory_format=torch.channels_last)).maps[-1]
        return F.log_softmax(self.head(coarsest), dim=1)


def name_objects(
    pack: Pack,
    classifier: Classifier,
    count: int | None = None,
    done: Callable[[int], None] | None = None,
) -> Iterator[ObjectName]:
    """Name the objects of the first `count` photos (None: all); `done` hears how many photos are through."""
    for number, photo in enumerate(pack.images[:count], 1):
        image = pack.pixels(photo)
        for record in pack.objects[photo.id]:
            mask = record.mask()
            if mask.any():
                yield name_object(
                    classifier(torch.from_numpy(np.stack(views_of(image, mask)))),
                    record.id,
                    photo.id,
                )
        if done is not None:
            done(number)


def name_object(log_probabilities: Float[Tensor, "3 k"], annotation: int, photo: int) -> ObjectName:
    """Choose the class of one object from its three views."""
    label = int(log_probabilities.mean(dim=0).argmax())
    whole, crop, cutout = log_probabilities[:, label].exp().tolist()
    best = log_probabilities.argmax(dim=1).tolist()
    return ObjectName(annotation, photo, label, whole, crop, cutout, (best[0], best[1], best[2]))


def views_of(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> tuple[UInt8[np.ndarray, "s s 3"], ...]:
    """Return the whole photo, the square around a mask and that square without what is outside of the mask."""
    alone = np.where(mask[..., None], image, np.uint8(GREY))
    square = square_around(mask)
    height, width = mask.shape
    side = max(height, width)
    centred = ((height - side) // 2, (width - side) // 2, side)
    return view(image, centred), view(image, square), view(alone, square)


def square_around(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int]:
    """Return the first row, the first column and the side of the square around a mask, which may leave the photo."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(8, round(max(bottom - top, right - left) * MARGIN))
    return int((top + bottom - side) // 2), int((left + right - side) // 2), side


def view(
    image: UInt8[np.ndarray, "h w 3"], square: tuple[int, int, int]
) -> UInt8[np.ndarray, "s s 3"]:
    """Cut a square (first row, first column, side) out of a photo, grey beyond its border, and resize it to `SIDE`."""
    import cv2

    top, left, side = square
    height, width = image.shape[:2]
    canvas = np.full((side, side, 3), GREY, np.uint8)
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    target_rows = slice(rows.start - top, rows.stop - top)
    target_columns = slice(columns.start - left, columns.stop - left)
    canvas[target_rows, target_columns] = image[rows, columns]
    shrinks = side > SIDE
    return np.asarray(
        cv2.resize(
            canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
    )


def write_names(file: Path, names: Sequence[ObjectName]) -> None:
    """Write names as JSON, one object a line."""
    lines = ",\n".join(json.dumps(asdict(name)) for name in names)
    with atomic_write(file) as aside:
        aside.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_names(file: Path) -> tuple[ObjectName, ...]:
    """Read what `write_names` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return tuple(ObjectName(**{**row, "best": tuple(row["best"])}) for row in rows)


WORN_HELD_OR_RIDDEN = frozenset({
    "Band Aid", "T-shirt", "Windsor tie", "abaya", "academic gown", "apron", "archery bow", "assault rifle",
    "baby bottle nipple", "backpack", "balance beam", "barbell", "barber chair", "baseball", "basketball", "bassoon",
    "bath towel", "bathing cap", "bearskin hat", "bib", "bikini", "bolo tie", "bonnet", "bow tie", "bra",
    "breastplate", "broom", "bulletproof vest", "cardigan", "chain mail", "cloak", "cowboy hat", "crash helmet",
    "croquet ball", "crutch", "cuirass", "diaper", "drumstick", "dumbbell", "face powder", "feather boa", "flute",
    "football helmet", "fur coat", "gas mask", "gown", "hair drier", "hair slide", "hair spray", "handkerchief",
    "harmonica", "holster", "hoopskirt", "horizontal bar", "jeans", "kimono", "knee pad", "lab coat", "maillot",
    "maraca", "mask", "microphone", "military uniform", "miniskirt", "mitten", "mop", "moped", "mortarboard",
    "motor scooter", "mountain bike", "muzzle", "neck brace", "necklace", "oboe", "ocarina", "overskirt",
    "oxygen mask", "paddle", "pajamas", "panpipe", "parallel bars", "pickelhaube", "ping-pong ball", "poncho",
    "punching bag", "racket", "revolver", "rifle", "rugby ball", "sarong", "saxophone", "seat belt", "shower cap",
    "ski", "ski mask", "snorkel", "soccer ball", "sock", "sombrero", "stethoscope", "stole", "suit",
    "sunglass lens", "sunglasses", "sweatshirt", "swimming trunks", "swing", "tandem bicycle", "tank suit",
    "trench coat", "tricycle", "trombone", "trumpet", "unicycle", "vestment", "violin", "volleyball", "whistle", "wig",
})  # fmt: skip
"""Classes of things on or with a person or an animal, which a salient mask covers as well."""

SCENES = frozenset({
    "alp", "altar", "apiary", "bakery", "barbershop", "boathouse", "bookshop", "breakwater", "butcher shop",
    "candy store", "cliff", "cliff dwelling", "coral reef", "dam", "dock", "grocery store", "home theater", "lakeside",
    "library", "lumbermill", "maze", "movie theater", "patio", "pier", "planetarium", "prison", "promontory",
    "restaurant", "sandbar", "seashore", "shoe shop", "stage", "tobacco shop", "toyshop", "valley", "volcano",
})  # fmt: skip
"""Classes of whole scenes, which no salient object is."""

MIN_NAME_PROBABILITY = (
    0.3  # of a name that is taken: 53 of 54 fresh ones were right (docs/nano2_log.md)
)


def is_taken(name: ObjectName, class_names: Sequence[str]) -> bool:
    """Whether an object's name is sure enough to teach with; `class_names` are ImageNet's 1,000, by index."""
    text = class_names[name.label]
    return (
        name.agrees
        and name.probability >= MIN_NAME_PROBABILITY
        and text not in WORN_HELD_OR_RIDDEN | SCENES
    )
