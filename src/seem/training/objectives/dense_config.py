"""The settings of the objective of dense models."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DenseConfig:
    """What a step counts. Weights are of the means of terms."""

    refined: float = 2.0
    coarse: float = 0.5
    quality: float = 0.5
    names: float = 0.3
    cell_names: float = 0.5
    naming: float = 1.0
    """Of the images that are asked for class names alone: the names of cells and of objects."""
    text_prompts: float = 0.5
    """Of the images that are asked by text and references alone: their masks, beside the weights of masks."""
    objects: float = 1.0
    object_names: float = 0.5
    candidates: float = 1.0
    """Of the masks that answer ambiguous marks, where a model has them."""
    imagenet: float = 0.5
    """Of the ImageNet classes of objects, on images asked by text and references alone."""
    num_negatives: int = 64
    """Class names of a step that are on none of its images."""
    num_points: int = 1024
    rounds: tuple[float, ...] = (0.35, 0.4, 0.15, 0.1)
    """Probabilities of one, two, three, ... rounds; the first and the last have a gradient."""
