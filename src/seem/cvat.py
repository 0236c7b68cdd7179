"""Automatic annotation functions for CVAT, by the interface of cvat-sdk: proposals, and masks from clicks and boxes.

    cvat-cli task auto-annotate 137 --function-module seem.cvat -p classes=str:cat,dog
    cvat-cli function create-native "Seem, clicks" --function-module seem.cvat -p kind=str:interaction

`create` is what these programs call, with the parameters of `-p` (`name=type:value`). Needs cvat-sdk, which comes with
cvat-cli.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seem.annotation_formats.outlines import trace_editable_outlines
from seem.errors import SeemError
from seem.loading import load
from seem.mask_codec import PackedMask
from seem.prompts import Box, Point, Prompt
from seem.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from seem.encoded_image import EncodedImage
    from seem.model import Model

KINDS = ("detection", "interaction")


def create(
    model: str = "nano",
    *,
    classes: str = "",
    kind: str = "detection",
    threshold: float | None = None,
    device: str | None = None,
) -> CvatDetection | CvatInteraction:
    """Load a model as a function for CVAT.

    Args:
        model: its name, a file of weights, or the folder of a fine-tuning run.
        classes: names with commas between them, which are the labels; empty = the model's own things.
        kind: "detection" proposes objects of the classes, "interaction" segments what clicks and a box mark.
        threshold: lowest score of a proposal; None = the model's own, or the one that CVAT asks for.
        device: as in `seem.load`.

    Raises `ValueError` for another kind, `SeemError` where cvat-sdk or the model is not there.
    """
    check_sdk()
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}.")
    if kind == "interaction":
        return CvatInteraction(load(model, device))
    names = [name.strip() for name in classes.split(",") if name.strip()]
    return CvatDetection(load(model, device), names, threshold)


def check_sdk() -> None:
    """Raise `SeemError` where cvat-sdk is not installed."""
    try:
        import cvat_sdk.auto_annotation  # noqa: F401
    except ImportError as error:
        raise SeemError(f"cvat-sdk is not installed ({error}); pip install cvat-sdk.") from None


class CvatDetection:
    """Proposes objects of some classes, as masks, or as polygons where CVAT asks for these."""

    def __init__(
        self, model: Model, names: Sequence[str] = (), threshold: float | None = None
    ) -> None:
        from cvat_sdk import auto_annotation

        self._model = model
        self._vocabulary = Vocabulary.of(list(names)) if names else model.vocabulary()
        self._threshold = threshold
        self._label_ids: dict[str, int] = {}
        for number, name in enumerate(names or thing_names(self._vocabulary)):
            self._label_ids[name] = number
        labels = [auto_annotation.label_spec(name, i) for name, i in self._label_ids.items()]
        self.spec = auto_annotation.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """Return the objects of an image, best first."""
        threshold = self._threshold
        if context.conf_threshold is not None:
            threshold = context.conf_threshold
        results = self._model.encode(image).instances(self._vocabulary, threshold)
        shapes = []
        for row, mask in enumerate(results.packed):
            label_id = self._label_ids.get(results.labels[row] or "")
            score = float(results.scores[row])
            is_wanted = threshold is None or score >= threshold
            if label_id is not None and mask.area and is_wanted:
                make = polygon_shapes if context.conv_mask_to_poly else mask_shapes
                shapes += make(mask, label_id, row + 1)
        return shapes


class CvatInteraction:
    """Segments the object that points and a box mark; an image is encoded once for any number of them."""

    def __init__(self, model: Model) -> None:
        from cvat_sdk import auto_annotation

        self._model = model
        self.spec = auto_annotation.InteractionFunctionSpec(
            min_pos_points=0, min_neg_points=0, min_bounding_boxes=0
        )

    def preprocess_image(self, _context: Any, image: Image.Image) -> EncodedImage:
        """Encode an image."""
        return self._model.encode(image)

    def detect(self, _context: Any, pp_image: EncodedImage, prompts: Any) -> list[Any]:
        """Return the mask of the marked object; nothing without a mark, or where nothing is."""
        from cvat_sdk import auto_annotation, models

        marks = to_cvat_marks(prompts, pp_image.hw)
        if not marks:
            return []
        results = pp_image.segment(*marks)
        shapes = []
        for row, mask in enumerate(results.packed):
            if not mask.area:
                continue
            score = models.AttributeValRequest(
                spec_id=auto_annotation.InteractionResultAttributes.CONFIDENCE,
                value=f"{results.scores[row]:.6f}",
            )
            shapes.append(
                auto_annotation.InteractionResultShape(
                    type="mask", points=encoded_points(mask), attributes=[score]
                )
            )
        return shapes


def thing_names(vocabulary: Vocabulary) -> list[str]:
    """Return the names of the countable classes."""
    return [category.name for category in vocabulary.categories if category.is_thing]


def to_cvat_marks(prompts: Any, hw: tuple[int, int]) -> list[Prompt]:
    """Read the points and the box that a person has drawn on an image of height and width `hw`."""
    height, width = hw
    marks: list[Prompt] = []
    for points, is_positive in ((prompts.pos_points, True), (prompts.neg_points, False)):
        for x, y in points:
            column = min(max(math.floor(x), 0), width - 1)
            row = min(max(math.floor(y), 0), height - 1)
            marks.append(Point(column, row, is_positive))
    if prompts.bounding_box is not None:
        (x0, y0), (x1, y1) = prompts.bounding_box
        marks.append(Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)))
    return marks


def mask_shapes(mask: PackedMask, label_id: int, _group: int) -> list[Any]:
    """Return a mask as the one shape that it is."""
    from cvat_sdk import auto_annotation

    return [auto_annotation.mask(label_id, encoded_points(mask))]


def polygon_shapes(mask: PackedMask, label_id: int, group: int) -> list[Any]:
    """Return a mask as polygons, one a part; those of an object are a group."""
    from cvat_sdk import auto_annotation

    outlines = trace_editable_outlines(mask)
    grouping = {"group": group} if len(outlines) > 1 else {}
    return [
        auto_annotation.polygon(label_id, outline.corners.ravel().tolist(), **grouping)
        for outline in outlines
    ]


def encoded_points(mask: PackedMask) -> list[float]:
    """Return the numbers of a mask as CVAT stores them: runs inside its box, then the box."""
    from cvat_sdk import masks

    points: list[float] = masks.encode_mask(mask.decode(), mask.box)
    return points
