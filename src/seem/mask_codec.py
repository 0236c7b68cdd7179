"""Masks in memory: the bounding box alone, a bit a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.rasterize import PixelBox

EMPTY_BOX: PixelBox = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """One mask: its tight box (x0, y0, x1, y1), the pixels inside that box at eight a byte, and its area."""

    image_hw: tuple[int, int]
    box: PixelBox
    bits: NDArray[np.uint8]
    area: int

    @classmethod
    def pack(cls, mask: NDArray[np.bool_] | PackedMask, image_hw: tuple[int, int]) -> PackedMask:
        """Pack an (H, W) bool mask, if it is not packed already; `ValueError` if it has not the image's size."""
        if isinstance(mask, PackedMask):
            if mask.image_hw == image_hw:
                return mask
            mask = mask.decode()
        mask = np.asarray(mask)
        if mask.shape != image_hw or mask.dtype != np.bool_:
            raise ValueError(
                f"A mask is {mask.dtype} of {mask.shape}; the image needs bool of {image_hw}."
            )
        rows = np.flatnonzero(mask.any(axis=1))
        columns = np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return cls(image_hw, EMPTY_BOX, np.zeros(0, dtype=np.uint8), 0)
        x0, x1 = int(columns[0]), int(columns[-1]) + 1
        y0, y1 = int(rows[0]), int(rows[-1]) + 1
        crop = mask[y0:y1, x0:x1]
        return cls(image_hw, (x0, y0, x1, y1), np.packbits(crop), int(np.count_nonzero(crop)))

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as an index into an (H, W) array."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    def crop(self) -> NDArray[np.bool_]:
        """Unpack what is inside the box."""
        x0, y0, x1, y1 = self.box
        height, width = y1 - y0, x1 - x0
        pixels = np.unpackbits(self.bits, count=height * width)
        return pixels.reshape(height, width).view(np.bool_)

    def decode(self) -> NDArray[np.bool_]:
        """Unpack the whole (H, W) mask."""
        mask = np.zeros(self.image_hw, dtype=np.bool_)
        mask[self.window] = self.crop()
        return mask

    def reduced(self, factor: int) -> PackedMask:
        """Return the mask of the image reduced by a whole factor; a pixel is inside if any of its pixels was."""
        if factor == 1:
            return self
        height, width = self.image_hw
        reduced_hw = (-(-height // factor), -(-width // factor))
        if not self.area:
            return PackedMask(reduced_hw, EMPTY_BOX, self.bits, 0)
        x0, y0, x1, y1 = self.box
        before = ((y0 % factor, 0), (x0 % factor, 0))
        crop = reduce_region(np.pad(self.crop(), before), factor)
        box = (x0 // factor, y0 // factor, -(-x1 // factor), -(-y1 // factor))
        return PackedMask(reduced_hw, box, np.packbits(crop), int(np.count_nonzero(crop)))

    def to_image(self) -> Image.Image:
        """Return the mask as a grey image of 0 and 255."""
        return Image.fromarray(self.decode().view(np.uint8) * np.uint8(255))


def reduce_region(region: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Reduce an (H, W) mask by a whole factor: a pixel is inside if any of its `factor` x `factor` pixels is."""
    height, width = region.shape
    padded = np.pad(region, ((0, -height % factor), (0, -width % factor)))
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    by_block = padded.reshape(rows, factor, columns, factor)
    return np.asarray(by_block.any(axis=(1, 3)))
