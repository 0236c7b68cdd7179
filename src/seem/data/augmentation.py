"""How training samples vary: probabilities and ranges of windows, turns and colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIN_VISIBLE_PIXELS = 16  # canvas pixels below which an object is left out of a sample


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How samples vary. `p_*` are probabilities; the rest are ranges, `Augmentation.none()` shows the plain image.

    The window is the part of the image that is seen, its side a fraction of the image's longest side: 1 is the full
    image as at inference, less zooms in, more adds padding. With `p_zoom` the window fits a random object instead, its
    side that many times (`zoom`) the object's longer side; with `p_whole` it is the full image; else `window`.
    """

    p_zoom: float = 0.4
    p_whole: float = 0.25
    zoom: tuple[float, float] = (1.15, 3.5)
    window: tuple[float, float] = (0.35, 1.15)
    max_enlargement: float = 3.0  # canvas pixels a bank pixel may become
    aspect: float = 0.1
    p_flip: float = 0.5
    p_rotate: float = 0.3
    degrees: float = 15.0
    p_quarter: float = 0.0  # a quarter turn, to either side
    p_colour: float = 0.8
    p_hue: float = 0.2
    p_grey: float = 0.05
    p_blur: float = 0.08
    p_jpeg: float = 0.08
    min_visible: int = MIN_VISIBLE_PIXELS
    max_objects: int = 64
    jitter: tuple[float, float] | None = None
    """Large-scale jitter in place of all windows: the image's longest side is so many times the canvas's."""

    @classmethod
    def published(cls) -> Augmentation:
        """Vary images as SEEM's training did: flips and large-scale jitter from 0.1 to 2, no other change."""
        return replace(cls.none(), p_flip=0.5, jitter=(0.1, 2.0))

    @classmethod
    def none(cls) -> Augmentation:
        """Show full images, upright and in their own colours."""
        return cls(
            p_zoom=0.0,
            p_whole=1.0,
            aspect=0.0,
            p_flip=0.0,
            p_rotate=0.0,
            p_colour=0.0,
            p_hue=0.0,
            p_grey=0.0,
            p_blur=0.0,
            p_jpeg=0.0,
        )
