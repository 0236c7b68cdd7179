"""The frame that annotations lie in: the image as shown, with its EXIF orientation undone, or as its file stores it.

One rule for every reader:

1. People draw on the image as shown: browsers, and with them CVAT, Label Studio and VIA, turn it, and so do labelme
   (from version 3), OpenCV's `imread` and what reads by it (Ultralytics, supervision, MMDetection), and detectron2.
   What Seem itself writes lies there too.
2. A size that was recorded beside the annotations (`width` and `height` of COCO, the size of a mask file) and is not
   that of the image as shown but as stored says that they were made by something that does not turn images
   (torchvision, kwcoco). A half turn, a mirrored image and a square one have the same size in both frames: rule 1.
3. Where a set contradicts this, its specification says so: `coco:/data/x,frame=stored`.

A mask that is an image file has an orientation of its own. It is undone likewise, unless the mask as stored alone has
the size of the frame.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from seem.images import (
    FIRST_QUARTER_TURN,
    apply_orientation,
    exif_orientation,
    inverse_orientation,
    undo_orientation,
)

UPRIGHT = 1

Pixels = TypeVar("Pixels", bound=np.ndarray)


class AnnotationFrame(str, enum.Enum):
    """What the coordinates of annotations count in: the image as shown, or as its file stores it."""

    SHOWN = "shown"
    STORED = "stored"

    @property
    def other(self) -> AnnotationFrame:
        """The other frame."""
        return AnnotationFrame.STORED if self is AnnotationFrame.SHOWN else AnnotationFrame.SHOWN


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Height and width of an image as stored, and its EXIF orientation (1-8, 1 = upright)."""

    stored_hw: tuple[int, int]
    orientation: int = UPRIGHT

    @classmethod
    def of(cls, image: Image.Image) -> ImageHeader:
        """Return the header of an opened image; Pillow gives the size as shown for a TIFF, as stored for the others."""
        orientation = exif_orientation(image)
        hw = (image.height, image.width)
        if image.format == "TIFF" and orientation >= FIRST_QUARTER_TURN:
            hw = hw[::-1]
        return cls(hw, orientation)

    @property
    def is_turned(self) -> bool:
        """Whether the image is shown in another way than it is stored."""
        return self.orientation != UPRIGHT

    def hw(self, frame: AnnotationFrame) -> tuple[int, int]:
        """Height and width in a frame."""
        if frame is AnnotationFrame.SHOWN and self.orientation >= FIRST_QUARTER_TURN:
            return self.stored_hw[::-1]
        return self.stored_hw

    def frame_of(self, hw: tuple[int, int] | None, preferred: AnnotationFrame) -> AnnotationFrame:
        """Return the frame that a recorded size belongs to; the preferred one if it fits both, neither, or is None."""
        if hw is not None and self.hw(preferred) != hw == self.hw(preferred.other):
            return preferred.other
        return preferred


def in_frame(
    decoded: Image.Image, opened: Image.Image, header: ImageHeader, frame: AnnotationFrame
) -> Image.Image:
    """Turn a picture to a frame.

    `decoded` are the pixels of `opened` after loading, which for a TIFF turns them; `header` was read before.
    """
    remaining = exif_orientation(opened)
    if frame is AnnotationFrame.SHOWN:
        return undo_orientation(decoded, remaining)
    if remaining == header.orientation:
        return decoded
    return apply_orientation(decoded, header.orientation)


def array_in_frame(
    values: Pixels, opened: Image.Image, header: ImageHeader, frame: AnnotationFrame
) -> Pixels:
    """Turn the pixels (H, W, ...) of a loaded image of any type to a frame; see `in_frame`."""
    remaining = exif_orientation(opened)
    if frame is AnnotationFrame.SHOWN:
        return undo_array_orientation(values, remaining)
    if remaining == header.orientation:
        return values
    return undo_array_orientation(values, inverse_orientation(header.orientation))


def undo_array_orientation(values: Pixels, orientation: int) -> Pixels:
    """Turn pixels (H, W, ...) of any type from the stored frame to the shown one."""
    turned: np.ndarray = values
    if orientation >= FIRST_QUARTER_TURN:
        turned = np.swapaxes(turned, 0, 1)
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)  # type: ignore[return-value]
