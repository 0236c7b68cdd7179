"""Results as `supervision.Detections`, the type that its annotators, trackers and metrics read."""

from __future__ import annotations

from typing import Any

import numpy as np

from seem.coco_format import UNLABELLED
from seem.errors import SeemError
from seem.results import Results
from seem.vocabulary import Vocabulary


def to_detections(results: Results) -> Any:
    """Turn a result into `supervision.Detections`; labels that are still unknown are asked for.

    Class ids count from 0, as detectors do: the place among COCO's panoptic categories (its 80 things first), and of
    any other vocabulary the category's id less 1. What has no category has class id -1.

    Raises `SeemError` where supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise SeemError(f'supervision is not installed ({error}); pip install "seem[supervision]".') from None
    coco = {category: place for place, category in enumerate(Vocabulary.coco_panoptic())}
    numbers = {category.id: coco.get(category, category.id - 1) for category in results.vocabulary}
    return supervision.Detections(
        xyxy=results.boxes.astype(np.float32),
        mask=results.masks,
        confidence=np.array(results.scores),
        class_id=np.array([numbers.get(number, -1) for number in results.category_ids.tolist()], dtype=np.int64),
        tracker_id=np.array(results.ids),
        data={"class_name": np.array([label or UNLABELLED for label in results.labels], dtype=np.str_)},
    )
