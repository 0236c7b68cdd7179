"""How a result and its masks came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seem.deprecation import renamed_attributes
from seem.prompts import Prompt
from seem.rasterize import PixelBox


@renamed_attributes({"photo_name": "image_name"})
@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from: everything that its JSON file says beside the objects.

    `prompts`: one inner sequence for each object that was prompted. `seconds`: wall time of each step. `rules`: how
    prompts were drawn and queries chosen. `notes`: what a reader must know, for example that the image was rotated.
    `orientation`: the EXIF orientation that was undone, 1 for none. `image_name`: the file's name, with its suffix.
    `caption`: a sentence about the image, if one was requested. `options`: those of the command line that the masks
    depend on. `engine`: what computed the image network, "torch" or "openvino".
    """

    task: str
    model: str
    model_sha256: str | None = None
    precision: str = "float32"
    prompts: tuple[tuple[Prompt, ...], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    image_name: str | None = None
    orientation: int = 1
    caption: str | None = None
    options: tuple[str, ...] | None = None
    engine: str = "torch"


@dataclass(frozen=True, slots=True)
class Proposal:
    """How `everything` found a mask: its predicted quality (0-1) and stability (0-1), and in which crop.

    `point` is the position (x, y) of the click that gave it, None for an object query; `crop_box` is x0, y0, x1, y1.
    """

    predicted_iou: float
    stability_score: float
    point: tuple[float, float] | None
    crop_box: PixelBox
