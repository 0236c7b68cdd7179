"""Prompts about one object: marks in the image, phrases, and regions of other images. Frozen; each checks itself.

Coordinates are pixels of the image as shown, (x, y), x to the right. Whole numbers and floats mean the same:

- Points (`Point`, `Stroke`, `Scribble`) name pixels, as in segment-anything: x = 4 and x = 4.0 are both the centre of
  pixel 4. A click is inside the image if -0.5 <= x < width and -0.5 <= y < height.
- Outlines (`Box`, `Polygon`) run along the edges of pixels: x = 4 and x = 4.0 are both the left edge of pixel 4. So
  `Box(0, 0, width, height)` is the whole image, and the maxima of a box are exclusive.

Inside the package a *position* is in edge coordinates: pixel i covers [i, i + 1), its centre is i + 0.5.

Every mark becomes a mask at network resolution (the image after resizing, before padding):

- Point: the 3 x 3 network pixels around the one that holds it, cut at the border.
- Stroke, Scribble: all pixels whose centre is within width / 2 of the line, so ends and corners are round. The width
  is in image pixels, but never below one network pixel.
- Polygon, rule "filled": all pixels whose centre is inside (even-odd) or on the outline; a sliver that holds no centre
  is drawn as its outline. Rule "curve": the closed outline, one network pixel wide, not filled; the official models
  were trained with the pixels of the curve alone.
- Box: all pixels whose centre is inside, at least one.
- Mask(array): sampled bilinearly at the network's pixel centres, then > 0, as the official demo does. Only where that
  would leave nothing, the pixels that hold the mask's own pixels.
- Mask(logits=...): bilinear to the network's padded input, the padding cut off, then > 0.
- Reference: nothing in this image. Its prompts mark a region of the other one, where a Polygon counts as its area.

What lies partly outside the image is cut at its border; what lies outside altogether is an error.
"""

from seem.prompts.arguments import Json, Points
from seem.prompts.marks import (
    DEFAULT_WIDTH,
    Box,
    Mask,
    Point,
    Polygon,
    Scribble,
    Stroke,
    VisualPrompt,
    rasterization_rule,
)
from seem.prompts.phrases import Audio, Text
from seem.prompts.reference import EncodedImageLike, Prompt, Reference

__all__ = [
    "DEFAULT_WIDTH",
    "Audio",
    "Box",
    "EncodedImageLike",
    "Json",
    "Mask",
    "Point",
    "Points",
    "Polygon",
    "Prompt",
    "Reference",
    "Scribble",
    "Stroke",
    "Text",
    "VisualPrompt",
    "rasterization_rule",
]
