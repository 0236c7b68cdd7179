"""Answers to Label Studio: what smart tools have drawn as masks, and proposals for tasks without drawings."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from seem.encoded_image import EncodedImage
from seem.results import Results
from seem.server.label_studio.image_source import TaskImageSource
from seem.server.label_studio.label_config import LabelConfig, parse_label_config
from seem.server.label_studio.regions import selected_label, to_marks, to_regions
from seem.server.service import Service
from seem.server.stored_images import StoredImage
from seem.server.uploads import encode_upload, open_upload
from seem.vocabulary import Vocabulary

MAX_CACHED_TASKS = 2000
MAX_TASKS = 100  # of one request
IMAGE_NAME = "image"


@dataclass(slots=True)
class LabelStudioBackend:
    """Segments the images of tasks. Encoded images are those of the server: shared, and forgotten when nobody asks."""

    service: Service
    source: TaskImageSource
    _image_ids: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def model_version(self) -> str:
        """What predictions are marked with."""
        return f"seem {self.service.model.name}"

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        label_config: str,
        drawn: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """Return a prediction a task: the object that `drawn` regions describe, or, without any, all objects.

        Raises `ValueError` for a configuration or regions that cannot be answered, `Problem` for an image.
        """
        if len(tasks) > MAX_TASKS:
            raise ValueError(f"{len(tasks)} tasks are too many at once; {MAX_TASKS} are the most.")
        config = parse_label_config(label_config)
        return [self._predict_one(task, config, drawn) for task in tasks]

    def _predict_one(
        self, task: Mapping[str, Any], config: LabelConfig, drawn: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        image = self._encoded(task_address(task, config))
        if drawn:
            regions = drawn_object(image, drawn, config)
        else:
            regions = all_objects(image, config)
        scores = [region["score"] for region in regions]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"result": regions, "score": round(score, 6), "model_version": self.model_version}

    def _encoded(self, address: str) -> EncodedImage:
        """Return the encoded image of a task, encoded now if it is not there any more."""
        with self._lock:
            image_id = self._image_ids.get(address)
        stored = None if image_id is None else self.service.images.find(image_id)
        if stored is None:
            stored = self._encode(address)
        return stored.image

    def _encode(self, address: str) -> StoredImage:
        settings = self.service.settings
        content = self.source.read(address, settings.limits.image_bytes)

        open_uploaded = partial(open_upload, content, IMAGE_NAME, settings.limits.image_pixels)
        stored = encode_upload(self.service.model, settings, open_uploaded)
        with self._lock:
            self._image_ids[address] = self.service.images.put(stored)
            if len(self._image_ids) > MAX_CACHED_TASKS:
                self._image_ids.popitem(last=False)
        return stored


def task_address(task: Mapping[str, Any], config: LabelConfig) -> str:
    """Return the address of a task's image; `ValueError` where there is none."""
    data = task.get("data")
    address = data.get(config.image_field) if isinstance(data, Mapping) else None
    if not isinstance(address, str) or not address:
        raise ValueError(
            f"The task {task.get('id')!r} has no address of an image in {config.image_field!r}."
        )
    return address


def drawn_object(
    image: EncodedImage, drawn: Sequence[Mapping[str, Any]], config: LabelConfig
) -> list[dict[str, Any]]:
    """Return the regions of the one object that drawn regions describe; none where only others are drawn."""
    marks = to_marks(drawn, image.hw)
    if not marks:
        return []
    results = image.segment(*marks)
    label = selected_label(drawn)
    tag = config.tag_for(label)
    regions = []
    for row, mask in enumerate(results.packed):
        regions += to_regions(mask, float(results.scores[row]), label, tag, config)
    return regions


def all_objects(image: EncodedImage, config: LabelConfig) -> list[dict[str, Any]]:
    """Return regions for all objects of the classes that the best tag of a configuration offers."""
    tag = config.tags[0]
    if not tag.labels:
        return []
    results: Results = image.instances(Vocabulary.of(list(tag.labels)))
    regions = []
    for row, mask in enumerate(results.packed):
        label = tag.labels.get(results.labels[row] or "")
        if label is not None:
            regions += to_regions(mask, float(results.scores[row]), label, tag, config)
    return regions
