"""nano without PyTorch: `load` a folder, `encode` a photo, ask for an object (`segment`) or for all (`panoptic`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from seem_lite import drawing, masks
from seem_lite.drawing import XY, Frame
from seem_lite.folder import Graph, read_record, read_vocabulary
from seem_lite.tokenizer import Tokenizer

SYNONYM_COSINE = 0.5  # names that are closer do not compete
OWN_SYNONYM_COSINE = 0.99  # the same among own classes
BEST_CELLS = 0.05  # share of a photo's cells that say whether something is there
MAX_CLASSES = 24  # of a photo, that are asked for
SHORTLIST = 160  # classes that are scored
BOUND_MARGIN, CORRECTION_RADIUS = 0.1, 0.06  # in roots of an area
OUTLINE_LOGIT = 3.0
MIN_NAME_PROBABILITY = 0.2
ROUNDING = 1e-5  # by which a score may pass its limit


@dataclass(frozen=True)
class Answer:
    """The mask of one object (bool, size of the photo), its score (0-1), and logits to pass as `previous`.

    `used_phrases` is False where marks alone answered, because the photo does not show the phrases beside them.
    """

    mask: np.ndarray
    score: float
    logits: np.ndarray
    used_phrases: bool = True


@dataclass(frozen=True)
class Segment:
    """A region of a panoptic map: its id there, its class, and its score (0-1)."""

    id: int
    name: str
    is_thing: bool
    score: float


@dataclass(frozen=True)
class Panoptic:
    """The id of the region of every pixel (0 = none), and the regions."""

    ids: np.ndarray
    segments: list[Segment]


@dataclass(frozen=True)
class ClassPart:
    """A part of the mask of a class: the index of the class, mask logits, and score (0-1)."""

    class_index: int
    logits: np.ndarray
    score: float


def load(folder: str | os.PathLike[str], threads: int = 0) -> Model:
    """Open a folder that `seem export` has written; `threads` 0 = all cores. Raises `FolderError`."""
    return Model(Path(folder), threads)


class Model:
    """The graphs of a folder, which are read when they are first needed, and its class lists."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.record = read_record(folder)
        self.folder, self.threads = folder, threads
        self._graphs: dict[str, Graph] = {}
        self._tokenizer: Tokenizer | None = None

    def graph(self, name: str) -> Graph:
        """Return a graph: image, text or prompts."""
        if name not in self._graphs:
            self._graphs[name] = Graph(self.folder, name, self.record, self.threads)
        return self._graphs[name]

    def encode(self, image: str | os.PathLike[str] | Image.Image | np.ndarray) -> Photo:
        """Run the image graph on a file, a Pillow image, or an array (H x W x 3, uint8, RGB)."""
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        elif not isinstance(image, Image.Image):
            image = Image.open(image)
        pixels, frame = self.preprocess(ImageOps.exif_transpose(image).convert("RGB"))
        return Photo(self, frame, self.graph("image")(pixels=pixels))

    def preprocess(self, image: Image.Image) -> tuple[np.ndarray, Frame]:
        """Resize, normalize and pad an RGB image as the image graph takes it."""
        rules = self.record["image"]
        scale = min(rules["short_side"] / min(image.size), rules["long_side"] / max(image.size))
        width = max(1, int(image.width * scale + 0.5))
        height = max(1, int(image.height * scale + 0.5))
        multiple = rules["multiple_of"]
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        mean = np.array(rules["mean"], np.float32)
        deviation = np.array(rules["std"], np.float32)
        normalized = (np.asarray(resized, dtype=np.float32) - mean) / deviation
        pixels = np.zeros((1, 3, *padded), dtype=np.float32)
        pixels[0, :, :height, :width] = normalized.transpose(2, 0, 1)
        return pixels, Frame((image.height, image.width), (height, width), padded)

    def embed(self, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the tokens of all phrases (rows), the phrase of each row, and a vector of length 1 for each phrase."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(read_vocabulary(self.folder), **self.record["text"])
        ids, valid = self._tokenizer(list(phrases))
        text = self.graph("text")(ids=ids)
        return text["tokens"][valid], np.nonzero(valid)[0], unit(text["vectors"])

    def classes(
        self, names: str | Sequence[str] | None = None, stuff: Sequence[str] = ()
    ) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Return classes, and their embeddings with that of the background last.

        `names`: a list of the folder ("coco", "ade20k", "own"), None = the first, or names of your own,
        those in `stuff` for what cannot be counted.
        """
        lists = self.record["classes"]
        if names is None or isinstance(names, str):
            chosen = lists.get(names or next(iter(lists)))
            if chosen is None:
                raise ValueError(
                    f"The folder has no class list {names!r}; it has {', '.join(lists)}."
                )
            if "embeddings" not in chosen:
                rows = [each["embedding"] for each in (*chosen["classes"], chosen["background"])]
                chosen["embeddings"] = np.array(rows, dtype=np.float32)
            return chosen["classes"], chosen["embeddings"]
        _, _, vectors = self.embed([*names, "background"])
        own = [{"name": name, "phrase": name, "is_thing": name not in stuff} for name in names]
        return own, vectors


class Photo:
    """An encoded photo: ask as often as you like."""

    def __init__(self, model: Model, frame: Frame, encoded: dict[str, np.ndarray]) -> None:
        self.model, self.frame, self.encoded = model, frame, encoded
        rows, columns = cells_hw(frame)
        text_map = encoded["text_map"][0]
        self.cells = text_map[:, :rows, :columns].reshape(len(text_map), -1).T

    def segment(
        self,
        points: Sequence[XY] = (),
        boxes: Sequence[Sequence[float]] = (),
        strokes: Sequence[Sequence[XY]] = (),
        polygons: Sequence[Sequence[XY]] = (),
        phrases: Sequence[str] = (),
        *,
        not_points: Sequence[XY] = (),
        not_strokes: Sequence[Sequence[XY]] = (),
        width: float = 8.0,
        previous: np.ndarray | None = None,
        threshold: float | None = None,
    ) -> Answer | None:
        """Answer prompts that together describe one object, in pixels (x, y) of the photo; None if it is not there.

        `width` is that of strokes. `previous` are the logits of an earlier answer, which the prompts correct.
        `threshold` is the score below which phrases are not there, None = the model's.
        """
        if threshold is None:
            threshold = self.model.record["thresholds"]["text"]
        positive = self.draw(drawing.draw_point, points)
        positive |= self.draw(partial(drawing.draw_stroke, width=width), strokes)
        negative = self.draw(drawing.draw_point, not_points)
        negative |= self.draw(partial(drawing.draw_stroke, width=width), not_strokes)
        bounds = self.draw(drawing.draw_box, boxes)
        outlines = self.draw(drawing.draw_polygon, polygons)
        if not (positive | bounds | outlines).any() and not phrases:
            raise ValueError(
                "Nothing says what is meant; give a point, box, stroke, polygon or phrase."
            )
        if outlines.any():
            near = drawing.dilate(negative, outlines, CORRECTION_RADIUS, cell=2)
            beside = drawing.dilate(positive, outlines, CORRECTION_RADIUS, cell=2)
            inside = outlines & ~drawing.enlarge(near, 2)
            positive = positive | inside
            bounds = bounds | outlines | drawing.enlarge(beside, 2)
            if previous is None:
                coverage = drawing.shrink(inside, 4).mean(axis=-1, dtype=np.float32)
                previous = OUTLINE_LOGIT * (2 * coverage - 1)
        presence, has_phrases = None, bool(phrases)
        if phrases:
            _, _, vectors = self.model.embed(phrases)
            presence = float(self.presence(unit(vectors.sum(axis=0, keepdims=True)))[0])
            if (positive | bounds).any() and presence < threshold:
                phrases = ()  # marks alone, where the photo does not show the phrase
        outputs = self.ask([phrases], (positive, negative, bounds), previous)
        row = 0
        has_previous = previous is not None and previous.any()
        marks_alone = positive.any() and not (bounds.any() or phrases or has_previous)
        if marks_alone and outputs["scores"].shape[1] > 1:
            row = 1 + int(outputs["scores"][0, 1:].argmax())
        logits = self.clip(outputs["masks"][0, row], positive, bounds)
        score = float(outputs["scores"][0, row])
        if not (positive | bounds | negative).any():
            assert presence is not None
            score = presence
            if score < threshold or not (logits > 0).any():
                return None
        logits = self.obey_clicks(logits, points, not_points)
        small = drawing.shrink(logits, 2).mean(axis=-1)
        mask = masks.to_photo(logits, self.frame) > 0
        return Answer(mask, score, small, used_phrases=bool(phrases) or not has_phrases)

    def name(self, logits: np.ndarray) -> tuple[str | None, float]:
        """Name the class that the inside of a mask shows most, by the logits of an answer, and its probability."""
        classes, embeddings = self.model.classes()
        text_map = self.encoded["text_map"][0].reshape(len(self.cells[0]), -1)
        vector = text_map @ (logits.ravel() > 0) / max(np.count_nonzero(logits > 0), 1)
        cosines = embeddings[:-1] @ unit(vector)
        shares = softmax(cosines[None] * self.model.record["temperature"])[0]
        best = int(shares.argmax())
        if shares[best] < MIN_NAME_PROBABILITY:
            return None, 0.0
        return classes[best]["name"], float(shares[best])

    def panoptic(
        self,
        classes: str | Sequence[str] | None = None,
        threshold: float | None = None,
        stuff: Sequence[str] = (),
    ) -> Panoptic:
        """Give every pixel at most one region of a class; `classes` and `stuff` as in `Model.classes`."""
        if threshold is None:
            threshold = self.model.record["thresholds"]["panoptic"]
        names, embeddings = self.model.classes(classes, stuff)
        parts = self.parts(names, embeddings, threshold)
        if not parts:
            return Panoptic(np.zeros(self.frame.photo, dtype=np.int32), [])
        logits, groups = [], []
        for part in parts:
            logits.append(masks.to_photo(part.logits, self.frame))
            groups.append(-1 if names[part.class_index]["is_thing"] else part.class_index)
        ids, rows = masks.merge(logits, np.array([part.score for part in parts]), groups)
        segments = []
        for number, row in enumerate(rows, 1):
            chosen = names[parts[row].class_index]
            score = float(parts[row].score)
            segments.append(Segment(number, chosen["name"], chosen["is_thing"], score))
        return Panoptic(ids, segments)

    def parts(
        self, names: Sequence[Mapping[str, Any]], embeddings: np.ndarray, threshold: float
    ) -> list[ClassPart]:
        """Ask for the classes that are present; returns the parts of their masks that score enough, best first."""
        own_classes, rivals = self.model.classes()
        known = {each["phrase"] for each in own_classes}
        new = [index for index, each in enumerate(names) if each["phrase"] not in known]
        rivals = np.concatenate((rivals, embeddings[new]))
        presence, limit = self.class_presence(embeddings[:-1], rivals)
        likeliest = np.argsort(-presence)[:MAX_CLASSES]
        present = [index for index in likeliest if presence[index] * limit[index] >= threshold]
        if not present:
            return []
        mask_logits = self.ask([[names[index]["phrase"]] for index in present])["masks"][:, 0]
        parts = []
        for index, logits in zip(present, mask_logits, strict=True):
            pieces = masks.split(logits) if names[index]["is_thing"] else [logits]
            for piece in pieces:
                score = presence[index] * self.part_score(embeddings[index], piece, rivals)
                if score >= threshold:
                    parts.append(ClassPart(index, piece, score))
        return sorted(parts, key=lambda part: -part.score)

    def class_presence(
        self, embeddings: np.ndarray, rivals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score how surely each class is in the photo, and limit what a part of its mask can score.

        Both are 0 for all but the likeliest `SHORTLIST`.
        """
        share = softmax(self.cells @ embeddings.T * self.model.record["temperature"])
        likely = np.argsort(-best_mean(share))[:SHORTLIST]
        presence, limit = np.zeros((2, len(embeddings)))
        probabilities = self.probabilities(embeddings[likely], rivals)
        presence[likely] = self.score(best_mean(probabilities))
        limit[likely] = self.score(probabilities.max(axis=0)) + ROUNDING
        return presence, limit

    # --- Parts of an answer ------------------------------------------------------------------------------------------

    def draw(
        self, draw_one: Callable[[Frame, Any], np.ndarray], shapes: Sequence[Any]
    ) -> np.ndarray:
        """Draw shapes of one kind as a mask of the padded network frame."""
        drawn = np.zeros(self.frame.padded, dtype=bool)
        height, width = self.frame.network
        for shape in shapes:
            drawn[:height, :width] |= draw_one(self.frame, shape)
        return drawn

    def obey_clicks(
        self, logits: np.ndarray, points: Sequence[XY], not_points: Sequence[XY]
    ) -> np.ndarray:
        """Bring the pixels that are clicked to the right side of the mask; twice, for bumps of clicks overlap."""
        area = int((logits > 0).sum())
        for _ in range(2):
            for point in points:
                logits = masks.obey_click(logits, self.frame, point, 1, area)
            for point in not_points:
                logits = masks.obey_click(logits, self.frame, point, -1, area)
        return logits

    def ask(
        self,
        phrases: Sequence[Sequence[str]],
        drawn: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        previous: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Run the prompts graph for objects described by phrases; `drawn` are the marks of a single object."""
        dim, (height, width) = self.cells.shape[1], self.frame.padded
        marks = np.zeros((len(phrases), 3, height, width), dtype=np.uint8)
        points, labels = np.zeros((1, 2), dtype=np.float32), np.zeros(1, dtype=np.int64)
        point_owners = np.full(1, -1)
        if drawn is not None:
            marks[0] = drawn
            positive, negative, bounds = drawn
            limit = self.model.record["max_points"]
            signs = [drawing.spaced_points(each, limit) for each in (positive | bounds, negative)]
            if any(map(len, signs)):
                points = np.concatenate(signs)
                labels = np.repeat([1, 0], list(map(len, signs)))
                point_owners = np.zeros(len(points), dtype=np.int64)
        tokens, owners = np.zeros((1, dim), dtype=np.float32), np.full(1, -1)
        text_vectors = np.zeros((len(phrases), dim), dtype=np.float32)
        objects = np.repeat(np.arange(len(phrases)), list(map(len, phrases)))
        if len(objects):
            tokens, rows, vectors = self.model.embed(list(chain.from_iterable(phrases)))
            owners = objects[rows]
            np.add.at(text_vectors, objects, vectors)
        if previous is None:
            previous = np.zeros((len(phrases), height // 4, width // 4), dtype=np.float32)
        return self.model.graph("prompts")(
            **self.encoded,
            marks=marks,
            previous=previous.reshape(len(phrases), height // 4, width // 4).astype(np.float32),
            points=points,
            point_labels=labels,
            point_owners=point_owners,
            phrase_tokens=tokens,
            phrase_owners=owners,
            text_vectors=text_vectors,
            reference_tokens=np.zeros((3, 1, dim), dtype=np.float32),
            reference_owners=np.full(1, -1),
        )

    def clip(self, logits: np.ndarray, positive: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """Put pixels outside that lie far beyond the bounds, unless a positive mark lies there too."""
        if not bounds.any():
            return logits
        allowed = drawing.dilate(bounds, bounds, BOUND_MARGIN, cell=4)
        if (drawing.shrink(positive, 4).any(axis=-1) & ~allowed).any():
            return logits
        return np.where(drawing.enlarge(allowed, 2), logits, np.minimum(logits, -OUTLINE_LOGIT))

    def probabilities(self, vectors: np.ndarray, rivals: np.ndarray | None) -> np.ndarray:
        """Return for each cell (rows) the probability that it shows each thing rather than what else has a name."""
        if rivals is None:
            _, rivals = self.model.classes()
        closest = OWN_SYNONYM_COSINE if "own" in self.model.record["classes"] else SYNONYM_COSINE
        scale = self.model.record["temperature"]
        things = self.cells @ vectors.T * scale
        names = self.cells @ rivals.T * scale
        largest = np.maximum(things.max(axis=1), names.max(axis=1))[:, None]
        thing = np.exp(things - largest)
        rival = np.exp(names - largest) @ (vectors @ rivals.T < closest).T
        return thing / np.maximum(thing + rival, np.finfo(np.float32).tiny)

    def presence(self, vectors: np.ndarray, rivals: np.ndarray | None = None) -> np.ndarray:
        """Score how surely the photo shows things, 0-1."""
        return self.score(best_mean(self.probabilities(vectors, rivals)))

    def score(self, probabilities: Any) -> Any:
        """Turn probabilities of cells into scores."""
        return probabilities / (
            probabilities + self.model.record["thresholds"]["presence_midpoint"]
        )

    def part_score(self, vector: np.ndarray, logits: np.ndarray, rivals: np.ndarray) -> float:
        """Score how surely the better half of a mask's own cells shows its class, times its mean probability."""
        rows, columns = cells_hw(self.frame)
        shares = drawing.shrink(logits > 0, 2).mean(axis=-1)[:rows, :columns].ravel()
        own = np.sort(self.probabilities(vector[None], rivals)[shares >= min(0.5, shares.max()), 0])
        best = own[len(own) // 2 :].mean()
        inside = masks.to_network(logits, self.frame)
        inside = inside[inside > 0]
        certainty = masks.sigmoid(inside).sum() / (len(inside) + 1e-6)
        return float(self.score(best) * certainty)


def cells_hw(frame: Frame) -> tuple[int, int]:
    """Return the rows and columns of the text map that show the photo, without padding."""
    height, width = frame.network
    return -(-height // 4), -(-width // 4)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-7)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of rows of logits."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def best_mean(probabilities: np.ndarray) -> np.ndarray:
    """Return the mean of the best cells (rows) of every column."""
    count = max(1, round(BEST_CELLS * len(probabilities)))
    return np.sort(probabilities, axis=0)[-count:].mean(axis=0)
