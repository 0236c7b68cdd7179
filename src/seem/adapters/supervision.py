"""`supervision.Detections`, the type that supervision's annotators, trackers and metrics read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError


def to_detections(
    *,
    boxes: NDArray[np.int64],
    masks: NDArray[np.bool_],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64],
    class_names: Sequence[str],
    tracker_ids: NDArray[np.int64],
) -> Any:
    """Return columns of N objects as `supervision.Detections`.

    `boxes` (N, 4) are x0, y0, x1, y1, `masks` (N, H, W); class ids count from 0, -1 = none.

    Raises `SeemError` where supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise SeemError(
            f'supervision is not installed ({error}); pip install "seem[supervision]".'
        ) from None
    return supervision.Detections(
        xyxy=boxes.astype(np.float32),
        mask=masks,
        confidence=np.array(scores),
        class_id=class_ids,
        tracker_id=np.array(tracker_ids),
        data={"class_name": np.array(class_names, dtype=np.str_)},
    )
